//! One AP queue as a state machine, without the lock around it.
//!
//! ```text
//!              +-- RAPQ, ZAPQ, plug(guest), unplug --+
//!              v                                     |
//!   new --> +-------------------------------------------+
//!           |                 operating                 |
//!           +-------------------------------------------+
//!              |           ^            |           ^
//!   deconfigure|           |configure   |checkstop  |recover
//!              v           |            v           |
//!           +----------------+        +----------------+
//!           |  deconfigured  |        |  checkstopped  |
//!           |     rc 03      |        |     rc 04      |
//!           +----------------+        +----------------+
//!
//!   any of them -- adapter or domain removed, adapter replaced --> gone, rc 01 for ever
//! ```
//! Every edge drops the contents (requests, running jobs, replies, the read position, the interrupt
//! enablement), erases them and begins a new *generation*. Faults ([`crate::faults`]) stand beside this
//! machine and answer in its place; a reset that takes time is a condition beside these, see
//! [`crate::slow`]. Hardware that returns after it was gone has new queues.
//!
//! ```text
//!   NQAP --> requests --> running (an engine has it) --> replies --> DQAP
//!                 \___________ one generation ____________/
//! ```
//! A request holds its place in the queue until its reply was read completely, so that the depth
//! bounds what a queue can hold. A job whose generation has passed is an orphan: its reply is erased
//! when the engine brings it. With a port ([`crate::port`]) requests and replies are in the guest's
//! memory instead, and move here when the port is closed. Several engines may serve one queue; replies then stand in the order in
//! which they were finished.

mod faulted;
mod ported;

use std::collections::VecDeque;

use arch::contents::deliver;
use arch::instruction::Dequeued;
use arch::{
    ApType, AqicControl, Contents, HwInfo, Instruction, Outcome, QueueStatus, ResponseCode,
};

use cex::keys::KeyCache;

use crate::GuestId;
use crate::message::{MessageBuffer, Pool};
use crate::port::Port;
use crate::slow::{Slow, SlowReset};
use ported::Ported;

/// Who executes an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Requester {
    Host,
    Guest(GuestId),
}

/// What the hardware says about a queue, apart from its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    Operating,
    Deconfigured,
    Checkstopped,
    Gone,
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
    /// It came through the port.
    ported: bool,
    buffer: MessageBuffer,
}

impl Held {
    /// As one that the queue has from now on.
    fn into_own(self) -> Self {
        Self {
            ported: false,
            ..self
        }
    }
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

    /// Replaces the request, erased, by its reply.
    pub(crate) fn answer(&mut self, reply: &[u8]) {
        self.held.buffer.fill(reply);
    }
}

/// What became of the reply that an engine brought.
#[derive(Debug)]
pub(crate) enum Finished {
    Replied {
        guest: Option<GuestId>,
        interrupts: Option<Interrupts>,
        in_port: bool,
        more: bool,
    },
    Orphaned {
        more: bool,
    },
}

/// The state of one queue.
#[derive(Debug)]
pub(crate) struct State {
    /// What TAPQ says about the card; it decides depth and message limit.
    info: HwInfo,
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
    /// Prepared keys of the owner's requests.
    keys: KeyCache,
    interrupts: Option<Interrupts>,
    slow: Slow,
    ported: Ported,
}

impl State {
    pub(crate) fn new(info: HwInfo, condition: Condition) -> Self {
        let depth = info.depth();
        Self {
            info,
            condition,
            guest: None,
            generation: 0,
            depth,
            requests: VecDeque::new(),
            running: 0,
            replies: VecDeque::new(),
            read: 0,
            pool: Pool::new(depth, info.max_message_size()),
            keys: KeyCache::new(),
            interrupts: None,
            slow: Slow::default(),
            ported: Ported::default(),
        }
    }

    /// Executes an instruction that names this queue. `reply` is the buffer of DQAP.
    pub(crate) fn execute(
        &mut self,
        requester: Requester,
        instruction: &Instruction<'_>,
        reply: &mut [u8],
    ) -> Outcome {
        let moves = matches!(
            instruction,
            Instruction::Nqap { .. } | Instruction::Dqap { .. }
        );
        match requester {
            Requester::Guest(id) if self.guest != Some(id) => {
                return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE);
            }
            // The guest is out of its port while it executes.
            Requester::Guest(_) if moves || self.ported.is_closing() => self.absorb(),
            Requester::Host if moves => self.ported.begin_closing(),
            Requester::Guest(_) | Requester::Host => {}
        }
        let outcome = self.execute_here(instruction, reply);
        self.settle();
        outcome
    }

    fn execute_here(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        let code = match self.condition {
            Condition::Operating => ResponseCode::NORMAL,
            Condition::Deconfigured => ResponseCode::DECONFIGURED,
            Condition::Checkstopped => ResponseCode::CHECKSTOPPED,
            Condition::Gone => {
                return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE);
            }
        };
        if code != ResponseCode::NORMAL {
            return match instruction {
                Instruction::Tapq { .. } => self.tapq(code),
                other => Outcome::status_only(other, self.status(code)),
            };
        }
        if let Some(code) = self.slow.answer(instruction) {
            return match instruction {
                Instruction::Tapq { .. } => self.tapq(code),
                other => Outcome::status_only(other, self.status(code)),
            };
        }
        match *instruction {
            Instruction::Tapq { .. } => self.tapq(code),
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                self.drop_contents();
                let code = self.slow.begin().unwrap_or(code);
                Outcome::Status(self.status(code))
            }
            Instruction::Aqic { control, nib, .. } => Outcome::Status(self.aqic(control, nib)),
            Instruction::Qact { info, .. } => Outcome::Qact {
                status: self.status(code),
                info: compatible_type(info, self.info.ap_type()),
            },
            Instruction::Nqap {
                psmid,
                special,
                message,
                ..
            } => Outcome::Status(self.nqap(psmid, special, message)),
            Instruction::Dqap { .. } => Outcome::Dqap(self.dqap(reply)),
            // QCI names no queue and never comes here.
            Instruction::Qci => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        }
    }

    fn tapq(&self, code: ResponseCode) -> Outcome {
        Outcome::Tapq {
            status: self.status(code),
            info: self.info,
        }
    }

    /// Gives the queue to a guest, empty, with a port if there is one.
    pub(crate) fn plug(&mut self, guest: GuestId, port: Option<Box<dyn Port>>) {
        self.drop_contents();
        self.guest = Some(guest);
        self.connect(port);
    }

    /// Takes the queue from its guest. When this returns, no request of the guest reaches the card
    /// any more and no reply reaches the guest.
    pub(crate) fn unplug(&mut self) {
        self.drop_contents();
        self.pool.release();
        self.guest = None;
        self.connect(None);
    }

    /// Follows the hardware. The contents are lost on every change, and the guest too when the queue
    /// is gone.
    pub(crate) fn set_condition(&mut self, condition: Condition) {
        if self.condition == condition {
            return;
        }
        self.condition = condition;
        self.slow.end();
        self.drop_contents();
        if condition == Condition::Gone {
            self.pool.release();
            self.guest = None;
            self.connect(None);
        }
        self.settle();
    }

    pub(crate) const fn slow_resets(&mut self, order: Option<SlowReset>) {
        self.slow.order(order);
    }

    /// Ends a reset that takes time; whether there was one.
    pub(crate) fn end_reset(&mut self) -> bool {
        let running = self.slow.is_running();
        self.slow.end();
        self.settle();
        running
    }

    /// Takes the next request for an engine.
    pub(crate) fn take(&mut self) -> Option<Job> {
        let held = match self.requests.pop_front() {
            Some(held) => held,
            None => self.take_from_port()?,
        };
        self.running += 1;
        self.ported.running += usize::from(held.ported);
        Some(Job {
            held,
            generation: self.generation,
        })
    }

    /// Takes a job back that has its answer. An orphan's answer is erased.
    pub(crate) fn finish(&mut self, job: Job) -> Finished {
        if self.generation != job.generation {
            let more = self.load().waiting > 0;
            return Finished::Orphaned { more };
        }
        self.running -= 1;
        let in_port = self.reply(job.held);
        Finished::Replied {
            guest: self.guest,
            interrupts: self.interrupts,
            in_port,
            more: self.load().waiting > 0,
        }
    }

    /// The keys that a job may use and add to. An orphan has none: they are another owner's by now.
    pub(crate) fn keys_of(&mut self, job: &Job) -> Option<&mut KeyCache> {
        (self.generation == job.generation).then_some(&mut self.keys)
    }

    /// Puts a reply where its request came from; what is too long for a port goes into the queue, to
    /// which the guest is sent. Whether it is in the port.
    fn reply(&mut self, held: Held) -> bool {
        let own_come_first = !self.replies.is_empty();
        if held.ported
            && let Some(port) = self.ported.in_use()
        {
            let posted = !own_come_first && port.post(held.psmid, held.buffer.bytes());
            self.ported.running -= 1;
            if posted {
                self.pool.give_back(held.buffer);
                return true;
            }
            self.ported.begin_closing();
        }
        push(&mut self.replies, self.depth, held.into_own());
        false
    }

    pub(crate) const fn guest(&self) -> Option<GuestId> {
        self.guest
    }

    pub(crate) const fn interrupts(&self) -> Option<Interrupts> {
        self.interrupts
    }

    /// As AQIC does it.
    pub(crate) fn disable_interrupts(&mut self) {
        self.interrupts = None;
        self.ported.set_interrupts(false);
    }

    pub(crate) fn load(&self) -> QueueLoad {
        let port = self.ported.load(self.depth);
        QueueLoad {
            waiting: self.requests.len() + port.waiting,
            running: self.running,
            replies: self.replies.len() + port.replies,
        }
    }

    fn contents(&self) -> Contents {
        let load = self.load();
        Contents {
            held: load.waiting + load.running + load.replies,
            replies: load.replies,
            interrupts: self.interrupts.is_some(),
        }
    }

    fn held(&self) -> usize {
        self.contents().held
    }

    /// The status word as the queue stands now (card spec 1.1).
    fn status(&self, code: ResponseCode) -> QueueStatus {
        self.contents().status(self.info, code)
    }

    /// Forgets everything that was enqueued, erased, and begins a new generation. Running jobs become
    /// orphans; their engines are not waited for.
    fn drop_contents(&mut self) {
        self.generation += 1;
        self.running = 0;
        self.read = 0;
        self.interrupts = None;
        self.keys.wipe();
        for held in self.requests.drain(..).chain(self.replies.drain(..)) {
            self.pool.give_back(held.buffer);
        }
        self.ported.close();
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
        self.ported.set_interrupts(self.interrupts.is_some());
        self.status(code)
    }

    fn nqap(&mut self, psmid: u64, special: bool, message: &[u8]) -> QueueStatus {
        let code = self.contents().admits(self.info, message.len());
        if code != ResponseCode::NORMAL {
            return self.status(code);
        }
        let buffer = self.pool.take(message);
        let held = Held {
            psmid,
            special,
            ported: false,
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
        let bytes = reply.buffer.bytes();
        let (stored, residual) = deliver(bytes.len(), self.read, buffer.len());
        buffer[..stored].copy_from_slice(&bytes[self.read..self.read + stored]);
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

/// GR2 of QACT: `info` with the compatible type in bits 31..24, which is the card's own type.
fn compatible_type(info: u64, ap_type: ApType) -> u64 {
    info & !0xff00_0000 | u64::from(ap_type.0) << 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::{Apqn, CardMode};
    use cex::Card;

    const GUEST: GuestId = GuestId(1);

    fn state() -> State {
        let card = Card::new(ApType::CEX8, CardMode::Accelerator);
        let mut state = State::new(card.hw_info(), Condition::Operating);
        state.plug(GUEST, None);
        state
    }

    fn reset(state: &mut State) {
        let apqn = Apqn::new(0, 0);
        state.execute(
            Requester::Host,
            &Instruction::Zapq { apqn, force: false },
            &mut [],
        );
    }

    #[test]
    fn running_jobs_are_orphaned_and_never_counted_twice() {
        let ends: [fn(&mut State); 5] = [
            reset,
            State::unplug,
            |state| state.plug(GuestId(2), None),
            |state| state.set_condition(Condition::Checkstopped),
            |state| state.set_condition(Condition::Gone),
        ];
        for end in ends {
            let mut state = state();
            state.nqap(1, false, b"one");
            state.nqap(2, false, b"two");
            let job = state.take().unwrap();
            assert_eq!(job.message(), b"one");
            assert_eq!(state.status(ResponseCode::NORMAL).to_gr1(), 0, "running");
            end(&mut state);
            assert_eq!(state.held(), 0);
            state.nqap(3, false, b"three");
            let finished = state.finish(job);
            assert!(matches!(finished, Finished::Orphaned { more: true }));
            let load = state.load();
            assert_eq!((load.waiting, load.running, load.replies), (1, 0, 0));
        }
    }

    /// Bytes that only the former owner's messages have.
    const MARK: [u8; 16] = *b"MARKED-BY-GUEST1";

    /// Whether anything that the queue holds, used or not, has the mark.
    fn is_marked(state: &State) -> bool {
        let held = state.requests.iter().chain(&state.replies);
        let buffers = held.map(|held| &held.buffer).chain(state.pool.all_unused());
        let mut memory = buffers.map(MessageBuffer::memory);
        memory.any(|bytes| bytes.windows(MARK.len()).any(|window| window == MARK))
    }

    #[test]
    fn nothing_of_the_old_owner_stays_in_any_buffer() {
        let ends: [fn(&mut State); 6] = [
            reset,
            |state| {
                state.slow_resets(Some(SlowReset {
                    code: ResponseCode::RESET_IN_PROGRESS,
                    lasts: crate::Lasts::UntilEnded,
                    resets: 1,
                }));
                reset(state);
            },
            State::unplug,
            |state| state.plug(GuestId(2), None),
            |state| state.set_condition(Condition::Deconfigured),
            |state| state.set_condition(Condition::Gone),
        ];
        let marked = MARK.repeat(100);
        for (number, end) in ends.into_iter().enumerate() {
            let mut state = state();
            for psmid in 0..4 {
                state.nqap(psmid, false, &marked);
            }
            // One request waits, one is with an engine, one is answered and read in part, one read.
            for _ in 0..2 {
                let mut job = state.take().unwrap();
                job.answer(&marked);
                state.finish(job);
            }
            let mut job = state.take().unwrap();
            state.dqap(&mut [0; 4096]);
            assert_eq!(state.dqap(&mut [0; 100]).residual, 1500);
            assert!(is_marked(&state), "the test sees the mark");
            end(&mut state);
            assert!(!is_marked(&state), "end {number}");
            // The engine brings what it has; the next owner's messages take the buffers.
            job.answer(&marked);
            state.finish(job);
            assert!(!is_marked(&state), "end {number}, after the orphan");
            state.end_reset();
            for psmid in 0..8 {
                state.nqap(psmid, false, b"next owner");
            }
            assert!(!is_marked(&state), "end {number}, with the next owner");
        }
    }

    #[test]
    fn a_reply_that_was_read_leaves_nothing() {
        let mut state = state();
        state.nqap(1, false, &MARK.repeat(100));
        let mut job = state.take().unwrap();
        assert!(!is_marked(&state), "the engine has it");
        job.answer(&MARK);
        state.finish(job);
        assert!(is_marked(&state));
        state.dqap(&mut [0; 100]);
        assert!(!is_marked(&state));
    }

    #[test]
    fn several_engines_may_serve_a_queue() {
        let mut state = state();
        for psmid in 1..=8 {
            state.nqap(psmid, false, b"message");
        }
        let jobs: Vec<Job> = (0..8).map(|_| state.take().unwrap()).collect();
        assert!(state.take().is_none());
        let full = state.nqap(9, false, b"message");
        assert_eq!(full.to_gr1(), 0x2010_0000);
        for mut job in jobs.into_iter().rev() {
            job.answer(b"reply");
            let finished = state.finish(job);
            let guest = Some(GUEST);
            assert!(matches!(finished, Finished::Replied { guest: g, .. } if g == guest));
        }
        let mut buffer = [0; 5];
        for psmid in (1..=8).rev() {
            assert_eq!(state.dqap(&mut buffer).psmid, psmid);
            assert_eq!(&buffer, b"reply");
        }
        assert_eq!(state.status(ResponseCode::NORMAL).to_gr1(), 0x8000_0000);
    }
}
