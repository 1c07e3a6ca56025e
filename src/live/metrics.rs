//! Metrics for Prometheus: served over HTTP, or kept in a file for the textfile collector.
#![expect(clippy::disallowed_methods, reason = "a client has so long by the wall's clock")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::output::{self, say};
use tcp_window_audit::pipeline::chain;
use tcp_window_audit::report::{Exposition, Standing, write_metrics};

/// How long a client may take to ask, and to read: one that sleeps must not keep the others out.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request at most.
const MAX_REQUEST: usize = 8 << 10;

/// Where metrics go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// To whoever asks at this address.
    Address(SocketAddr),
    /// Into this file.
    File(PathBuf),
}

impl Target {
    /// Reads `ADDRESS:PORT`, `:PORT` or `PORT` (of the loopback interface), or the path of a file.
    pub(crate) fn parse(text: &str) -> Self {
        let port = text.strip_prefix(':').unwrap_or(text).parse();
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let address = text.parse().or_else(|_| port.map(loopback));
        address.map_or_else(|_| Self::File(PathBuf::from(text)), Self::Address)
    }

    /// Returns the file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Address(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

/// Metrics that are wanted.
pub(super) enum Metrics {
    /// Served by a thread once [`Metrics::update`] was called.
    Listens(TcpListener),
    /// What the thread shows.
    Served(Arc<Mutex<Arc<Page>>>),
    File(Textfile),
}

/// What is shown, in both formats.
#[derive(Default)]
pub(super) struct Page {
    open: Vec<u8>,
    own: Vec<u8>,
}

impl Page {
    fn of(standing: &Standing) -> Self {
        let write = |exposition| {
            let mut text = Vec::new();
            // Writing to memory cannot fail.
            let _ = write_metrics(standing, exposition, &mut text);
            text
        };
        Self { open: write(Exposition::OpenMetrics), own: write(Exposition::Prometheus) }
    }

    fn text(&self, exposition: Exposition) -> &[u8] {
        match exposition {
            Exposition::OpenMetrics => &self.open,
            Exposition::Prometheus => &self.own,
        }
    }
}

/// A file that is written anew now and then.
pub(super) struct Textfile {
    path: PathBuf,
    /// Pictures until it is written again.
    wait: u32,
    failed: bool,
}

/// Pictures between two of a file: Prometheus looks every 15 s or less often.
const FILE_STEP: u32 = 10;

impl Metrics {
    /// Opens the address, which may take a privilege.
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Address(address) => TcpListener::bind(address).map(Self::Listens),
            Target::File(path) => {
                Ok(Self::File(Textfile { path: path.clone(), wait: 0, failed: false }))
            }
        }
    }

    /// Has those who ask from now on see this.
    pub(super) fn update(&mut self, standing: &Standing) {
        let page = Page::of(standing);
        if let Self::Listens(listener) = self {
            let shared = Arc::new(Mutex::new(Arc::default()));
            match listener.try_clone() {
                Ok(listener) => {
                    let shown = Arc::clone(&shared);
                    std::thread::spawn(move || serve(&listener, &shown));
                }
                Err(error) => say(&format!("--metrics: {error}")),
            }
            *self = Self::Served(shared);
        }
        match self {
            Self::Listens(_) => {}
            Self::Served(shared) => {
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(page);
            }
            Self::File(file) => file.update(&page.own),
        }
    }
}

impl Textfile {
    fn update(&mut self, text: &[u8]) {
        self.wait = self.wait.checked_sub(1).unwrap_or(FILE_STEP);
        if self.wait < FILE_STEP {
            return;
        }
        let written = output::write_file(&self.path, text);
        // Said once, until it works again.
        if let (Err(error), false) = (&written, self.failed) {
            say(&chain(error));
        }
        self.failed = written.is_err();
    }
}

/// Answers one client after the other.
fn serve(listener: &TcpListener, shown: &Mutex<Arc<Page>>) {
    for client in listener.incoming().flatten() {
        let page = Arc::clone(&shown.lock().unwrap_or_else(PoisonError::into_inner));
        // A client that goes away is its own affair.
        let _ = answer(client, &page);
    }
}

fn answer(mut client: TcpStream, page: &Page) -> io::Result<()> {
    let request = hear(&mut client)?;
    client.set_write_timeout(Some(PATIENCE))?;
    let answer = Answer::to(&String::from_utf8_lossy(&request), page);
    let Answer { status, kind, body, has_body } = answer;
    let len = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n"
    )?;
    client.write_all(if has_body { body } else { &[] })
}

/// Reads a request to the end of its head.
fn hear(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        let left = deadline.saturating_duration_since(Instant::now());
        // No time at all would be one without end.
        client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let count = client.read(&mut part)?;
        if count == 0 {
            break;
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        request.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    Ok(request)
}

/// What a client is told.
struct Answer<'a> {
    status: &'static str,
    kind: &'static str,
    body: &'a [u8],
    has_body: bool,
}

impl<'a> Answer<'a> {
    fn to(request: &str, page: &'a Page) -> Self {
        let mut words = request.split_whitespace();
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let refused = |status, body| Self { status, kind: "text/plain", body, has_body: true };
        let has_body = method == Some("GET");
        if !has_body && method != Some("HEAD") {
            return refused("405 Method Not Allowed", &b"only GET and HEAD\n"[..]);
        }
        if path != "/metrics" && path != "/" {
            return refused("404 Not Found", &b"the metrics are at /metrics\n"[..]);
        }
        let exposition = wanted(request);
        let (kind, body) = (exposition.media_type(), page.text(exposition));
        Self { status: "200 OK", kind, body, has_body }
    }
}

/// Returns the format that a client wants, by its header field `Accept`.
fn wanted(request: &str) -> Exposition {
    let lower = request.to_ascii_lowercase();
    let mut fields = lower.lines().skip(1).take_while(|line| !line.is_empty());
    let accepts_open = fields
        .any(|line| line.starts_with("accept:") && line.contains("application/openmetrics-text"));
    if accepts_open { Exposition::OpenMetrics } else { Exposition::Prometheus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_interface() {
        let local = |port| Target::Address(SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(Target::parse(":9100"), local(9100));
        assert_eq!(Target::parse("9100"), local(9100));
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 9100));
        assert_eq!(Target::parse("0.0.0.0:9100"), Target::Address(everywhere));
        assert_eq!(Target::parse("/x/twa.prom"), Target::File(PathBuf::from("/x/twa.prom")));
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let page = Page { open: b"open".to_vec(), own: b"own".to_vec() };
        let body = |request| Answer::to(request, &page).body;
        let open = "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nAccept: \
                    application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
        assert_eq!(body(open), b"open");
        assert_eq!(body("GET / HTTP/1.1\r\naccept: */*\r\n\r\n"), b"own");
        let head = Answer::to("HEAD /metrics HTTP/1.1\r\n\r\n", &page);
        assert_eq!((head.status, head.has_body), ("200 OK", false));
        assert_eq!(Answer::to("POST / HTTP/1.1\r\n\r\n", &page).status, "405 Method Not Allowed");
        assert_eq!(Answer::to("GET /x HTTP/1.1\r\n\r\n", &page).status, "404 Not Found");
        assert_eq!(Answer::to("", &page).status, "405 Method Not Allowed");
    }
}
