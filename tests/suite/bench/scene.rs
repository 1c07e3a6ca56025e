//! Clients, servers and the path between them: what is set up for one case, run, and taken down.
#![expect(clippy::disallowed_methods, reason = "the ends run in real time, as the kernels do")]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tcp_window_audit::frame::LinkType;

use super::app::{Client, Exchange, balance, serve};
use super::device::{Bypass, Choice, Link, Records, Tap, put};
use super::host::{Host, ping};
use super::path::{Element, Line, Path, Way};
use crate::generate::file::{Record, pcapng};

/// Addresses of clients in each network.
const CLIENTS: u8 = 20;
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
pub(super) const BALANCER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);
/// What a router that translates puts in the place of clients.
pub(super) const TRANSLATED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PORT: u16 = 443;

/// Drops what the tracker calls INVALID, as most rule sets do.
pub(super) const DROP_INVALID: &str = "table inet bench {
  chain input { type filter hook input priority 0; ct state invalid counter drop; }
  chain forward { type filter hook forward priority 0; ct state invalid counter drop; }
}";

/// Tracks, and drops nothing.
pub(super) const COUNT_INVALID: &str = "table inet bench {
  chain input { type filter hook input priority 0; ct state invalid counter; }
  chain forward { type filter hook forward priority 0; ct state invalid counter; }
}";

/// The networks of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Network {
    Public,
    /// Behind a router that translates.
    Private,
}

/// Returns the address of a client.
fn client(network: Network, number: u8) -> Ipv4Addr {
    match network {
        Network::Public => Ipv4Addr::new(203, 0, 113, 10 + number),
        Network::Private => Ipv4Addr::new(192, 168, 7, 10 + number),
    }
}

/// Hosts that are ready, and capture points.
pub(super) struct Scene {
    pub clients: Host,
    pub server: Host,
    balancer: Option<Host>,
    routers: Vec<Host>,
    lines: Vec<Line>,
    taps: BTreeMap<&'static str, Records>,
    is_over: Arc<AtomicBool>,
    flows: Vec<Client>,
    pings: Vec<usize>,
    /// Done when the connections are over and the path still stands.
    pub at_end: Option<Box<dyn FnOnce()>>,
    /// Where the clients are.
    pub network: Network,
}

/// What came of it.
pub(super) struct Seen {
    captures: BTreeMap<&'static str, Vec<Record>>,
    /// How each connection ended.
    pub outcomes: Vec<io::Result<()>>,
    /// INVALID packets as the kernels counted them, where rules had them track: of clients, server,
    /// and routers.
    pub invalid: Vec<Option<u64>>,
}

impl Scene {
    pub(super) fn new() -> io::Result<Self> {
        let (clients, client_device) = Host::new(1)?;
        let (server, server_device) = Host::new(1)?;
        for host in [&clients, &server] {
            ordinary(host)?;
            host.route("default", "tun0")?;
        }
        let mut addresses = vec![TRANSLATED];
        for number in 0..CLIENTS {
            for network in [Network::Public, Network::Private] {
                clients.address("tun0", client(network, number))?;
            }
            // Nobody routes to private addresses.
            addresses.push(client(Network::Public, number));
        }
        server.address("tun0", SERVER)?;
        let line = |addresses, mut devices: Vec<_>| Line {
            addresses,
            host: devices.remove(0),
            elements: Vec::new(),
        };
        Ok(Self {
            clients,
            server,
            balancer: None,
            routers: Vec::new(),
            lines: vec![line(addresses, client_device), line(vec![SERVER], server_device)],
            taps: BTreeMap::new(),
            is_over: Arc::default(),
            flows: Vec::new(),
            pings: Vec::new(),
            at_end: None,
            network: Network::Public,
        })
    }

    /// Adds a host that accepts connections and passes them on to the server, without SACK and
    /// window scaling.
    pub(super) fn balancer(&mut self, elements: Vec<Element>) -> io::Result<()> {
        let (host, mut devices) = Host::new(1)?;
        ordinary(&host)?;
        // As those that remove what they do not want to understand.
        host.set("net/ipv4/tcp_window_scaling", "0")?;
        host.set("net/ipv4/tcp_sack", "0")?;
        host.address("tun0", BALANCER)?;
        host.route("default", "tun0")?;
        let host_end = devices.remove(0);
        self.lines.push(Line { addresses: vec![BALANCER], host: host_end, elements });
        self.balancer = Some(host);
        Ok(())
    }

    /// Makes a router with these rules; for the line of the clients.
    pub(super) fn router(&mut self, script: &'static str) -> io::Result<Element> {
        let (host, mut devices) = Host::new(2)?;
        host.set("net/ipv4/ip_forward", "1")?;
        for all in ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"] {
            host.set(all, "0")?;
        }
        host.route("203.0.113.0/24", "tun0")?;
        host.route("192.168.7.0/24", "tun0")?;
        host.address("tun1", TRANSLATED)?;
        host.route("default", "tun1")?;
        host.nft(script)?;
        let (home, away) = (devices.remove(0), devices.remove(0));
        self.routers.push(host);
        Ok(Element::Router { home, away })
    }

    /// Sets a sysctl of the routers, named by its path below `/proc/sys`.
    pub(super) fn set_routers(&self, sysctl: &'static str, value: &'static str) -> io::Result<()> {
        self.routers.iter().try_for_each(|router| router.set(sysctl, value))
    }

    /// Makes a capture point; one of the same name writes into the same capture.
    pub(super) fn tap(&mut self, name: &'static str) -> Element {
        self.tap_of(name, Box::new(|_, _| true))
    }

    /// Makes a capture point that captures what is chosen.
    pub(super) fn tap_of(&mut self, name: &'static str, captures: Choice) -> Element {
        let records = Arc::clone(self.taps.entry(name).or_default());
        put(Tap { records, is_over: Arc::clone(&self.is_over), captures })
    }

    /// Puts these devices between clients and hub, the first nearest to the clients.
    pub(super) fn before_clients(&mut self, elements: Vec<Element>) {
        self.lines[0].elements = elements;
    }

    /// Puts these devices between clients and hub, with a link and a tap on either side of them.
    pub(super) fn between_taps(&mut self, devices: Vec<Element>) {
        let mut elements = vec![self.tap("client"), Link::of(5, 3)];
        elements.extend(devices);
        elements.extend([Link::of(5, 8), self.tap("server")]);
        self.before_clients(elements);
    }

    /// Puts devices between clients and hub as [`Scene::between_taps`] does, and firewalls on both
    /// hosts.
    pub(super) fn between_firewalls(&mut self, devices: Vec<Element>) -> io::Result<()> {
        self.clients.nft(DROP_INVALID)?;
        self.server.nft(DROP_INVALID)?;
        self.between_taps(devices);
        Ok(())
    }

    /// Puts these devices between server and hub, the first nearest to the server.
    pub(super) fn before_server(&mut self, elements: Vec<Element>) {
        self.lines[1].elements = elements;
    }

    /// Has clients open one connection each, a little after one another.
    pub(super) fn flows(&mut self, flows: impl IntoIterator<Item = Vec<Exchange>>) {
        for exchanges in flows {
            let number = self.flows.len();
            self.flow(number, SERVER, exchanges);
        }
    }

    /// Has client `number` open a connection; every client has its port and its time.
    pub(super) fn flow(&mut self, number: usize, to: Ipv4Addr, exchanges: Vec<Exchange>) {
        let host = client(self.network, u8::try_from(number).unwrap() % CLIENTS);
        let from = SocketAddrV4::new(host, 40_000 + u16::try_from(number).unwrap() * 7);
        let start = Duration::from_millis(37) * u32::try_from(number).unwrap();
        let to = SocketAddrV4::new(to, PORT);
        self.flows.push(Client { start, from, to, exchanges, breaks_off: false });
    }

    /// Has a client do one exchange with the server and break off, and open another connection from
    /// the same port so much later.
    pub(super) fn flow_twice(&mut self, number: usize, pause: Duration, exchange: Exchange) {
        for (breaks_off, later) in [(true, Duration::ZERO), (false, pause)] {
            self.flow(number, SERVER, vec![exchange]);
            if let Some(client) = self.flows.last_mut() {
                client.breaks_off = breaks_off;
                client.start += later;
            }
        }
    }

    /// Has the first client send echo requests of so many bytes to the server.
    pub(super) fn pings(&mut self, bytes: &[usize]) {
        self.pings.extend(bytes);
    }

    /// Runs the connections, for so long at most.
    pub(super) fn run(mut self, most: Duration) -> Seen {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        // What gives up does so after the captures are over.
        let deadline = begin + most + Duration::from_millis(400);
        let path = Path::new(std::mem::take(&mut self.lines));
        let path_stop = Arc::clone(&stop);
        let path = thread::spawn(move || path.run(&path_stop));
        let servers = self.serve(deadline, &stop);
        let flows = std::mem::take(&mut self.flows);
        let pings = std::mem::take(&mut self.pings);
        let clients = self.clients.run(move || {
            for (number, bytes) in (1..).zip(pings) {
                ping(SERVER, bytes, number).unwrap();
            }
            let start = |flow: Client| thread::spawn(move || flow.run(deadline));
            flows.into_iter().map(start).collect::<Vec<_>>()
        });
        while begin.elapsed() < most && !clients.iter().all(thread::JoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(10));
        }
        // The last segments are still on their way.
        thread::sleep(Duration::from_millis(150));
        self.is_over.store(true, Ordering::Relaxed);
        let hosts = [&self.clients, &self.server].into_iter().chain(&self.routers);
        let invalid = hosts.map(Host::invalid).collect();
        if let Some(work) = self.at_end.take() {
            work();
        }
        let outcomes = clients.into_iter().map(|client| client.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        path.join().unwrap();
        for server in servers {
            server.join().unwrap();
        }
        let take =
            |(name, records): (_, Records)| (name, std::mem::take(&mut *records.lock().unwrap()));
        let captures = std::mem::take(&mut self.taps).into_iter().map(take).collect();
        Seen { captures, outcomes, invalid }
    }

    fn serve(&self, deadline: Instant, stop: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
        let server_stop = Arc::clone(stop);
        let server = self.server.run(move || {
            let listener = TcpListener::bind((SERVER, PORT)).unwrap();
            thread::spawn(move || serve(&listener, deadline, &server_stop))
        });
        let balancer = self.balancer.as_ref().map(|host| {
            let stop = Arc::clone(stop);
            host.run(move || {
                let listener = TcpListener::bind((BALANCER, PORT)).unwrap();
                let ways = (SocketAddrV4::new(BALANCER, 52_000), SocketAddrV4::new(SERVER, PORT));
                thread::spawn(move || balance(&listener, ways, deadline, &stop))
            })
        });
        [Some(server), balancer].into_iter().flatten().collect()
    }
}

/// Settings that do not depend on the memory of the machine.
fn ordinary(host: &Host) -> io::Result<()> {
    host.set("net/ipv4/tcp_rmem", "4096 131072 6291456")?;
    host.set("net/ipv4/tcp_wmem", "4096 16384 4194304")?;
    host.set("net/ipv4/tcp_no_metrics_save", "1")
}

/// Leads what is chosen past everything that stands between the two.
pub(super) fn around(elements: Vec<Element>, hides: impl Fn() -> Choice) -> Vec<Element> {
    let mut all = vec![put(Bypass { entering: Way::Away, hides: hides() })];
    all.extend(elements);
    all.push(put(Bypass { entering: Way::Home, hides: hides() }));
    all
}

impl Seen {
    /// Returns a capture as a file, its packets cut to so many bytes.
    pub(super) fn capture(&self, tap: &str, snap_len: u32) -> Vec<u8> {
        pcapng(LinkType::RAW, snap_len, &self.captures[tap])
    }

    /// Returns a capture of a tap whose clock is ahead by so many nanoseconds.
    pub(super) fn capture_ahead(&self, tap: &str, snap_len: u32, ahead_ns: i64) -> Vec<u8> {
        let later = |record: &Record| Record {
            time_ns: record.time_ns + ahead_ns,
            bytes: record.bytes.clone(),
        };
        let records: Vec<_> = self.captures[tap].iter().map(later).collect();
        pcapng(LinkType::RAW, snap_len, &records)
    }

    pub(super) fn taps(&self) -> impl Iterator<Item = &'static str> {
        self.captures.keys().copied()
    }

    /// Returns how many packets the kernel of the host that this capture was taken on called INVALID.
    pub(super) fn counted_at(&self, tap: &str) -> Option<u64> {
        match tap {
            "client" => self.invalid[0],
            "server" => self.invalid[1],
            _ => None,
        }
    }

    /// Counts the connections that did not end well.
    pub(super) fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.is_err()).count()
    }
}

/// Where captures are left when somebody wants to look at them.
pub(super) fn wanted_folder() -> Option<PathBuf> {
    std::env::var_os("BENCH_CAPTURES").map(PathBuf::from)
}
