//! Adapter interruptions: what is due, and its delivery.
//!
//! ```text
//!   alert of the daemon --> due[queue] --> a CPU that is enabled for the ISC:
//!                                          bytes stored, I/O interruption with the ISC's word
//!   AQIC disable, RAPQ, ZAPQ, machine starts --> nothing of the queue is due any more
//! ```
//!
//! The bytes of all queues of one ISC are stored before the interruption that tells of them. A queue
//! interrupts once for each reply: hardware would make one interruption of several that come before a
//! CPU takes it, and need not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arch::status::StatusFlags;
use arch::{Apqn, Instruction, Outcome, QueueStatus, ResponseCode, gisa};
use device::Alert;

use crate::cpu::{Cpu, CpuError, Register};
use crate::psw::{Psw, Slot};

/// From the prefix on: subsystem id (0), parameter (0), interruption word.
const PARAMETERS: u64 = 0xb8;
/// What the notification byte becomes.
const NOTIFIED: u8 = 0xff;

/// The adapter interruptions of the guest.
#[derive(Debug, Default)]
pub(crate) struct Adapter {
    due: BTreeMap<Apqn, Due>,
    /// Since when the guest has not looked at an earlier interruption.
    unseen: Option<Instant>,
    /// Requests under way in queues that interrupt.
    outstanding: BTreeMap<Apqn, u32>,
}

/// What a queue has to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Due {
    isc: u8,
    nib: u64,
    times: u32,
}

/// Most interruptions of one queue that wait: more than replies that it can hold.
const MOST: u32 = 256;

/// How long an interruption waits for the guest to look at the one before.
const LONGEST_UNSEEN: Duration = Duration::from_secs(1);

/// An interruption that a CPU takes: its subclass and the bytes to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    isc: u8,
    entries: Vec<(Apqn, u64)>,
}

impl Taken {
    /// Stores the notification bytes.
    pub(crate) fn notify(&self, cpu: &mut impl Cpu) {
        self.store(cpu, NOTIFIED);
    }

    /// Clears them: the interruption does not come after all.
    pub(crate) fn take_back(&self, cpu: &mut impl Cpu) {
        self.store(cpu, 0);
    }

    fn store(&self, cpu: &mut impl Cpu, byte: u8) {
        for (_, nib) in &self.entries {
            // The daemon has judged the address; memory does not go away here.
            cpu.store_absolute(*nib, &[byte]);
        }
    }
}

impl Adapter {
    /// Whether what an instruction did is to be followed: most are not, and take no lock.
    pub(crate) fn concerns(instruction: &Instruction<'_>, outcome: &Outcome) -> bool {
        match instruction {
            Instruction::Tapq { .. } | Instruction::Qci | Instruction::Qact { .. } => false,
            Instruction::Nqap { .. } => outcome
                .status()
                .is_some_and(|status| status.flags.contains(StatusFlags::INTERRUPTS)),
            Instruction::Rapq { .. }
            | Instruction::Zapq { .. }
            | Instruction::Aqic { .. }
            | Instruction::Dqap { .. } => true,
        }
    }

    /// Follows what an instruction of the guest did.
    pub(crate) fn follow(&mut self, instruction: &Instruction<'_>, outcome: &Outcome) {
        let (Some(apqn), Some(status)) = (instruction.apqn(), outcome.status()) else {
            return;
        };
        let done = status.code == ResponseCode::NORMAL;
        match *instruction {
            Instruction::Aqic { control, .. } if done && !control.enables() => self.ends(apqn),
            // A reset that has begun has disabled interruptions already.
            Instruction::Rapq { .. } | Instruction::Zapq { .. }
                if done || status.code == ResponseCode::RESET_IN_PROGRESS =>
            {
                self.ends(apqn);
            }
            Instruction::Nqap { .. } if done && status.flags.contains(StatusFlags::INTERRUPTS) => {
                *self.outstanding.entry(apqn).or_default() += 1;
            }
            Instruction::Dqap { .. } => self.dequeued(apqn, status, outcome),
            _ => {}
        }
    }

    /// The queue interrupts no more.
    fn ends(&mut self, apqn: Apqn) {
        self.due.remove(&apqn);
        self.outstanding.remove(&apqn);
    }

    fn dequeued(&mut self, apqn: Apqn, status: QueueStatus, outcome: &Outcome) {
        let is_empty = status.flags.contains(StatusFlags::EMPTY);
        let is_whole = matches!(outcome, Outcome::Dqap(dequeued) if dequeued.residual == 0);
        let count = self.outstanding.get(&apqn).copied().unwrap_or(0);
        let left = match status.code {
            ResponseCode::NORMAL if !is_empty => count.saturating_sub(is_whole.into()),
            ResponseCode::FULL_OR_NO_REPLY if !is_empty => count,
            // Nothing is in the queue, or nothing that will be answered.
            _ => 0,
        };
        if left == 0 {
            self.outstanding.remove(&apqn);
        } else {
            self.outstanding.insert(apqn, left);
        }
    }

    /// The daemon says that a queue got a reply.
    pub(crate) fn alert(&mut self, alert: Alert) {
        self.tell(alert.apqn, alert.isc, alert.nib, alert.replies.max(1));
    }

    fn tell(&mut self, apqn: Apqn, isc: u8, nib: u64, more: u32) {
        let due = self.due.entry(apqn).or_insert(Due { isc, nib, times: 0 });
        (due.isc, due.nib) = (isc, nib);
        due.times = due.times.saturating_add(more).min(MOST);
    }

    /// The daemon was away: queues are reset, and no reply will come for what was sent.
    pub(crate) fn restored(&mut self) {
        self.outstanding.clear();
    }

    /// Whether an interruption is due.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether replies are to be expected.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Takes the interruption with the lowest subclass that `enabled`, control register 6, lets through.
    pub(crate) fn take(&mut self, enabled: u64) -> Option<Taken> {
        let mut pending = gisa::Gisa::default();
        for due in self.due.values() {
            pending.make_pending(due.isc);
        }
        let isc = pending.take(enabled)?;
        let mut entries = Vec::new();
        for (apqn, due) in self.due.iter_mut().filter(|(_, due)| due.isc == isc) {
            entries.push((*apqn, due.nib));
            due.times -= 1;
        }
        self.due.retain(|_, due| due.times != 0);
        Some(Taken { isc, entries })
    }

    /// Whether an interruption that was taken is to wait, because the guest has not cleared the byte of
    /// an earlier one: what clears it for that one would clear it for this one too, and on another CPU
    /// the interruption would then tell of nothing. A guest that never clears it does not wait for long.
    pub(crate) fn is_early(&mut self, cpu: &mut impl Cpu, taken: &Taken) -> bool {
        let is_set = |nib: u64| {
            let bytes = cpu.load_absolute(nib);
            bytes.is_some_and(|bytes| bytes[0] != 0)
        };
        let unseen = taken.entries.iter().map(|(_, nib)| *nib).any(is_set);
        let since = *self.unseen.get_or_insert_with(Instant::now);
        let early = unseen && since.elapsed() < LONGEST_UNSEEN;
        if !early {
            self.unseen = None;
        }
        early
    }

    /// An interruption that was taken could not be delivered.
    pub(crate) fn give_back(&mut self, taken: &Taken) {
        for (apqn, nib) in &taken.entries {
            self.tell(*apqn, taken.isc, *nib, 1);
        }
    }
}

/// Interrupts the program that has the PSW `old`; the bytes are stored already. Returns where the guest continues, or `None` when
/// the CPU cannot take the interruption.
pub(crate) fn deliver(
    cpu: &mut impl Cpu,
    taken: &Taken,
    old: Psw,
) -> Result<Option<u64>, CpuError> {
    let Some(new) = Slot::IO.new_psw(cpu)? else {
        return Ok(None);
    };
    let prefix = cpu.get(Register::Prefix)?;
    let mut parameters = [0; 12];
    parameters[8..].copy_from_slice(&gisa::interruption_word(taken.isc).to_be_bytes());
    if !(cpu.store_absolute(prefix + PARAMETERS, &parameters) && Slot::IO.store_old(cpu, old)?) {
        return Ok(None);
    }
    cpu.set(Register::PswMask, new.mask.0)?;
    Ok(Some(new.address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arch::AqicControl;
    use arch::instruction::Dequeued;

    const APQN: Apqn = Apqn::new(5, 4);
    const ISC_6: u64 = 0x0200_0000;

    fn status(code: ResponseCode, flags: StatusFlags) -> Outcome {
        Outcome::Status(QueueStatus::new(code, flags))
    }

    fn disable() -> Instruction<'static> {
        Instruction::Aqic {
            apqn: APQN,
            control: AqicControl::DISABLE,
            nib: 0,
        }
    }

    fn alert() -> Alert {
        Alert {
            apqn: APQN,
            isc: 6,
            nib: 0x1000,
            replies: 1,
        }
    }

    #[test]
    fn an_alert_is_taken_once_by_an_enabled_cpu() {
        let mut adapter = Adapter::default();
        adapter.alert(alert());
        assert_eq!(adapter.take(0), None);
        let taken = adapter.take(ISC_6).unwrap();
        assert_eq!(taken.entries, [(APQN, 0x1000)]);
        assert!(!adapter.is_due());
        adapter.give_back(&taken);
        assert_eq!(adapter.take(ISC_6), Some(taken));
    }

    #[test]
    fn what_disables_takes_back_what_is_due() {
        let apqn = APQN;
        let force = false;
        for end in [
            disable(),
            Instruction::Rapq { apqn, force },
            Instruction::Zapq { apqn, force },
        ] {
            let mut adapter = Adapter::default();
            adapter.alert(alert());
            adapter.follow(&end, &status(ResponseCode::NORMAL, StatusFlags::EMPTY));
            assert!(!adapter.is_due(), "{end:?}");
        }
    }

    #[test]
    fn replies_are_awaited_from_the_request_to_the_reply() {
        let mut adapter = Adapter::default();
        let nqap = Instruction::Nqap {
            apqn: APQN,
            psmid: 1,
            special: false,
            message: b"m",
        };
        let dqap = Instruction::Dqap { apqn: APQN };
        let accepted = status(ResponseCode::NORMAL, StatusFlags::INTERRUPTS);
        let dequeued = |code, flags, residual| {
            Outcome::Dqap(Dequeued {
                status: QueueStatus::new(code, flags),
                psmid: 1,
                stored: 1,
                residual,
            })
        };
        adapter.follow(&nqap, &accepted);
        adapter.follow(&nqap, &accepted);
        let none = dequeued(ResponseCode::FULL_OR_NO_REPLY, StatusFlags::empty(), 0);
        adapter.follow(&dqap, &none);
        assert!(adapter.is_awaited());
        adapter.follow(
            &dqap,
            &dequeued(ResponseCode::NORMAL, StatusFlags::empty(), 9),
        );
        adapter.follow(
            &dqap,
            &dequeued(ResponseCode::NORMAL, StatusFlags::empty(), 0),
        );
        assert!(adapter.is_awaited());
        adapter.follow(
            &dqap,
            &dequeued(ResponseCode::NORMAL, StatusFlags::EMPTY, 0),
        );
        assert!(!adapter.is_awaited());
        adapter.follow(&nqap, &accepted);
        adapter.follow(
            &dqap,
            &dequeued(ResponseCode::CHECKSTOPPED, StatusFlags::empty(), 0),
        );
        assert!(!adapter.is_awaited(), "a broken queue answers nothing");
        adapter.follow(&nqap, &status(ResponseCode::NORMAL, StatusFlags::empty()));
        assert!(!adapter.is_awaited(), "a queue without interruptions");
    }

    #[test]
    fn a_reset_that_has_begun_takes_back_what_is_due() {
        let (apqn, force) = (APQN, false);
        for (instruction, is_due) in [
            (Instruction::Rapq { apqn, force }, false),
            (Instruction::Zapq { apqn, force }, false),
            (disable(), true),
        ] {
            let mut adapter = Adapter::default();
            adapter.alert(alert());
            let begun = status(ResponseCode::RESET_IN_PROGRESS, StatusFlags::empty());
            adapter.follow(&instruction, &begun);
            assert_eq!(adapter.is_due(), is_due, "{instruction:?}");
        }
    }

    #[test]
    fn after_the_daemons_return_no_reply_is_awaited() {
        let mut adapter = Adapter::default();
        let nqap = Instruction::Nqap {
            apqn: APQN,
            psmid: 1,
            special: false,
            message: b"m",
        };
        adapter.follow(
            &nqap,
            &status(ResponseCode::NORMAL, StatusFlags::INTERRUPTS),
        );
        adapter.alert(alert());
        adapter.restored();
        assert!(!adapter.is_awaited() && adapter.is_due());
    }
}
