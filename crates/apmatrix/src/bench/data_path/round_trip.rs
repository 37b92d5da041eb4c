//! NQAP, reply, DQAP of a request that needs no cryptography, between two processes; beside a round trip
//! over the channel's socket.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions};

use super::Sizes;
use super::embedded::{daemon, request, uuid};
use crate::bench::rounds::{Rounds, median};
use crate::bench::scoreboard::Scoreboard;

/// To a round trip over the socket.
const RATIO: f64 = 0.1;
/// The median, where both processes have a core.
const MICROSECONDS: f64 = 3.0;

/// What is measured here.
pub(super) const ROWS: &[&str] = &[
    "socket round trip (TAPQ), two processes",
    "NQAP to DQAP without cryptography, two processes",
    "NQAP to DQAP to socket round trip",
];
/// A type 50 request that is too short to be one: the card answers that at once.
const REFUSED: [u8; 8] = [0, 0x50, 0, 8, 0, 0, 0, 0];

/// Prints its rows.
pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let daemon = daemon(2, 1)?;
    for number in [0u8, 1] {
        daemon.mdev(&uuid(number.into()), &[number], &[0])?;
    }
    let open = |number: usize, options| {
        let socket = daemon.socket(&uuid(number));
        Client::connect(&socket, request(number)?, options).context("a client cannot open")
    };
    let mut plain = open(0, socket_only())?;
    let mut client = open(1, ClientOptions::default())?;
    ensure!(
        client.uses_rings() && !plain.uses_rings(),
        "one client goes through rings, the other through its socket"
    );
    let mut rounds = Rounds::default();
    for _ in 0..sizes.rounds {
        rounds.add([
            socket_round_trip(&mut plain, sizes.requests)?,
            request_to_reply(&mut client, sizes.through_ring)?,
        ]);
    }
    let [socket, reply] = rounds.medians();
    let [socket_row, reply_row, ratio_row] = [0, 1, 2].map(|at| ROWS[at]);
    board.report(socket_row, socket, "us")?;
    board.judge(reply_row, reply, "us", MICROSECONDS)?;
    let ratio = rounds.of(|[socket, reply]| reply / socket);
    board.judge(ratio_row, ratio, "x", RATIO)
}

/// How a client is told to use the socket for everything.
fn socket_only() -> ClientOptions {
    ClientOptions {
        rings: false,
        ..ClientOptions::default()
    }
}

/// The median of so many round trips, in microseconds.
fn socket_round_trip(client: &mut Client, count: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let (status, _) = client.tapq(Apqn::new(0, 0), false);
        times.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(status.code == ResponseCode::NORMAL, "TAPQ: {status:?}");
    }
    Ok(median(times))
}

/// The median of so many requests, in microseconds: from NQAP until DQAP has brought the reply.
fn request_to_reply(client: &mut Client, count: usize) -> Result<f64> {
    let (apqn, mut buffer) = (Apqn::new(1, 0), [0; 1024]);
    let mut times = Vec::with_capacity(count);
    for psmid in (0..).take(count) {
        let start = Instant::now();
        let status = client.nqap(apqn, psmid, false, &REFUSED);
        ensure!(status.code == ResponseCode::NORMAL, "NQAP: {status:?}");
        let psmid_back = loop {
            let dequeued = client.dqap(apqn, &mut buffer);
            if dequeued.stored > 0 {
                break dequeued.psmid;
            }
            let code = dequeued.status.code;
            ensure!(code == ResponseCode::FULL_OR_NO_REPLY, "DQAP: {code:?}");
        };
        times.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(psmid == psmid_back, "the reply to another request");
    }
    Ok(median(times))
}
