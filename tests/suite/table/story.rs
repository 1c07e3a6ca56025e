//! The story of the DNS server, and what reports say of the table.

use std::path::Path;

use serde_json::Value;
use tcp_window_audit::diagnose::Runner;

use super::dns;
use super::traffic::{Connection, MILLIS, in_order, pcap, tcp, udp};
use crate::program::{Scratch, run, status, text};
use crate::scenario::testdata;

/// The firewall of the story.
const SMALL: [&str; 4] =
    ["--sysctl", "nf_conntrack_max=500", "--sysctl", "nf_conntrack_buckets=512"];

fn folder() -> std::path::PathBuf {
    testdata().join("captures").join(dns::NAME)
}

fn expect_file(path: &Path, found: &[u8]) {
    let is_there = std::fs::read(path).is_ok_and(|kept| kept == found);
    if std::env::var_os("UPDATE_EXPECT").is_some() && !is_there {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, found).unwrap();
    }
    let kept = std::fs::read(path).unwrap_or_default();
    assert!(kept == found, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["--format", "json"], arguments].concat();
    let output = run(folder, &arguments);
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_capture_and_its_reports_are_as_kept() {
    let (capture, readme) = dns::make();
    assert!(capture.len() < 200_000, "{} bytes", capture.len());
    expect_file(&folder().join("capture.pcap"), &capture);
    expect_file(&folder().join("README.md"), readme.as_bytes());
    let report = run(&folder(), &[&SMALL[..], &["--table", "capture.pcap"]].concat());
    assert_eq!((status(&report), text(&report.stderr)), (0, ""));
    expect_file(&folder().join("table.txt"), &report.stdout);
    for line in text(&report.stdout).lines() {
        assert!(line.chars().count() <= 100 || line.starts_with("      "), "{line}");
    }
    let report =
        run(&folder(), &[&SMALL[..], &["--table", "--format", "json", "capture.pcap"]].concat());
    expect_file(&folder().join("table.json"), &report.stdout);
}

#[test]
fn the_table_overflows_and_leaving_dns_untracked_empties_it() {
    let report = json(&folder(), &[&SMALL[..], &["--table", "capture.pcap"]].concat());
    let table = &report["table"];
    let verdict = &report["verdict"];
    assert_eq!((&verdict["level"], &verdict["cause"]), (&"probable".into(), &"C21".into()));
    // 880 queries within the 30 s of each, and 24 connections.
    assert_eq!(table["entries_made"], 904);
    assert_eq!(table["peak"]["entries"], 904);
    assert_eq!(table["peak"]["percent_of_max"], 180);
    let overflow = &table["overflow"];
    assert_eq!(overflow["would_overflow"], true);
    assert_eq!(overflow["highest"], 500, "the limit is never passed");
    let refused = |name: &str| -> u64 {
        overflow[name].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    // At times two entries of one bucket are given up for one that comes.
    let all_refused = refused("early_dropped") + refused("dropped");
    assert!((904 - 500..450).contains(&all_refused), "{all_refused}");
    let relief = table["relief"].as_array().unwrap();
    let without_dns = relief.iter().find(|row| row["change"] == "untracked: UDP port 53").unwrap();
    assert_eq!(without_dns["peak"], 24);
    let dns = &table["demand"][0];
    assert_eq!(dns["service"], "UDP port 53");
    // 40 a second, 30 s each: the query is answered at once.
    assert_eq!((&dns["new_per_1000_s"], &dns["stay_ms"]), (&40_041.into(), &30_001.into()));
    assert_eq!(dns["entries"], 1201);
}

#[test]
fn the_table_is_shown_when_it_is_half_full_or_asked_for() {
    let is_there = |arguments: &[&str]| {
        let arguments = [arguments, &["capture.pcap"]].concat();
        let report = json(&folder(), &arguments);
        (!report["table"].is_null(), !report["table"]["overflow"].is_null())
    };
    assert_eq!(is_there(&[]), (false, false), "904 of 262,144 entries are of no interest");
    assert_eq!(is_there(&["--table"]), (true, true));
    assert_eq!(is_there(&SMALL), (true, true), "read a second time");
    assert_eq!(is_there(&[&SMALL[..], &["--table=never"]].concat()), (true, false));
    assert_eq!(is_there(&["--sysctl", "nf_conntrack_max=1808"]), (false, false), "just half full");
    assert_eq!(is_there(&["--sysctl", "nf_conntrack_max=1807"]), (true, true));
    assert_eq!(is_there(&["--sysctl", "nf_conntrack_max=0"]), (false, false), "no limit");
}

#[test]
fn any_number_of_threads_gives_the_same_table() {
    let of = |threads: &str| {
        let arguments = ["--table", "--threads", threads, "capture.pcap"];
        json(&folder(), &[&SMALL[..], &arguments].concat())["table"].clone()
    };
    let single = of("1");
    for threads in ["2", "5"] {
        assert_eq!(of(threads), single, "{threads} threads");
    }
}

#[test]
fn connections_that_a_full_table_drops_are_a_confirmed_cause() {
    let scratch = Scratch::new("table_drops");
    let mut packets = Vec::new();
    for n in 0..60_u16 {
        let at = u64::from(n) * 200 * MILLIS;
        let mut connection = Connection::new(([10, 0, 0, 1], 5000 + n), ([10, 0, 0, 2], 443), at);
        connection.handshake().exchange();
        packets.append(&mut connection.packets);
    }
    scratch.write("a.pcap", &pcap(dns::BEGIN_NS, &in_order(packets)));
    let of = |max: &str| json(&scratch.0, &["--sysctl", max, "a.pcap"]);
    // The last connection but one is assured when the next comes: none is given up for it.
    let report = of("nf_conntrack_max=40");
    let overflow = &report["table"]["overflow"];
    assert_eq!(overflow["dropped"]["TCP port 443"], 20);
    assert_eq!((&overflow["seconds"], &overflow["cut_off"]), (&4.into(), &0.into()));
    assert_eq!(overflow["first_dropped"][0]["frame"], 6 * 40 + 1);
    let verdict = &report["verdict"];
    assert_eq!((&verdict["level"], &verdict["cause"]), (&"confirmed".into(), &"C21".into()));
    let roomy = of("nf_conntrack_max=60");
    assert_eq!(roomy["table"]["overflow"]["would_overflow"], false);
    assert_ne!(roomy["verdict"]["cause"], "C21", "exactly full is not too full");
}

/// More connections than the tables of most machines hold are probably too many, for who knows this one.
#[test]
fn a_limit_that_is_not_given_confirms_nothing() {
    const DEFAULT: u32 = 262_144;
    let scratch = Scratch::new("table_default");
    let packets = (0..=DEFAULT).map(|n| {
        let [_, high, middle, low] = n.to_be_bytes();
        let from = ([10, high, middle, low], 1024);
        (u64::from(n) * MILLIS / 20, tcp(from, ([192, 0, 2, 80], 443), "S", (n, 0), 0))
    });
    scratch.write("a.pcap", &pcap(dns::BEGIN_NS, &packets.collect::<Vec<_>>()));
    let report = json(&scratch.0, &["--threads", "2", "a.pcap"]);
    let causes = report["causes"].as_array().unwrap();
    let full = causes.iter().find(|cause| cause["id"] == "C21").unwrap();
    assert_eq!((&full["level"], &full["at_most"]), (&"probable".into(), &"probable".into()));
    assert!(full["against"][0].as_str().unwrap().contains("kernel's default"), "{full}");
}

/// A flow of UDP that comes back after its entry has expired is a new entry; one that goes on is not.
#[test]
fn entries_are_those_of_the_chosen_timeouts() {
    let scratch = Scratch::new("table_timeouts");
    let (client, server) = (([10, 0, 0, 1], 5000), ([10, 0, 0, 2], 53));
    let at = |second: u64| (second * 1000 * MILLIS, udp(client, server, 10));
    scratch.write("a.pcap", &pcap(dns::BEGIN_NS, &[at(0), at(20), at(45), at(80)]));
    let made = |sysctls: &[&str]| {
        let report = json(&scratch.0, &[sysctls, &["--table", "a.pcap"]].concat());
        report["table"]["entries_made"].clone()
    };
    assert_eq!(made(&[]), 2, "30 s");
    assert_eq!(made(&["--sysctl", "nf_conntrack_udp_timeout=40"]), 1);
    assert_eq!(made(&["--sysctl", "nf_conntrack_udp_timeout=10"]), 4);
}

#[test]
fn an_entry_that_outlives_the_capture_is_there_to_the_end() {
    let scratch = Scratch::new("table_end");
    let server = ([10, 0, 0, 2], 53);
    let query =
        |n: u16| (u64::from(n) * 10_000 * MILLIS, udp(([10, 0, 0, 1], 5000 + n), server, 9));
    let packets: Vec<_> = (0..6).map(query).collect();
    scratch.write("a.pcap", &pcap(dns::BEGIN_NS, &packets));
    let table = &json(&scratch.0, &["--table", "a.pcap"])["table"];
    let over_time = table["over_time"].as_array().unwrap();
    let entries: Vec<_> =
        over_time.iter().step_by(10).map(|point| point["entries"].as_u64().unwrap()).collect();
    assert_eq!(entries, [1, 2, 3, 3, 3, 3], "each stays for 30 s");
}

#[test]
fn what_relieves_a_table_can_be_loaded_and_works() {
    let in_namespace = |script: &str| {
        std::process::Command::new("unshare").args(["-n", "bash", "-c", script]).output()
    };
    let probe = in_namespace("nft list tables && ip link set lo up");
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no nft or bash, or no network namespace may be made");
        return;
    }
    let scratch = Scratch::new("table_relief");
    let query = |n: u16| {
        let (client, server) = (([127, 0, 0, 1], 5000 + n), ([127, 0, 0, 1], 5353));
        (u64::from(n) * 10 * MILLIS, udp(client, server, 9))
    };
    scratch.write("a.pcap", &pcap(dns::BEGIN_NS, &(0..9).map(query).collect::<Vec<_>>()));
    let report = json(&scratch.0, &["--table", "--sysctl", "nf_conntrack_max=4", "a.pcap"]);
    let remedies = report["table"]["remedies"].as_array().unwrap();
    let lines = |runner: Runner| {
        let steps = remedies.iter().flat_map(|remedy| remedy["steps"].as_array().unwrap());
        let its = steps.filter(|step| step["runner"] == runner.code());
        let text = |line: &Value| line.as_str().unwrap().to_owned();
        let texts: Vec<Vec<_>> =
            its.map(|step| step["lines"].as_array().unwrap().iter().map(text).collect()).collect();
        texts
    };
    let nft = lines(Runner::Nft).iter().fold(String::new(), |script, lines| {
        script + "nft -f - <<'END'\n" + &lines.join("\n") + "\nEND\n"
    });
    assert!(nft.contains("notrack") && nft.contains("ct state untracked accept"), "{nft}");
    let sysctls = lines(Runner::Sysctl)[0]
        .iter()
        .fold(String::new(), |script, line| script + "sysctl -qw " + line + "\n");
    let count = "echo query > /dev/udp/127.0.0.1/5353
                 cat /proc/sys/net/netfilter/nf_conntrack_count";
    let track = "ip link set lo up\nnft add table inet t
                 nft add chain inet t in '{ type filter hook input priority filter + 10; }'
                 nft add rule inet t in ct state new,untracked counter";
    let counted = |rules: &str| {
        let output = in_namespace(&format!("set -e\n{track}\n{rules}{count}")).unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(counted(""), "1", "a query is tracked");
    assert_eq!(counted(&nft), "0", "until the rules are loaded");
    assert_eq!(counted(&sysctls), "1");
    load_with_iptables(&lines(Runner::Iptables)[0], in_namespace);
}

fn load_with_iptables(
    lines: &[String],
    in_namespace: impl Fn(&str) -> std::io::Result<std::process::Output>,
) {
    if !in_namespace("iptables -t raw -L").is_ok_and(|output| output.status.success()) {
        println!("skipped: no iptables");
        return;
    }
    let script = format!("iptables-restore --noflush <<'END'\n{}\nEND\n", lines.join("\n"));
    let output = in_namespace(&script).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
