//! Who executes instructions on a machine: the partition's host, or a guest under its APCB.

use std::ops::Deref;
use std::sync::Arc;

use arch::qci::{MAX_ADAPTER_WITHOUT_APXA, MAX_DOMAIN_WITHOUT_APXA};
use arch::{
    ApInstructions, Apid, Apqn, CardFacts, CardQueries, Facilities, Gisa, Instruction, MasterKeys,
    Outcome, ProgramException, QciBlock, QciFlags, ResponseCode,
};

use crate::guests::Guest;
use crate::state::{Interrupts, Requester};
use crate::sync::read;
use crate::{GuestId, Machine};

/// The host's CPU: the whole partition, no APCB. `M` is `&Machine` or `Arc<Machine>`.
#[derive(Clone, Debug)]
pub struct HostCpu<M: Deref<Target = Machine>> {
    machine: M,
}

impl<M: Deref<Target = Machine>> HostCpu<M> {
    pub(crate) const fn new(machine: M) -> Self {
        Self { machine }
    }
}

impl<M: Deref<Target = Machine>> ApInstructions for HostCpu<M> {
    fn facilities(&self) -> Facilities {
        self.machine.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        let machine = &*self.machine;
        let flags = machine.qci_flags();
        if let Some(exception) = suppressed(instruction, reply, machine.facilities(), flags) {
            return Outcome::Exception(exception);
        }
        let Some(apqn) = instruction.apqn() else {
            return Outcome::Qci(machine.host_qci());
        };
        let outcome = match machine.queue(apqn) {
            Some(queue) => queue.execute(Requester::Host, instruction, reply),
            None => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        };
        machine.ring_if_enqueued(instruction, &outcome);
        outcome
    }
}

impl<M: Deref<Target = Machine>> CardQueries for HostCpu<M> {
    fn card_facts(&mut self, apid: Apid) -> Option<CardFacts> {
        self.machine.answering_card(apid)?.facts(apid)
    }

    fn master_keys(&mut self, apqn: Apqn) -> Option<MasterKeys> {
        self.machine.queue(apqn)?;
        self.machine.answering_card(apqn.apid)?.master_keys()
    }
}

/// A guest's CPU: what the guest's APCB allows, and nothing else. Each virtual CPU has its own.
///
/// The CPU of a guest that is not attached, or not any more, finds no queue. `M` is `&Machine` or
/// `Arc<Machine>`.
#[derive(Clone, Debug)]
pub struct GuestCpu<M: Deref<Target = Machine>> {
    machine: M,
    guest: Arc<Guest>,
}

impl<M: Deref<Target = Machine>> GuestCpu<M> {
    pub(crate) const fn new(machine: M, guest: Arc<Guest>) -> Self {
        Self { machine, guest }
    }

    /// The guest.
    #[must_use]
    pub fn id(&self) -> GuestId {
        self.guest.id()
    }

    /// Where the interruptions of a queue go, if the guest has it and has enabled them.
    #[must_use]
    pub fn interrupts(&self, apqn: Apqn) -> Option<Interrupts> {
        let view = read(self.guest.view());
        view.plugged.get(&apqn)?.interrupts_of(self.guest.id())
    }

    /// What the guest's enabled queues refer to: interruption subclasses with their reference counts
    /// (spec 6.5). It is counted anew each time, so whatever ends an enablement ends its reference.
    #[must_use]
    pub fn gisa(&self) -> Gisa {
        let view = read(self.guest.view());
        let enabled = view.plugged.values();
        let mut gisa = Gisa::default();
        for interrupts in enabled.filter_map(|queue| queue.interrupts_of(self.guest.id())) {
            gisa.register(interrupts.isc);
        }
        gisa
    }

    /// Disables the interruptions of all queues whose notification byte `lost` names (spec 5.7).
    pub fn disable_interrupts(&self, lost: impl Fn(u64) -> bool) {
        let view = read(self.guest.view());
        for queue in view.plugged.values() {
            queue.disable_interrupts(self.guest.id(), |interrupts| lost(interrupts.nib));
        }
    }

    fn qci_flags(&self) -> Option<QciFlags> {
        let flags = self.machine.qci_flags()?;
        Some(self.guest.qci_flags(flags))
    }

    fn qci_block(&self) -> QciBlock {
        // The machine's lock is released before the guest's is taken: control takes them in the
        // same order and holds both.
        let host = self.machine.host_qci();
        self.guest.qci_block(&host, &self.guest.apcb())
    }
}

impl<M: Deref<Target = Machine>> ApInstructions for GuestCpu<M> {
    fn facilities(&self) -> Facilities {
        self.guest.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        let facilities = self.guest.facilities();
        if let Some(exception) = suppressed(instruction, reply, facilities, self.qci_flags()) {
            return Outcome::Exception(exception);
        }
        let Some(apqn) = instruction.apqn() else {
            return Outcome::Qci(self.qci_block());
        };
        let view = read(self.guest.view());
        let outcome = match view.plugged.get(&apqn) {
            Some(queue) => queue.execute(Requester::Guest(self.guest.id()), instruction, reply),
            None => Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE),
        };
        drop(view);
        self.machine.ring_if_enqueued(instruction, &outcome);
        outcome
    }
}

/// The program exception that suppresses an instruction before any queue is looked at (spec 1.5).
/// Whoever decoded the registers has checked the same; this is the authority, because the decoder of
/// a guest runs in the guest's hypervisor.
fn suppressed(
    instruction: &Instruction<'_>,
    reply: &[u8],
    facilities: Facilities,
    flags: Option<QciFlags>,
) -> Option<ProgramException> {
    let has = |flag| flags.is_some_and(|flags| flags.contains(flag));
    let defined = match instruction {
        Instruction::Tapq {
            facilities: true, ..
        } => facilities.contains(Facilities::APFT),
        Instruction::Aqic { .. } => facilities.contains(Facilities::APQI),
        Instruction::Qci => facilities.contains(Facilities::APQCI),
        Instruction::Qact { .. } => facilities.contains(Facilities::APQCI) && has(QciFlags::QACT),
        Instruction::Nqap { message, .. } => !message.is_empty(),
        Instruction::Dqap { .. } => !reply.is_empty(),
        Instruction::Tapq { .. } | Instruction::Rapq { .. } | Instruction::Zapq { .. } => true,
    };
    let in_range = has(QciFlags::APXA)
        || instruction.apqn().is_none_or(|Apqn { apid, apqi }| {
            apid.0 <= MAX_ADAPTER_WITHOUT_APXA && apqi.0 <= MAX_DOMAIN_WITHOUT_APXA
        });
    (!(defined && in_range)).then_some(ProgramException::Specification)
}
