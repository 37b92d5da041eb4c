//! What a plugged-in queue driver and the world below it give to the bus.

use arch::instruction::{Instruction, Outcome};
use arch::{AdapterMask, ApInstructions, Apqn, Facilities, QciBlock, UsageMask};

use crate::uevent::Uevent;

/// A non-default queue driver at work, together with the hardware that it shares with the bus and the
/// place where uevents go.
///
/// It is one trait because both sides execute instructions on the same hardware: the bus in the
/// middle of a scan, and the driver in the middle of a hook that this scan called.
pub trait QueueDriver: ApInstructions {
    /// Something that user space is told.
    fn uevent(&mut self, event: Uevent);

    /// Asked before queues become reserved for default drivers: whether one of `apm` x `aqm` is
    /// spoken for (spec 2.4).
    fn in_use(&self, apm: AdapterMask, aqm: UsageMask) -> Option<InUse>;

    /// The driver gets a queue.
    fn probe(&mut self, apqn: Apqn);

    /// The driver loses a queue. The bus zeroizes it afterwards.
    fn remove(&mut self, apqn: Apqn);

    /// The partition's configuration changed; devices have not followed yet (spec 2.3 step 1).
    fn on_config_changed(&mut self, new: &QciBlock, old: &QciBlock);

    /// Devices now follow the changed configuration (spec 2.3 step 4).
    fn on_scan_complete(&mut self, new: &QciBlock, old: &QciBlock);
}

/// Why queues cannot become reserved for default drivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InUse {
    /// Lowest of the queues.
    pub first: Apqn,
    /// Who has it, in the driver's words.
    pub holder: String,
    /// How many queues are in use in all.
    pub queues: usize,
}

/// A bus without plugged-in driver: instructions of `T`, no hooks, uevents dropped.
#[derive(Debug)]
pub struct NoDriver<T>(pub T);

impl<T: ApInstructions> ApInstructions for NoDriver<T> {
    fn facilities(&self) -> Facilities {
        self.0.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.0.execute(instruction, reply)
    }
}

impl<T: ApInstructions> QueueDriver for NoDriver<T> {
    fn uevent(&mut self, _event: Uevent) {}

    fn in_use(&self, _apm: AdapterMask, _aqm: UsageMask) -> Option<InUse> {
        None
    }

    fn probe(&mut self, _apqn: Apqn) {}

    fn remove(&mut self, _apqn: Apqn) {}

    fn on_config_changed(&mut self, _new: &QciBlock, _old: &QciBlock) {}

    fn on_scan_complete(&mut self, _new: &QciBlock, _old: &QciBlock) {}
}
