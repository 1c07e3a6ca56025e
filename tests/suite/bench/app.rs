//! What clients and servers do: exchanges of so many bytes, with pauses.
#![expect(clippy::disallowed_methods, reason = "the ends run in real time, as the kernels do")]

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::host::{abort_on_close, connect};

/// A request and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// The pause before it.
    pub pause: Duration,
    /// Bytes of the request, at least [`HEAD`]; 0 for none, and no answer.
    pub up: u32,
    /// Bytes of the answer.
    pub down: u32,
    /// How long the server thinks before it answers.
    pub think: Duration,
    /// How long the client rests before it reads the answer.
    pub rest: Duration,
}

/// Bytes of a request that tell the lengths of both, and for how many milliseconds to think.
const HEAD: u32 = 12;

/// A connection that a client opens.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// When, after the beginning.
    pub start: Duration,
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub exchanges: Vec<Exchange>,
    /// Whether it breaks off in the end, and does not close.
    pub breaks_off: bool,
}

impl Client {
    /// Opens a connection and does the exchanges; fails when time is over.
    pub(super) fn run(&self, deadline: Instant) -> io::Result<()> {
        thread::sleep(self.start);
        let stream = connect(self.from, self.to, left(deadline))?;
        let done = self.exchange(&stream, deadline);
        if done.is_err() || self.breaks_off {
            abort_on_close(&stream);
        }
        done
    }

    fn exchange(&self, mut stream: &TcpStream, deadline: Instant) -> io::Result<()> {
        stream.set_nodelay(true)?;
        for exchange in &self.exchanges {
            thread::sleep(exchange.pause);
            if exchange.up == 0 {
                continue;
            }
            limit(stream, deadline)?;
            let up = exchange.up.max(HEAD);
            let think = u32::try_from(exchange.think.as_millis()).unwrap();
            let mut request = [up, exchange.down, think].map(u32::to_be_bytes).concat();
            request.resize(up as usize, b'u');
            stream.write_all(&request)?;
            thread::sleep(exchange.rest);
            limit(stream, deadline)?;
            read_exactly(stream, exchange.down, deadline)?;
        }
        Ok(())
    }
}

/// Serves until the flag is set.
pub(super) fn serve(listener: &TcpListener, deadline: Instant, stop: &Arc<AtomicBool>) {
    listener.set_nonblocking(true).unwrap();
    let mut served = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => served.push(thread::spawn(move || {
                if answer(&stream, deadline).is_err() {
                    abort_on_close(&stream);
                }
            })),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
    for thread in served {
        let _ = thread.join();
    }
}

fn answer(mut stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let mut head = [0; HEAD as usize];
    loop {
        limit(stream, deadline)?;
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        read_exactly(stream, number(0) - HEAD, deadline)?;
        thread::sleep(Duration::from_millis(u64::from(number(8))));
        limit(stream, deadline)?;
        stream.write_all(&vec![b'd'; number(4) as usize])?;
    }
}

/// Passes connections on to a server, each as one of its own, until the flag is set.
pub(super) fn balance(
    listener: &TcpListener,
    (from, to): (SocketAddrV4, SocketAddrV4),
    deadline: Instant,
    stop: &Arc<AtomicBool>,
) {
    listener.set_nonblocking(true).unwrap();
    let mut passed_on = Vec::new();
    let mut port = from.port();
    while !stop.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let from = SocketAddrV4::new(*from.ip(), port);
        port += 1;
        passed_on.push(thread::spawn(move || {
            let copied = connect(from, to, left(deadline)).and_then(|server| {
                client.set_nonblocking(false)?;
                copy_both_ways(&client, &server, deadline)
            });
            if copied.is_err() {
                abort_on_close(&client);
            }
        }));
    }
    for connection in passed_on {
        let _ = connection.join();
    }
}

fn copy_both_ways(client: &TcpStream, server: &TcpStream, deadline: Instant) -> io::Result<()> {
    for stream in [client, server] {
        limit(stream, deadline)?;
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        let up = scope.spawn(|| copy(client, server));
        let down = copy(server, client);
        up.join().unwrap().and(down)
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(std::net::Shutdown::Write)
}

fn read_exactly(mut stream: &TcpStream, mut len: u32, deadline: Instant) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    while len > 0 {
        limit(stream, deadline)?;
        let most = buffer.len().min(len as usize);
        match stream.read(&mut buffer[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => len -= u32::try_from(got).unwrap(),
        }
    }
    Ok(())
}

/// Returns the time that is left, never nothing.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn limit(stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    stream.set_read_timeout(Some(left(deadline)))?;
    stream.set_write_timeout(Some(left(deadline)))
}
