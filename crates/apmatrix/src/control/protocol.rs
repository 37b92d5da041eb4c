//! Requests and responses of the control socket.

use serde::{Deserialize, Serialize};

/// What a client asks. `SPEC` and the terms are those of the transcripts (`card 3 14 A; dom 6`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Show the partition's hardware.
    Show,
    /// Replace the whole hardware configuration.
    Set {
        /// The new configuration.
        spec: String,
    },
    /// Plug an adapter in.
    AddAdapter {
        /// Adapter number.
        id: u8,
        /// AP type, 10 (CEX4) to 14 (CEX8).
        ap_type: u8,
        /// Mode letter: A, C or P.
        mode: char,
    },
    /// Take an adapter out.
    RemoveAdapter {
        /// Adapter number.
        id: u8,
    },
    /// Give the partition a usage domain, which is then also a control domain.
    AddDomain {
        /// Domain number.
        domain: u8,
    },
    /// Take a usage and control domain away.
    RemoveDomain {
        /// Domain number.
        domain: u8,
    },
    /// Configure an adapter.
    Configure {
        /// Adapter number.
        id: u8,
    },
    /// Deconfigure an adapter.
    Deconfigure {
        /// Adapter number.
        id: u8,
    },
    /// Check-stop an adapter.
    Checkstop {
        /// Adapter number.
        id: u8,
    },
    /// End an adapter's check-stop.
    Recover {
        /// Adapter number.
        id: u8,
    },
    /// Make a fault active.
    Inject {
        /// The order, as `machine::faults::Order` reads it: `05.0004 rc nqap 01 once`.
        order: String,
    },
    /// The faults that are not over.
    Faults,
    /// End faults.
    ClearFaults {
        /// A fault's number, a queue as `05.0004`, or `all`.
        which: String,
    },
    /// Record a mediated device on this connection, until the client shuts its sending half.
    Record {
        /// The device.
        mdev: String,
        /// With operands, keys and results.
        secrets: bool,
    },
    /// Boot the partition anew.
    Ipl,
    /// The last refusals, oldest first.
    Log,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Done, and there is nothing to tell.
    Done,
    /// The hardware.
    Hardware(ConsoleView),
    /// The log.
    Log(Vec<Refusal>),
    /// The fault is active, under this number.
    Injected(u64),
    /// The faults that are not over, by queue and age.
    Faults(Vec<FaultView>),
    /// What follows on this connection are the bytes of a recording (`docs/record.md`).
    Recording,
    /// Not done, for this reason.
    Refused(String),
}

/// The partition's hardware as the console shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleView {
    /// The configuration as a `SPEC` that `set` accepts.
    pub spec: String,
    /// Adapters in ascending order.
    pub adapters: Vec<AdapterView>,
    /// Usage domains.
    pub usage_domains: Vec<u8>,
    /// Control domains.
    pub control_domains: Vec<u8>,
    /// Requests that reached a card, per queue that had any.
    pub requests: Vec<CardCount>,
}

/// One adapter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AdapterView {
    /// Adapter number.
    pub id: u8,
    /// Type and mode, as in `CEX8A`.
    pub name: String,
    /// `configured`, `deconfigured` or `checkstopped`.
    pub state: String,
}

/// How many requests of a queue reached its card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CardCount {
    /// The queue, as `05.00ab`.
    pub queue: String,
    /// Requests since the queue exists.
    pub count: u64,
}

/// One fault that is not over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultView {
    /// Its number.
    pub id: u64,
    /// Queue, fault and what remains of its limits, as an order.
    pub order: String,
    /// How often it has hit.
    pub hits: u64,
}

/// Something that the administrator asked for and did not get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Counts up by one for every refusal of this daemon.
    pub number: u64,
    /// Seconds since the epoch.
    pub time: u64,
    /// What was asked: an attribute's path below the tree, or a console verb.
    pub what: String,
    /// The text that was written, if any (shortened).
    pub text: String,
    /// The error's name, as in `EADDRINUSE`.
    pub errno: String,
    /// Why, with the facts.
    pub reason: String,
    /// Who wrote, where that is known: the hardware console and a VMM's open have no writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,
}

/// The process that wrote to an attribute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Writer {
    /// Its number, as the daemon sees it; 0 for a process of a namespace that the daemon cannot see.
    pub pid: u32,
    /// Its user, as the daemon sees it.
    pub uid: u32,
    /// Its name (`/proc/PID/comm`) when it was refused; empty when that could not be read.
    pub command: String,
}
