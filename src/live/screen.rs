//! The live screen: how the audit stands, drawn on the terminal.
//!
//! `q`, Esc or Ctrl-C end the capture; the report follows on the ordinary screen.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::picture::Picture;
use tcp_window_audit::audit::HostTracker;
use tcp_window_audit::diagnose::Level;
use tcp_window_audit::report::{grouped, printable};

/// Seconds of the rate that are kept: more than any terminal is wide.
const RATES: usize = 512;
/// Events that are kept.
const EVENTS: usize = 64;

/// What a person wants, by the keyboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    GoOn,
    End,
}

/// The screen and what it remembers.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    title: String,
    rates: VecDeque<u64>,
    packets: u64,
    events: VecDeque<String>,
}

impl Screen {
    /// Takes over the terminal.
    pub(super) fn open(title: String) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let (rates, events) = (VecDeque::new(), VecDeque::new());
        Ok(Self { terminal, title, rates, packets: 0, events })
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, event: &str) {
        self.events.push_front(printable(event));
        self.events.truncate(EVENTS);
    }

    /// Draws the picture, a second after the last.
    pub(super) fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let packets = picture.standing.packets;
        self.rates.push_front(packets - self.packets);
        self.rates.truncate(RATES);
        self.packets = packets;
        let Self { terminal, title, rates, events, .. } = self;
        let view = View { title, rates, events, picture };
        terminal.draw(|frame| view.draw(frame)).map(drop)
    }

    /// Returns what was asked for by the keyboard since the last time, without waiting.
    pub(super) fn wish() -> Wish {
        while event::poll(Duration::ZERO).unwrap_or(false) {
            if let Ok(Event::Key(key)) = event::read()
                && key.kind == KeyEventKind::Press
            {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Wish::End;
                }
            }
        }
        Wish::GoOn
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// One drawing.
struct View<'a> {
    title: &'a str,
    rates: &'a VecDeque<u64>,
    events: &'a VecDeque<String>,
    picture: &'a Picture,
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

impl View<'_> {
    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, rate, middle, causes, events] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(5),
            Constraint::Min(6),
            Constraint::Length(6),
            Constraint::Length(4),
        ])
        .areas(frame.area());
        let [reasons, flows] =
            Layout::horizontal([Constraint::Length(34), Constraint::Min(20)]).areas(middle);
        self.draw_head(frame, head);
        self.draw_rate(frame, rate);
        self.draw_reasons(frame, reasons);
        self.draw_worst(frame, flows);
        self.draw_causes(frame, causes);
        self.draw_events(frame, events);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let standing = &self.picture.standing;
        let totals = &standing.totals;
        let segments = totals.new + totals.established + totals.invalid + totals.dropped;
        let dropped = standing.dropped_by_host + standing.dropped_by_interface;
        let mut counts = vec![
            Span::styled(grouped(standing.packets), BOLD),
            Span::raw(" packets, "),
            Span::styled(grouped(segments), BOLD),
            Span::raw(" TCP segments, "),
            Span::styled(grouped(standing.connections_alive), BOLD),
            Span::raw(" connections, "),
            Span::styled(grouped(totals.invalid), if totals.invalid > 0 { BAD } else { BOLD }),
            Span::raw(" INVALID"),
        ];
        if let Some(host) = standing.host.filter(HostTracker::is_in_use) {
            counts.push(Span::raw(format!(" (kernel counted {})", grouped(host.invalid_counted))));
        }
        let lost = Line::from(vec![
            Span::styled(grouped(dropped), if dropped > 0 { BAD } else { BOLD }),
            Span::raw(" packets lost by the capture"),
            Span::styled("    q ends the capture and prints the report", DIM),
        ]);
        let lines = vec![Line::styled(self.title.to_owned(), BOLD), Line::from(counts), lost];
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn draw_rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let now = self.rates.front().copied().unwrap_or_default();
        let block = Block::bordered().title(format!("{} packets/s", grouped(now)));
        let width = usize::from(area.width.saturating_sub(2));
        let mut rates: Vec<_> = self.rates.iter().take(width).copied().collect();
        rates.reverse();
        frame.render_widget(Sparkline::default().data(rates).block(block), area);
    }

    fn draw_reasons(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut reasons: Vec<_> = self.picture.standing.totals.invalid_by_reason.iter().collect();
        reasons.sort_by_key(|(_, count)| u64::MAX - **count);
        let rows = reasons.into_iter().map(|(reason, count)| {
            Row::new([Cell::from(reason.code()), Cell::from(format!("{:>12}", grouped(*count)))])
        });
        let widths = [Constraint::Min(16), Constraint::Length(12)];
        let block = Block::bordered().title("INVALID by reason");
        frame.render_widget(Table::new(rows, widths).block(block), area);
    }

    fn draw_worst(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.picture.worst.iter().map(|(flow, count)| {
            Row::new([Cell::from(flow.as_str()), Cell::from(format!("{:>10}", grouped(*count)))])
        });
        let widths = [Constraint::Min(20), Constraint::Length(10)];
        let block = Block::bordered().title("Connections with the most INVALID packets");
        frame.render_widget(Table::new(rows, widths).block(block), area);
    }

    fn draw_causes(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines = self.picture.standing.causes.iter().map(|found| {
            let level = found.score.level();
            let is_sure = level == Some(Level::Confirmed) && found.cause.blames_a_device();
            let level = level.map_or("", Level::code);
            Line::from(vec![
                Span::styled(
                    format!("{} {level} ", found.cause.id()),
                    if is_sure { BAD } else { BOLD },
                ),
                Span::raw(printable(&found.finding)),
            ])
        });
        let block = Block::bordered().title("Causes so far");
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
    }

    fn draw_events(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines: Vec<_> = self.events.iter().map(|event| Line::raw(event.as_str())).collect();
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("Events")), area);
    }
}
