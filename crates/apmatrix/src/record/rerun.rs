//! A recording again: its requests through an embedded guest's channel against a fresh machine.
//!
//! Requests are sent one at a time, each to the queue that it was recorded for, and the reply to each is
//! compared byte by byte with the recorded one. Of TAPQ and QCI the outcome is compared; resets are
//! executed. DQAPs that found nothing depend on timing alone and are left out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use arch::{ApInstructions, Apqn, Instruction, Outcome, ResponseCode};

use super::event::Event;
use super::read::Recording;

/// The longest wait for one reply.
const REPLY_TIME: Duration = Duration::from_secs(30);
/// The longest reply that is read at once.
const BUFFER: usize = 16 * 1024;

/// Something that was otherwise than recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    /// The number of the event, from 1.
    pub(crate) event: usize,
    /// What was otherwise.
    pub(crate) what: String,
}

/// Sends the recorded requests over `channel`; returns how many were compared, and the differences.
///
/// # Errors
/// The recording has no secrets, or the machine does not answer.
pub(crate) fn rerun<C: ApInstructions>(
    recording: &Recording<'_>,
    channel: &mut C,
) -> Result<(usize, Vec<Difference>)> {
    ensure!(
        recording.has_secrets,
        "the recording has no messages to send: record with --secrets"
    );
    let mut replies = replies(&recording.events);
    let (mut compared, mut differences) = (0, Vec::new());
    for (number, event) in (1..).zip(&recording.events) {
        let mut note = |what: String| {
            differences.push(Difference {
                event: number,
                what,
            });
        };
        match event.instruction {
            Instruction::Nqap {
                apqn,
                psmid,
                message,
                special,
            } => {
                let status = channel.nqap(apqn, psmid, special, message);
                let recorded = event.outcome.status().map(|status| status.code);
                if recorded != Some(ResponseCode::NORMAL) {
                    // A full queue, a fault, an adapter that was away: nothing to compare. What the
                    // fresh machine has accepted instead is read away.
                    if status.code == ResponseCode::NORMAL {
                        reply(channel, apqn)?;
                    }
                    continue;
                }
                compared += 1;
                if status.code != ResponseCode::NORMAL {
                    note(format!("NQAP {apqn}: rc {} instead of 00", status.code));
                    continue;
                }
                let (answered, fresh) = reply(channel, apqn)?;
                let recorded = replies
                    .get_mut(&(apqn, psmid))
                    .and_then(VecDeque::pop_front);
                match recorded {
                    _ if answered != psmid => note(format!(
                        "{apqn}: a reply to {answered:016x} instead of {psmid:016x}"
                    )),
                    Some(recorded) if recorded != fresh => note(format!(
                        "{apqn} psmid {psmid:016x}: another reply than the recorded one of {} bytes",
                        recorded.len()
                    )),
                    // Without a recorded reply the recording ended first, or a reset took it.
                    _ => {}
                }
            }
            Instruction::Tapq { .. } | Instruction::Qci => {
                let fresh = channel.execute(&event.instruction, &mut []);
                compared += 1;
                if let Some(what) = differs(&event.outcome, &fresh) {
                    let name = super::dissect::name(&event.instruction);
                    note(format!("{name}: {what}"));
                }
            }
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                channel.execute(&event.instruction, &mut []);
            }
            Instruction::Aqic { .. } | Instruction::Qact { .. } | Instruction::Dqap { .. } => {}
        }
    }
    Ok((compared, differences))
}

/// The recorded replies by queue and message identifier, partial ones put together.
fn replies(events: &[Event<'_>]) -> BTreeMap<(Apqn, u64), VecDeque<Vec<u8>>> {
    let mut whole: BTreeMap<(Apqn, u64), VecDeque<Vec<u8>>> = BTreeMap::new();
    let mut parts: BTreeMap<Apqn, Vec<u8>> = BTreeMap::new();
    for event in events {
        let (Instruction::Dqap { apqn }, Outcome::Dqap(dequeued)) =
            (&event.instruction, &event.outcome)
        else {
            continue;
        };
        if dequeued.status.code != ResponseCode::NORMAL {
            continue;
        }
        let mut reply = parts.remove(apqn).unwrap_or_default();
        reply.extend(event.reply);
        if dequeued.residual > 0 {
            parts.insert(*apqn, reply);
        } else {
            whole
                .entry((*apqn, dequeued.psmid))
                .or_default()
                .push_back(reply);
        }
    }
    whole
}

/// Waits for the reply to the only request of a queue.
fn reply<C: ApInstructions>(channel: &mut C, apqn: Apqn) -> Result<(u64, Vec<u8>)> {
    let start = Instant::now();
    let mut buffer = vec![0; BUFFER];
    loop {
        let dequeued = channel.dqap(apqn, &mut buffer);
        match dequeued.status.code {
            ResponseCode::NORMAL => {
                let reply = buffer.get(..dequeued.stored).context("a reply too long")?;
                return Ok((dequeued.psmid, reply.to_vec()));
            }
            ResponseCode::FULL_OR_NO_REPLY if start.elapsed() < REPLY_TIME => {
                std::thread::yield_now();
            }
            code => bail!("no reply from {apqn}: rc {code}"),
        }
    }
}

/// How an outcome differs from the recorded one, in what does not depend on what the queue holds.
fn differs(recorded: &Outcome, fresh: &Outcome) -> Option<String> {
    match (recorded, fresh) {
        (
            Outcome::Tapq {
                status: was,
                info: had,
            },
            Outcome::Tapq { status, info },
        ) if was.code != status.code || had != info => Some(format!(
            "rc {} gr2 {:016x} instead of rc {} gr2 {:016x}",
            status.code, info.0, was.code, had.0
        )),
        (Outcome::Qci(was), Outcome::Qci(block)) if was != block => {
            Some(format!("{block:?} instead of {was:?}"))
        }
        (Outcome::Tapq { .. }, Outcome::Tapq { .. }) | (Outcome::Qci(_), Outcome::Qci(_)) => None,
        (was, is) if was == is => None,
        (_, _) => Some("an outcome of another kind".to_owned()),
    }
}
