//! One AP queue: a state machine under its own lock.
//!
//! ```text
//!                          plug(guest) / unplug: contents dropped, generation + 1
//!                         +-------------------------------------------------+
//!                         v                                                 |
//!                  +-------------+  deconfigure   +--------------+          |
//!      new ------> |  operating  | -------------> | deconfigured |  rc 03   |
//!                  |             | <------------- +--------------+          |
//!                  |             |   configure                              |
//!                  |             |  checkstop     +--------------+          |
//!                  |             | -------------> | checkstopped |  rc 04   |
//!                  |             | <------------- +--------------+          |
//!                  +-------------+   recover                                |
//!                    |        |                                             |
//!                    |        +---- RAPQ, ZAPQ: contents dropped -----------+
//!                    | adapter or domain removed, adapter replaced
//!                    v
//!                  +------+
//!                  | gone |  rc 01 for ever; a returning adapter has new queues
//!                  +------+
//! ```
//! Every edge drops the contents (requests, running jobs, replies, the read position, the interrupt
//! enablement), erases them and begins a new *generation*. A reset that takes time, and faults, will
//! be conditions beside these three.
//!
//! ```text
//!   NQAP --> requests --> running (an engine has it) --> replies --> DQAP
//!                 \___________ one generation ____________/
//! ```
//! A request holds its place in the queue until its reply was read completely, so that the depth
//! bounds what a queue can hold. A job whose generation has passed is an orphan: its reply is erased
//! when the engine brings it. Several engines may serve one queue; replies then stand in the order in
//! which they were finished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arch::instruction::Dequeued;
use arch::status::StatusFlags;
use arch::{ApType, Apqn, AqicControl, HwInfo, Instruction, Outcome, QueueStatus, ResponseCode};
use cex::Card;

use crate::GuestId;
use crate::message::{MessageBuffer, Pool};
use crate::sync::lock;

/// What the hardware says about a queue, apart from its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    Operating,
    Deconfigured,
    Checkstopped,
    Gone,
}

/// Who executes an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Requester {
    Host,
    Guest(GuestId),
}

/// Where the adapter interruptions of a queue go, as PQAP(AQIC) said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Interrupts {
    /// Interruption subclass, 0..=7.
    pub isc: u8,
    /// Absolute address of the notification indicator byte, not zero.
    pub nib: u64,
}

/// What a queue holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueLoad {
    /// Requests that no engine has taken.
    pub waiting: usize,
    /// Requests that an engine works on.
    pub running: usize,
    /// Replies that were not read completely.
    pub replies: usize,
}

/// A message with the name that its sender gave it.
#[derive(Debug)]
struct Held {
    psmid: u64,
    special: bool,
    buffer: MessageBuffer,
}

/// A request on its way through an engine.
#[derive(Debug)]
pub(crate) struct Job {
    held: Held,
    generation: u64,
}

impl Job {
    pub(crate) fn special(&self) -> bool {
        self.held.special
    }

    pub(crate) fn message(&self) -> &[u8] {
        self.held.buffer.bytes()
    }
}

/// What became of the reply that an engine brought.
#[derive(Debug)]
pub(crate) enum Finished {
    Replied {
        guest: Option<GuestId>,
        interrupts: Option<Interrupts>,
        more: bool,
    },
    Orphaned {
        more: bool,
    },
}

/// One AP queue.
#[derive(Debug)]
pub(crate) struct Queue {
    apqn: Apqn,
    card: Card,
    /// Requests that reached the card; outlives the queue when the hardware changes.
    reached: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    condition: Condition,
    guest: Option<GuestId>,
    generation: u64,
    depth: usize,
    requests: VecDeque<Held>,
    running: usize,
    replies: VecDeque<Held>,
    /// Bytes of the first reply that DQAP has delivered already.
    read: usize,
    pool: Pool,
    interrupts: Option<Interrupts>,
}

impl Queue {
    pub(crate) fn new(
        apqn: Apqn,
        card: Card,
        condition: Condition,
        reached: Arc<AtomicU64>,
    ) -> Self {
        let info = card.hw_info();
        let depth = usize::from(info.qd()) + 1;
        Self {
            apqn,
            card,
            reached,
            state: Mutex::new(State {
                condition,
                guest: None,
                generation: 0,
                depth,
                requests: VecDeque::new(),
                running: 0,
                replies: VecDeque::new(),
                read: 0,
                pool: Pool::new(depth, info.max_message_size()),
                interrupts: None,
            }),
        }
    }

    pub(crate) const fn apqn(&self) -> Apqn {
        self.apqn
    }

    pub(crate) const fn card(&self) -> &Card {
        &self.card
    }

    /// Executes an instruction that names this queue. `reply` is the buffer of DQAP.
    pub(crate) fn execute(
        &self,
        requester: Requester,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Outcome {
        let mut state = lock(&self.state);
        if let Requester::Guest(id) = requester
            && state.guest != Some(id)
        {
            return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE);
        }
        let code = match state.condition {
            Condition::Operating => ResponseCode::NORMAL,
            Condition::Deconfigured => ResponseCode::DECONFIGURED,
            Condition::Checkstopped => ResponseCode::CHECKSTOPPED,
            Condition::Gone => {
                return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE);
            }
        };
        if code != ResponseCode::NORMAL {
            return match instruction {
                Instruction::Tapq { .. } => self.tapq(&state, code),
                other => with_status(other, state.status(code)),
            };
        }
        match *instruction {
            Instruction::Tapq { .. } => self.tapq(&state, code),
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                state.drop_contents();
                Outcome::Status(state.status(code))
            }
            Instruction::Aqic { control, nib, .. } => Outcome::Status(state.aqic(control, nib)),
            Instruction::Qact { info, .. } => Outcome::Qact {
                status: state.status(code),
                info: compatible_type(info, self.card.ap_type()),
            },
            Instruction::Nqap {
                psmid,
                special,
                message,
                ..
            } => {
                let max = self.card.hw_info().max_message_size();
                Outcome::Status(state.nqap(psmid, special, message, max))
            }
            Instruction::Dqap { .. } => Outcome::Dqap(state.dqap(reply)),
            // QCI names no queue and never comes here.
            Instruction::Qci => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        }
    }

    fn tapq(&self, state: &State, code: ResponseCode) -> Outcome {
        Outcome::Tapq {
            status: state.status(code),
            info: self.card.hw_info(),
        }
    }

    /// Gives the queue to a guest, empty.
    pub(crate) fn plug(&self, guest: GuestId) {
        let mut state = lock(&self.state);
        state.drop_contents();
        state.guest = Some(guest);
    }

    /// Takes the queue from its guest. When this returns, no request of the guest reaches the card
    /// any more and no reply reaches the guest.
    pub(crate) fn unplug(&self) {
        let mut state = lock(&self.state);
        state.drop_contents();
        state.pool.release();
        state.guest = None;
    }

    /// Follows the hardware. The contents are lost on every change, and the guest too when the queue
    /// is gone.
    pub(crate) fn set_condition(&self, condition: Condition) {
        let mut state = lock(&self.state);
        if state.condition == condition {
            return;
        }
        state.condition = condition;
        state.drop_contents();
        if condition == Condition::Gone {
            state.pool.release();
            state.guest = None;
        }
    }

    /// Takes the next request for an engine and counts it: from now on it has reached the card.
    pub(crate) fn take(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        let held = state.requests.pop_front()?;
        state.running += 1;
        // Under the lock, so that the count cannot rise after a revoke has returned.
        self.reached.fetch_add(1, Ordering::Relaxed);
        Some(Job {
            held,
            generation: state.generation,
        })
    }

    /// Brings the reply to a job.
    pub(crate) fn finish(&self, job: Job, reply: &[u8]) -> Finished {
        let Job {
            mut held,
            generation,
        } = job;
        // The request is erased before the lock is taken; so is the reply of an orphan, on drop.
        held.buffer.fill(reply);
        let mut state = lock(&self.state);
        let more = !state.requests.is_empty();
        if state.generation != generation {
            return Finished::Orphaned { more };
        }
        state.running -= 1;
        let depth = state.depth;
        push(&mut state.replies, depth, held);
        Finished::Replied {
            guest: state.guest,
            interrupts: state.interrupts,
            more,
        }
    }

    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn load(&self) -> QueueLoad {
        lock(&self.state).load()
    }

    pub(crate) fn guest(&self) -> Option<GuestId> {
        lock(&self.state).guest
    }

    pub(crate) fn interrupts(&self) -> Option<Interrupts> {
        lock(&self.state).interrupts
    }
}

impl State {
    fn load(&self) -> QueueLoad {
        QueueLoad {
            waiting: self.requests.len(),
            running: self.running,
            replies: self.replies.len(),
        }
    }

    fn held(&self) -> usize {
        self.requests.len() + self.running + self.replies.len()
    }

    /// The status word as the queue stands now (card spec 1.1).
    fn status(&self, code: ResponseCode) -> QueueStatus {
        let held = self.held();
        let mut flags = StatusFlags::empty();
        flags.set(StatusFlags::EMPTY, held == 0);
        flags.set(StatusFlags::REPLIES, !self.replies.is_empty());
        flags.set(StatusFlags::FULL, held >= self.depth);
        flags.set(StatusFlags::INTERRUPTS, self.interrupts.is_some());
        QueueStatus::new(code, flags)
    }

    /// Forgets everything that was enqueued, erased, and begins a new generation. Running jobs become
    /// orphans; their engines are not waited for.
    fn drop_contents(&mut self) {
        self.generation += 1;
        self.running = 0;
        self.read = 0;
        self.interrupts = None;
        for held in self.requests.drain(..).chain(self.replies.drain(..)) {
            self.pool.give_back(held.buffer);
        }
    }

    fn aqic(&mut self, control: AqicControl, nib: u64) -> QueueStatus {
        let code = match (control.enables(), self.interrupts) {
            (true, _) if nib == 0 => ResponseCode::INVALID_ADDRESS,
            (true, None) => {
                let isc = control.isc();
                self.interrupts = Some(Interrupts { isc, nib });
                ResponseCode::NORMAL
            }
            (false, Some(_)) => {
                self.interrupts = None;
                ResponseCode::NORMAL
            }
            (true, Some(_)) | (false, None) => ResponseCode::OTHERWISE_CHANGED,
        };
        self.status(code)
    }

    fn nqap(&mut self, psmid: u64, special: bool, message: &[u8], max: usize) -> QueueStatus {
        if message.len() > max {
            return self.status(ResponseCode::MESSAGE_TOO_BIG);
        }
        if self.held() >= self.depth {
            return self.status(ResponseCode::FULL_OR_NO_REPLY);
        }
        let buffer = self.pool.take(message);
        let held = Held {
            psmid,
            special,
            buffer,
        };
        push(&mut self.requests, self.depth, held);
        self.status(ResponseCode::NORMAL)
    }

    /// Delivers the first reply, or the part of it that fits: the rest waits for the next DQAP.
    fn dqap(&mut self, buffer: &mut [u8]) -> Dequeued {
        let Some(reply) = self.replies.front() else {
            return Dequeued::nothing(self.status(ResponseCode::FULL_OR_NO_REPLY));
        };
        let rest = &reply.buffer.bytes()[self.read..];
        let stored = rest.len().min(buffer.len());
        buffer[..stored].copy_from_slice(&rest[..stored]);
        let residual = rest.len() - stored;
        let mut psmid = 0;
        if residual == 0 {
            self.read = 0;
            if let Some(reply) = self.replies.pop_front() {
                psmid = reply.psmid;
                self.pool.give_back(reply.buffer);
            }
        } else {
            self.read += stored;
        }
        Dequeued {
            status: self.status(ResponseCode::NORMAL),
            psmid,
            stored,
            residual,
        }
    }
}

/// Appends to a list that never holds more than `depth`: its memory is taken once.
fn push(list: &mut VecDeque<Held>, depth: usize, held: Held) {
    list.reserve_exact(depth.saturating_sub(list.len()));
    list.push_back(held);
}

/// The answer of an instruction that only delivers a status.
fn with_status(instruction: &Instruction<'_>, status: QueueStatus) -> Outcome {
    match instruction {
        Instruction::Tapq { .. } => Outcome::Tapq {
            status,
            info: HwInfo(0),
        },
        Instruction::Qact { .. } => Outcome::Qact { status, info: 0 },
        Instruction::Dqap { .. } => Outcome::Dqap(Dequeued::nothing(status)),
        Instruction::Qci
        | Instruction::Rapq { .. }
        | Instruction::Zapq { .. }
        | Instruction::Aqic { .. }
        | Instruction::Nqap { .. } => Outcome::Status(status),
    }
}

/// GR2 of QACT: `info` with the compatible type in bits 31..24, which is the card's own type.
fn compatible_type(info: u64, ap_type: ApType) -> u64 {
    info & !0xff00_0000 | u64::from(ap_type.0) << 24
}
