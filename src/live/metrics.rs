//! Metrics for Prometheus: served over HTTP, or kept in a file for the textfile collector.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::output::{self, say};
use tcp_window_audit::pipeline::chain;
use tcp_window_audit::report::{MEDIA_TYPE, Standing, write_openmetrics};

/// How long a client may take to ask or to read: one that sleeps must not keep the others out.
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
    pub(super) fn file(&self) -> Option<&Path> {
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
    Served(Arc<Mutex<Arc<[u8]>>>),
    File(Textfile),
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
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = write_openmetrics(standing, &mut text);
        if let Self::Listens(listener) = self {
            let shared = Arc::new(Mutex::new(Arc::from([])));
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
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = Arc::from(text);
            }
            Self::File(file) => file.update(&text),
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
fn serve(listener: &TcpListener, shown: &Mutex<Arc<[u8]>>) {
    for client in listener.incoming().flatten() {
        let text = Arc::clone(&shown.lock().unwrap_or_else(PoisonError::into_inner));
        // A client that goes away is its own affair.
        let _ = answer(client, &text);
    }
}

fn answer(mut client: TcpStream, text: &[u8]) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        let count = client.read(&mut part)?;
        if count == 0 {
            break;
        }
        request.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    let wants = |path: &str| request.starts_with(format!("GET {path} HTTP/1.").as_bytes());
    let (status, kind, body) = if wants("/metrics") || wants("/") {
        ("200 OK", MEDIA_TYPE, text)
    } else {
        ("404 Not Found", "text/plain", &b"the metrics are at /metrics\n"[..])
    };
    let len = body.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n"
    )?;
    client.write_all(body)
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
}
