//! What the daemon's memory grows by for each guest that has a device open.

use anyhow::{Context, Result, ensure};
use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions};

use super::Sizes;
use super::embedded::{daemon, request, uuid};
use crate::bench::scoreboard::Scoreboard;

/// MiB of a guest that does nothing.
const IDLE: f64 = 1.0;
/// MiB of a guest whose queues are full of the longest messages.
const FULL: f64 = 8.0;
/// Queues of each guest.
const QUEUES: u8 = 8;
/// Requests after which a queue must be full.
const ENOUGH: u64 = 1_000;

/// What is measured here.
pub(super) const ROWS: &[&str] = &[
    "daemon's memory for a guest with 8 queues, idle",
    "daemon's memory for a guest with 8 queues, full",
];

/// Prints its rows.
pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let domains = u8::try_from(sizes.guests)?;
    let daemon = daemon(QUEUES, domains)?;
    let adapters: Vec<u8> = (0..QUEUES).collect();
    for domain in 0..domains {
        daemon.mdev(&uuid(domain.into()), &adapters, &[domain])?;
    }
    // What it shares with others it has anyway.
    let memory = || daemon.memory("smaps_rollup", "Pss:");
    let before = memory()?;
    let mut clients = Vec::new();
    for domain in 0..domains {
        let socket = daemon.socket(&uuid(domain.into()));
        let client = Client::connect(&socket, request(domain.into())?, ClientOptions::default());
        clients.push((domain, client.context("a guest cannot open its device")?));
    }
    let idle = memory()?;
    for (domain, client) in &mut clients {
        for adapter in 0..QUEUES {
            fill(client, Apqn::new(adapter, *domain))?;
        }
    }
    let full = memory()?;
    let guests = f64::from(domains);
    board.judge(ROWS[0], (idle - before) / guests, "MiB", IDLE)?;
    board.judge(ROWS[1], (full - before) / guests, "MiB", FULL)
}

/// Enqueues the longest messages, which are no requests, and reads no reply, until the queue takes no more.
fn fill(client: &mut Client, apqn: Apqn) -> Result<()> {
    let (_, info) = client.tapq(apqn, true);
    let message = vec![0xff; info.max_message_size()];
    for psmid in 0..ENOUGH {
        let code = client.nqap(apqn, psmid, false, &message).code;
        if code == ResponseCode::FULL_OR_NO_REPLY {
            return Ok(());
        }
        ensure!(code == ResponseCode::NORMAL, "NQAP: {code:?}");
    }
    anyhow::bail!("{apqn} took {ENOUGH} requests without being full")
}
