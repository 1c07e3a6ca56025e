//! The text of a conversation file, line by line.

use tcp_window_audit::segment::{Direction, PerDirection};
use tcp_window_audit::time::Timestamp;

use super::{
    Expected, Host, LastMark, Mark, PROFILES, Packet, START, Scenario, Settings, SideMark, Step,
};

mod packet;

/// What the lines after a heading are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Packets,
    Marks,
    Log,
}

/// The numbers before the first byte of each side, once a line has given them.
#[derive(Clone, Copy, Default)]
struct InitialNumbers {
    a: Option<u32>,
    b: Option<u32>,
}

impl InitialNumbers {
    const fn of(self, host: Host) -> Option<u32> {
        match host {
            Host::A => self.a,
            Host::B => self.b,
        }
    }
}

struct Reader {
    scenario: Scenario,
    section: Section,
    isn: InitialNumbers,
    now: Timestamp,
    /// The step that exceptions are about.
    current: usize,
}

/// Reads a file; the error begins with the number of its line.
pub(crate) fn scenario(name: &str, text: &str) -> Result<Scenario, String> {
    let mut reader = Reader {
        scenario: Scenario {
            name: name.to_owned(),
            purpose: String::new(),
            origin: String::new(),
            id: String::new(),
            settings: Settings::default(),
            kernels: (0..PROFILES.len()).collect(),
            steps: Vec::new(),
        },
        section: Section::Packets,
        isn: InitialNumbers::default(),
        now: START,
        current: 0,
    };
    for (number, line) in (1..).zip(text.lines()) {
        reader.line(number, line).map_err(|error| format!("{number}: {error}"))?;
    }
    Ok(reader.scenario)
}

/// Reads the packet of a line, `> S 0:0(0) win 29200 <mss 1460>`, given the initial numbers of A and
/// B.
pub(crate) fn packet_of(text: &str, a: u32, b: u32) -> Result<(Host, Packet), String> {
    packet::read(text, InitialNumbers { a: Some(a), b: Some(b) })
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment.trim());
            return Ok(());
        }
        let line = line.split(" #").next().unwrap_or_default().trim();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => Ok(()),
            ("sysctl", setting) => self.sysctl(setting),
            ("kernels", names) => {
                self.scenario.kernels = profiles(names)?;
                Ok(())
            }
            ("isn", rest) => self.initial_number(rest),
            ("marks", "") => self.begin(Section::Marks),
            ("log", "") => self.begin(Section::Log),
            ("@", exception) => self.exception(exception),
            _ if line.starts_with('+') => self.step(number, line),
            (step, value) => self.numbered(step, value),
        }
    }

    fn comment(&mut self, comment: &str) {
        let target = match comment.split_once(": ") {
            Some(("origin", _)) => &mut self.scenario.origin,
            Some(("id", _)) => &mut self.scenario.id,
            _ if self.scenario.purpose.is_empty() => {
                comment.clone_into(&mut self.scenario.purpose);
                return;
            }
            _ => return,
        };
        comment.split_once(": ").unwrap_or_default().1.clone_into(target);
    }

    fn sysctl(&mut self, setting: &str) -> Result<(), String> {
        let (key, value) = setting.split_once('=').ok_or("a sysctl is key=value")?;
        let value = int(value)?;
        let settings = &mut self.scenario.settings;
        match key {
            "loose" => settings.loose = value,
            "be_liberal" => settings.be_liberal = value,
            "max_retrans" => settings.max_retrans = value,
            "ignore_invalid_rst" => settings.ignore_invalid_rst = value,
            "checksum" => settings.checksum = value,
            _ => return Err(format!("unknown sysctl {key}")),
        }
        Ok(())
    }

    fn initial_number(&mut self, rest: &str) -> Result<(), String> {
        match rest.split_once(' ') {
            Some((">", number)) => self.isn.a = Some(int(number)?),
            Some(("<", number)) => self.isn.b = Some(int(number)?),
            _ => return Err("an initial number is `isn > N` or `isn < N`".to_owned()),
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "one arm of the match over a line's first word")]
    const fn begin(&mut self, section: Section) -> Result<(), String> {
        self.section = section;
        Ok(())
    }

    fn step(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (left, right) = text.split_once(" => ").ok_or("a packet without `=> verdict`")?;
        let (time, rest) = left[1..].split_once(' ').ok_or("nothing after the time")?;
        self.now = self.now.plus_nanos(millis(time)? * 1_000_000);
        let (from, packet) = packet::read(rest.trim(), self.isn)?;
        let expected = vec![verdict(right)?; PROFILES.len()];
        self.current = self.scenario.steps.len();
        self.scenario.steps.push(Step { line, time: self.now, from, packet, expected });
        Ok(())
    }

    fn exception(&mut self, text: &str) -> Result<(), String> {
        let (names, value) = text.split_once(": ").ok_or("an exception is `@ kernels: value`")?;
        let chosen = profiles(names)?;
        let step = self.scenario.steps.get_mut(self.current).ok_or("no packet above")?;
        // The value above, which "=" stands for, is that of a kernel that no exception names.
        let default = step.expected[default_profile()].clone();
        for profile in chosen {
            let expected = &mut step.expected[profile];
            match self.section {
                Section::Packets => *expected = verdict(value)?,
                Section::Marks => expected.mark = mark(value, default.mark)?,
                Section::Log => expected.log = log(value),
            }
        }
        Ok(())
    }

    fn numbered(&mut self, number: &str, value: &str) -> Result<(), String> {
        let number: usize = number.parse().map_err(|_| format!("cannot read {number:?}"))?;
        self.current = number.wrapping_sub(1);
        let step = self.scenario.steps.get_mut(self.current).ok_or("no such packet")?;
        for expected in &mut step.expected {
            match self.section {
                Section::Packets => return Err("a number outside marks and log".to_owned()),
                Section::Marks => expected.mark = mark(value, None)?,
                Section::Log => expected.log = log(value),
            }
        }
        Ok(())
    }
}

/// The kernel whose value stands on the main lines, unless all have the same: 6.18.44.
fn default_profile() -> usize {
    PROFILES.iter().position(|name| *name == "6.18.44").unwrap()
}

/// Reads `2.6.32 3.10..el8` into positions of [`PROFILES`].
fn profiles(names: &str) -> Result<Vec<usize>, String> {
    let position = |name: &str| {
        PROFILES.iter().position(|p| *p == name).ok_or_else(|| format!("unknown kernel {name:?}"))
    };
    let mut chosen = Vec::new();
    for name in names.split_whitespace() {
        match name.split_once("..") {
            Some((first, last)) => chosen.extend(position(first)?..=position(last)?),
            None => chosen.push(position(name)?),
        }
    }
    Ok(chosen)
}

fn verdict(text: &str) -> Result<Expected, String> {
    let mut words = text.split_whitespace();
    let ctstate = words.next().ok_or("no verdict")?.to_owned();
    if !["NEW", "ESTABLISHED", "INVALID", "DROP"].contains(&ctstate.as_str()) {
        return Err(format!("unknown verdict {ctstate:?}"));
    }
    let state = words.next().filter(|word| *word != "-").map(str::to_owned);
    let ttl_ms = match &state {
        Some(_) => {
            let time = words.next().and_then(|word| word.strip_suffix('s'));
            Some(millis(time.ok_or("a state needs its remaining time")?)?)
        }
        None => None,
    };
    let reasons = words.map(str::to_owned).collect();
    Ok(Expected { ctstate, reasons, state, ttl_ms, mark: None, log: None })
}

fn log(text: &str) -> Option<String> {
    (text != "-").then(|| text.to_owned())
}

fn mark(text: &str, above: Option<Mark>) -> Result<Option<Mark>, String> {
    if text == "-" {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split(" | ").collect();
    let [entry, original, reply, last] = parts[..] else {
        return Err("a mark has four parts".to_owned());
    };
    let (pkt_dir, status) = entry.split_once(' ').ok_or("a mark begins with its direction")?;
    let pkt_dir = match pkt_dir {
        "original" => Direction::Original,
        "reply" => Direction::Reply,
        _ => return Err(format!("unknown direction {pkt_dir:?}")),
    };
    Ok(Some(Mark {
        pkt_dir,
        seen_reply: status.contains('r'),
        assured: status.contains('a'),
        sides: PerDirection {
            original: side(original, above.map(|mark| mark.sides.original))?,
            reply: side(reply, above.map(|mark| mark.sides.reply))?,
        },
        last: last_mark(last, above.map(|mark| mark.last))?,
    }))
}

fn side(text: &str, above: Option<SideMark>) -> Result<SideMark, String> {
    if text == "=" {
        return above.ok_or_else(|| "= without a mark above".to_owned());
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [end, max_end, max_win, max_ack, scale, flags] = words[..] else {
        return Err("a side has six numbers".to_owned());
    };
    Ok(SideMark {
        end: int(end)?,
        max_end: int(max_end)?,
        max_win: int(max_win)?,
        max_ack: int(max_ack)?,
        scale: int(scale)?,
        flags: hex(flags)?,
    })
}

fn last_mark(text: &str, above: Option<LastMark>) -> Result<LastMark, String> {
    if text == "=" {
        return above.ok_or_else(|| "= without a mark above".to_owned());
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [dir, index, retrans, seq, ack, end, win, wscale, flags] = words[..] else {
        return Err("the last segment has nine numbers".to_owned());
    };
    Ok(LastMark {
        dir: if dir == "0" { Direction::Original } else { Direction::Reply },
        index: int(index)?,
        retrans: int(retrans)?,
        seq: int(seq)?,
        ack: int(ack)?,
        end: int(end)?,
        win: int(win)?,
        wscale: int(wscale)?,
        flags: hex(flags)?,
    })
}

fn hex(text: &str) -> Result<u8, String> {
    u8::from_str_radix(text, 16).map_err(|_| format!("{text:?} is not a hex byte"))
}

fn int<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of this size"))
}

/// Reads seconds with up to three decimals.
fn millis(text: &str) -> Result<i64, String> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 {
        return Err(format!("{text:?} is finer than milliseconds"));
    }
    Ok(int::<i64>(seconds)? * 1000 + int::<i64>(&format!("{decimals:0<3}"))?)
}

#[cfg(test)]
mod tests;
