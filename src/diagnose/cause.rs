//! The causes that are known: their ids and names, and what there is to know of each.
//!
//! Does not: look at facts.

/// A cause of trouble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// A device shifts sequence numbers and leaves SACK alone.
    SackNotRewritten,
    /// Window scaling is removed or changed on the path.
    WindowScale,
    /// A sender goes beyond the window that it was offered.
    Overrun,
    /// The tracker sees one direction only.
    OneWay,
    /// A RST is refused.
    RefusedReset,
    /// The flow began before the capture.
    MidStream,
    /// The ends or the path, and no firewall.
    NotTheFirewall,
    /// The capture lost frames that the tracker saw.
    CaptureLoss,
}

/// What there is to know of a cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Knowledge {
    pub(super) mechanism: &'static str,
    pub(super) signature: &'static str,
    pub(super) look_alikes: &'static str,
    pub(super) remedy: &'static str,
    pub(super) references: &'static str,
}

impl Cause {
    /// All causes, by their ids.
    pub const ALL: [Self; 8] = [
        Self::SackNotRewritten,
        Self::WindowScale,
        Self::Overrun,
        Self::OneWay,
        Self::RefusedReset,
        Self::MidStream,
        Self::NotTheFirewall,
        Self::CaptureLoss,
    ];

    /// Returns the stable id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::SackNotRewritten => "C01",
            Self::WindowScale => "C03",
            Self::Overrun => "C05",
            Self::OneWay => "C08",
            Self::RefusedReset => "C10",
            Self::MidStream => "C20",
            Self::NotTheFirewall => "C24",
            Self::CaptureLoss => "capture_loss",
        }
    }

    /// Returns the stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SackNotRewritten => "isn_randomiser_sack_not_rewritten",
            Self::WindowScale => "window_scale_removed_or_changed",
            Self::Overrun => "sender_overruns_window",
            Self::OneWay => "asymmetric_routing",
            Self::RefusedReset => "rst_refused",
            Self::MidStream => "mid_stream_start",
            Self::NotTheFirewall => "not_the_firewall",
            Self::CaptureLoss => "suspect_capture_loss",
        }
    }

    /// Returns the name in words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SackNotRewritten => "sequence numbers shifted, SACK not rewritten",
            Self::WindowScale => "window scaling removed or changed on the path",
            Self::Overrun => "sender overruns the window",
            Self::OneWay => "only one direction passes the tracker",
            Self::RefusedReset => "RST refused as INVALID",
            Self::MidStream => "connections begun before the capture",
            Self::NotTheFirewall => "not the firewall",
            Self::CaptureLoss => "suspect capture loss",
        }
    }

    /// Returns whether something on the path or in the tracker is at fault, and not the capture or
    /// the ends.
    pub const fn blames_a_device(self) -> bool {
        match self {
            Self::SackNotRewritten
            | Self::WindowScale
            | Self::Overrun
            | Self::OneWay
            | Self::RefusedReset => true,
            Self::MidStream | Self::NotTheFirewall | Self::CaptureLoss => false,
        }
    }

    /// Returns what there is to know.
    pub(super) const fn knowledge(self) -> Knowledge {
        match self {
            Self::SackNotRewritten => SACK_NOT_REWRITTEN,
            Self::WindowScale => WINDOW_SCALE,
            Self::Overrun => OVERRUN,
            Self::OneWay => ONE_WAY,
            Self::RefusedReset => REFUSED_RESET,
            Self::MidStream => MID_STREAM,
            Self::NotTheFirewall => NOT_THE_FIREWALL,
            Self::CaptureLoss => CAPTURE_LOSS,
        }
    }
}

const SACK_NOT_REWRITTEN: Knowledge = Knowledge {
    mechanism: "A device adds a random constant per flow and direction to sequence numbers, \
                translates acknowledgements back, and forgets the edges of SACK blocks. Shifted up, \
                they lie above all data sent: the tracker calls the whole ACK INVALID (ACK over). \
                Shifted down, the tracker ignores them, and so does the sender, which then recovers \
                by timeouts. While a hole is left every ACK carries SACK, so every ACK is refused \
                and the connection dies. Cisco PIX, FWSM, ASA and FTD do this.",
    signature: "No SACK block lies between the acknowledgement and the data sent, and one constant, \
                often above 2^20, explains all of them; it differs from flow to flow. About half of \
                the flows that lose a packet die, the rest are slow, and those without loss never \
                show it.",
    look_alikes: "Frames lost while capturing (the excess is at most a window and varies); data \
                  direction not captured; SACK cut by the snap length; payload length changed by an \
                  inspection engine (small steps).",
    remedy: "Fix the device, or clear SACK there, or strip SACK-permitted on Linux towards that \
             path; be_liberal=1 only as a stop-gap: it turns dead into slow (9.3 s against 0.83 s \
             without SACK for the same upload).",
    references: "RFC 2018, section 3; tcp_sack() and tcp_in_window() (nf_conntrack_proto_tcp.c); \
                 Cisco FTD: Disable TCP Sequence Randomization",
};

const WINDOW_SCALE: Knowledge = Knowledge {
    mechanism: "The shift counts only if SYN and SYN-ACK both carry the option. A device that \
                removes or changes it on one leg leaves the ends, or an end and the tracker, with \
                different windows: the tracker takes 502 for 502 bytes where 64256 are meant, or a \
                sender fills a window that was never offered.",
    signature: "The first window after the SYN is a power of two smaller than that of the SYN \
                although nothing was negotiated; data beyond the window is acknowledged for several \
                round trips; or a sender stops at the unscaled window each time. From Linux 6.1 on \
                only flows with more than about 64 kB in flight are hit.",
    look_alikes: "SYN not captured (scaling unknown); acknowledgements missing in the capture, which \
                  makes a window look overrun.",
    remedy: "Have the device keep the option; SYN proxies must answer with the server's shift. \
             be_liberal=1 helps the tracker, never a sender that does not know the scale.",
    references: "RFC 7323, section 2; tcp_options() (nf_conntrack_proto_tcp.c)",
};

const OVERRUN: Knowledge = Knowledge {
    mechanism: "WAN optimisers and some stacks send more than the receiver offered. Kernels before \
                6.1 call it INVALID and then refuse the acknowledgements of it as well; later ones \
                tolerate up to one window.",
    signature: "Segments end beyond every window offered, by a bounded amount, now and then, and the \
                receiver acknowledges them.",
    look_alikes: "Acknowledgements missing in the capture; hidden window scaling (C03).",
    remedy: "A kernel from 6.1 on, or be_liberal=1.",
    references: "Linux commits cf97769c761a and 6e250dcbff1d",
};

const ONE_WAY: Knowledge = Knowledge {
    mechanism: "With asymmetric routes the tracker meets one direction: without the SYN-ACK the \
                entry stays in SYN_SENT and every further segment is INVALID; without the SYN the \
                SYN-ACK is INVALID and the rest is picked up mid-stream.",
    signature: "Some flows have packets one way only and go on, while others at the same point have \
                both.",
    look_alikes: "A capture of one direction: a mirror port, a filter on the source, one link of a \
                  bond. Then every flow misses its other half and nothing can be judged.",
    remedy: "Mend the routing, share state with conntrackd, or leave these hosts untracked. \
             be_liberal=1 does not help: it is the state, not the window.",
    references: "tcp_conntracks (nf_conntrack_proto_tcp.c)",
};

const REFUSED_RESET: Knowledge = Knowledge {
    mechanism: "A RST below the highest acknowledgement of the other side is INVALID, with \
                be_liberal=1 as well. Where rules drop INVALID the other end never learns that the \
                connection is gone and keeps sending.",
    signature: "rst_invalid, and the receiver of the RST goes on sending or sends again.",
    look_alikes: "A late RST of a connection that is over anyway: harmless.",
    remedy: "nf_conntrack_tcp_ignore_invalid_rst=1 (Linux 5.14 and later), or repair what sends \
             resets with old numbers.",
    references: "RFC 5961, section 3; nf_conntrack_tcp_ignore_invalid_rst \
                 (nf_conntrack-sysctl.rst)",
};

const MID_STREAM: Knowledge = Knowledge {
    mechanism: "With nf_conntrack_tcp_loose=1 the tracker picks up a flow whose SYN it did not see, \
                and judges its windows liberally for its whole life. A capture that begins later \
                than the tracker cannot show what the tracker knew.",
    signature: "No SYN in the capture.",
    look_alikes: "A reload or fail-over of the firewall itself, after which it has no entries.",
    remedy: "Capture again, and have the connections opened anew while it runs.",
    references: "nf_conntrack_tcp_loose (nf_conntrack-sysctl.rst)",
};

const NOT_THE_FIREWALL: Knowledge = Knowledge {
    mechanism: "A receiver that does not read shuts its window, an application pauses, a path loses \
                packets and TCP repairs it. No tracker has a part in it.",
    signature: "Zero windows before the stall, or retransmissions that are answered, and no INVALID \
                packet in these connections.",
    look_alikes: "A firewall that drops by a rule other than ct state invalid.",
    remedy: "Look at the reading application, or at the lossy link. Neither be_liberal nor another \
             kernel changes anything.",
    references: "RFC 9293, section 3.8.6; RFC 6298",
};

const CAPTURE_LOSS: Knowledge = Knowledge {
    mechanism: "The capture misses frames that passed. An acknowledgement of data that is not in the \
                capture looks INVALID here (ACK over), and since refused packets move no bound, one \
                lost frame may make a whole connection look INVALID.",
    signature: "INVALID packets follow bytes that were acknowledged and never captured, and later \
                packets prove that they were processed, or nothing proves a drop.",
    look_alikes: "Hardware offload, which hides data from tracker and capture alike; loss before \
                  the capture point, after which the data comes again.",
    remedy: "Capture again with a larger buffer (tcpdump -B 65536), a snap length of 128, and a \
             filter, on a host that keeps up.",
    references: "pcapng isb_ifdrop, isb_osdrop; pcap_stats(3)",
};
