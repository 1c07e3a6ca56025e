#!/usr/bin/env python3
"""Writes testdata/scenarios and testdata/vectors from recordings of real trackers.

    tests/convert_scenarios.py scenarios conntrack-scenarios.jsonl
    tests/convert_scenarios.py vectors   conntrack-vectors.jsonl.gz

A recording holds one JSON object a line:

    id       name of the conversation
    cfg      loose, be_liberal, max_retrans, ignore_invalid_rst, checksum
    packets  t_ms; from A or B (A:1000, B:80); seq, ack, flags (byte), win, opts (hex), payload_len,
             bad_checksum; or raw (hex of the layer-4 bytes, padded with "x" up to raw_len)
    expect   list of {profiles, rows}, one row a packet: ct, rc (reason codes), log (the kernel's
             text); while an entry exists also state, ttl_ms, seen_reply, assured, pkt_dir,
             orig and reply [td_end, td_maxend, td_maxwin, td_maxack, td_scale, flags],
             last [dir, index, retrans, seq, ack, end, win, wscale, flags]

The text format is described in testdata/scenarios/README.md and read by tests/suite/scenario.
Nothing but facts is carried over; names and purpose lines come from scenario_claims.py.
"""

import gzip
import json
import pathlib
import sys

sys.dont_write_bytecode = True  # no __pycache__ in the source tree
from scenario_claims import CLAIMS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent / "testdata"

# In the order of their age; a range in an exception runs along this list.
PROFILES = [
    "2.6.32", "el6", "3.10", "el7", "4.19.0", "el8", "5.4", "5.10.0", "5.10.166+", "5.14/5.15.0",
    "5.15.100", "6.1.0", "6.1.192", "6.6.57", "6.18.0", "6.18.44", "6.12.117",
]
DEFAULT_PROFILE = "6.18.44"
DEFAULTS = {"loose": 1, "be_liberal": 0, "max_retrans": 3, "ignore_invalid_rst": 0, "checksum": 1}
PORTS = {"A": 1000, "B": 80}
FLAG_LETTERS = [(0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"),
                (0x20, "U"), (0x40, "E"), (0x80, "W"), (0x10, ".")]
SYN, ACK, RST = 0x02, 0x10, 0x04
# Offsets from the initial number below this are written relative to it, others as "abs:".
NEAR = 1_000_000
RHS_COLUMN = 100  # at most, where the verdicts stand below each other


def seconds(ms):
    """120000 -> 120, 119900 -> 119.9"""
    text = f"{ms // 1000}.{ms % 1000:03}".rstrip("0")
    return text.rstrip(".")


def letters(flags):
    return "".join(c for bit, c in FLAG_LETTERS if flags & bit) or "-"


def profile_list(names):
    """Names in order of age; three or more neighbours become a range."""
    at = sorted(PROFILES.index(n) for n in names)
    runs, out = [], []
    for i in at:
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    for run in runs:
        if len(run) >= 3:
            out.append(f"{PROFILES[run[0]]}..{PROFILES[run[-1]]}")
        else:
            out += [PROFILES[i] for i in run]
    return " ".join(out)


def with_exceptions(per_profile):
    """Splits {profile: value} into the default's value and [(profiles, value)] of the others."""
    default = per_profile[DEFAULT_PROFILE]
    groups = {}
    for name in PROFILES:
        if per_profile[name] != default:
            groups.setdefault(per_profile[name], []).append(name)
    return default, [(profile_list(names), value) for value, names in groups.items()]


# --- packets -------------------------------------------------------------------------------------


def initial_numbers(packets):
    """The number before the first byte of each side: from a SYN, else from what was sent or
    acknowledged first."""
    isn = {}
    plain = [p for p in packets if "raw" not in p]
    for p in plain:
        if p["flags"] & SYN and p["from"] not in isn:
            isn[p["from"]] = p["seq"]
    for p in plain:
        if p["from"] not in isn and not p["flags"] & RST:
            isn[p["from"]] = (p["seq"] - 1) % 2**32
    for p in plain:
        other = "B" if p["from"] == "A" else "A"
        if p["flags"] & ACK and other not in isn and p["ack"]:
            isn[other] = (p["ack"] - 1) % 2**32
    return isn


def number(value, base):
    """A relative number as a string, or abs:N when it is far from base or base is unknown."""
    if base is not None and (value - base) % 2**32 < NEAR:
        return str((value - base) % 2**32)
    return f"abs:{value}"


def block(left, right, base):
    """A SACK block; abs: stands for both edges."""
    edges = number(left, base), number(right, base)
    return f"abs:{left}-{right}" if any(":" in e for e in edges) else "-".join(edges)


def options(hex_bytes, peer_isn):
    """Option bytes as packetdrill writes them; what has no notation stands as hex."""
    data, items, i = bytes.fromhex(hex_bytes), [], 0
    while i < len(data):
        kind = data[i]
        length = data[i + 1] if i + 1 < len(data) else 0
        body = data[i + 2:i + length]
        whole = kind > 1 and 2 <= length <= len(data) - i
        if kind == 0:
            items.append("eol")
            i += 1
        elif kind == 1:
            items.append("nop")
            i += 1
        elif whole and (kind, length) == (2, 4):
            items.append(f"mss {int.from_bytes(body)}")
            i += length
        elif whole and (kind, length) == (3, 3):
            items.append(f"wscale {body[0]}")
            i += length
        elif whole and (kind, length) == (4, 2):
            items.append("sackOK")
            i += length
        elif whole and (kind, length) == (8, 10):
            items.append(f"TS val {int.from_bytes(body[:4])} ecr {int.from_bytes(body[4:])}")
            i += length
        elif whole and kind == 5 and length >= 10 and length % 8 == 2:
            edges = [int.from_bytes(body[n:n + 4]) for n in range(0, len(body), 4)]
            blocks = [block(left, right, peer_isn)
                      for left, right in zip(edges[::2], edges[1::2])]
            items.append("sack " + " ".join(blocks))
            i += length
        elif whole and body:
            items.append("hex " + data[i:i + length].hex())
            i += length
        else:
            items.append("hex " + data[i:].hex())
            i = len(data)
    return f"<{','.join(items)}>" if items else ""


def fields_of_raw(packet):
    """Reads a damaged header back into fields, doff and cut; None if that loses a byte."""
    raw = bytes.fromhex(packet["raw"])
    full = raw + bytes(20 - len(raw)) if len(raw) < 20 else raw
    fields = {
        "from": packet["from"],
        "seq": int.from_bytes(full[4:8]), "ack": int.from_bytes(full[8:12]),
        "flags": full[13], "win": int.from_bytes(full[14:16]), "opts": "", "payload_len": 0,
    }
    doff = full[12] >> 4 if len(raw) > 12 else 5
    ports = PORTS[packet["from"]], PORTS["B" if packet["from"] == "A" else "A"]
    header = (ports[0].to_bytes(2) + ports[1].to_bytes(2) + full[4:12] + bytes([doff << 4])
              + full[13:16] + bytes(4))
    if header[:len(raw)] != raw or packet["raw_len"] != len(raw):
        return None
    fields["doff"] = doff if doff != 5 else None
    fields["cut"] = len(raw) if len(raw) < 20 else None
    return fields


def packet_text(packet, isn):
    """The left side of a step, without its time."""
    arrow = ">" if packet["from"] == "A" else "<"
    if "raw" in packet:
        fields = fields_of_raw(packet)
        if fields is None:
            return f"{arrow} raw {packet['raw']}"
        packet = fields
    own = isn.get(packet["from"])
    peer = isn.get("B" if packet["from"] == "A" else "A")
    seq, length = number(packet["seq"], own), packet["payload_len"]
    span = f"{seq}({length})" if seq.startswith("abs:") else f"{seq}:{int(seq) + length}({length})"
    words = [arrow, f"{letters(packet['flags']):<3}", span]
    if packet["flags"] & ACK or packet["ack"]:
        words.append(f"ack {number(packet['ack'], peer)}")
    words.append(f"win {packet['win']}")
    words.append(options(packet["opts"], peer))
    for word in ("doff", "cut"):
        if packet.get(word) is not None:
            words.append(f"{word} {packet[word]}")
    if packet.get("bad_checksum"):
        words.append("badcsum")
    return " ".join(w for w in words if w)


# --- expectations --------------------------------------------------------------------------------


def verdict_text(row):
    entry = f"{row['state']} {seconds(row['ttl_ms'])}s" if "state" in row else "-"
    return " ".join([row["ct"], entry] + [code.lower() for code in row["rc"]])


def mark_parts(row):
    """Direction with entry status, original side, reply side, last segment; None without entry."""
    if "state" not in row:
        return None
    status = ("r" if row["seen_reply"] else "-") + ("a" if row["assured"] else "-")
    def numbers(values):
        return " ".join([str(v) for v in values[:-1]] + [f"{values[-1]:02x}"])
    return (f"{row['pkt_dir']} {status}", numbers(row["orig"]), numbers(row["reply"]),
            numbers(row["last"]))


def mark_text(parts, default):
    """An exception's part that equals the default's is written as "="."""
    if parts is None:
        return "-"
    if default is not None:
        parts = [parts[0]] + ["=" if p == d else p for p, d in zip(parts[1:], default[1:])]
    return " | ".join(parts)


def rows_of(record, index):
    """{profile: row} of one packet."""
    return {name: group["rows"][index]
            for group in record["expect"] for name in group["profiles"]}


def step_lines(record, isn):
    lefts, lines, before = [], [], 0
    for packet in record["packets"]:
        lefts.append(f"+{(packet['t_ms'] - before) / 1000:.3f} {packet_text(packet, isn)}")
        before = packet["t_ms"]
    column = min(RHS_COLUMN, max(len(left) for left in lefts))
    for i, left in enumerate(lefts):
        rows = rows_of(record, i)
        default, others = with_exceptions({n: verdict_text(r) for n, r in rows.items()})
        lines.append(f"{left:<{column}} => {default}")
        lines += [f"{'':{column + 4}}@ {names}: {value}" for names, value in others]
    return lines


def table_lines(record, cell, text):
    """One block a packet: the default's value after the packet's number, then the exceptions."""
    lines = []
    for i in range(len(record["packets"])):
        default, others = with_exceptions({n: cell(r) for n, r in rows_of(record, i).items()})
        if default is None and not others:
            continue
        lines.append(f"{i + 1:>3} {text(default, None)}")
        lines += [f"    @ {names}: {text(value, default)}" for names, value in others]
    return lines


def write(path, record, purpose, origin):
    isn = initial_numbers(record["packets"])
    lines = [f"# {purpose}", f"# origin: {origin}", f"# id: {record['id']}", ""]
    lines += [f"sysctl {k}={v}" for k, v in record["cfg"].items() if v != DEFAULTS[k]]
    lines += [f"isn {arrow} {isn[side]}" for side, arrow in (("A", ">"), ("B", "<")) if side in isn]
    lines += [""] + step_lines(record, isn)
    lines += ["", "marks"] + table_lines(record, mark_parts, mark_text)
    logs = table_lines(record, lambda r: r.get("log"), lambda v, _: "-" if v is None else v)
    if logs:
        lines += ["", "log"] + logs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def main():
    kind, source = sys.argv[1:]
    opener = gzip.open if source.endswith(".gz") else open
    with opener(source, "rt") as file:
        records = [json.loads(line) for line in file]
    for record in records:
        names = [n for group in record["expect"] for n in group["profiles"]]
        assert sorted(names) == sorted(PROFILES), record["id"]
        if kind == "scenarios":
            claim, purpose, *origin = CLAIMS[record["id"]]
            origin = origin[0] if origin else "recorded from the trackers of 17 kernels"
            write(ROOT / "scenarios" / f"{claim}.txt", record, purpose, origin)
        else:
            count = len(record["packets"])
            purpose = f"{count} random segments that wander through the states of the tracker."
            origin = "seeded generator, recorded from the trackers of 17 kernels"
            name = f"trace_{int(record['id'][1:]):03}.txt"
            write(ROOT / "vectors" / name, record, purpose, origin)


if __name__ == "__main__":
    main()
