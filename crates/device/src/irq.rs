//! Interrupts of the device (VMM notifications, not the guest's adapter interrupts) and the order
//! of checks of `SET_IRQS` (spec 5.4, adapted to a socket).

use arch::Errno;

use crate::message::{IRQ_COUNT, SetIrqs, SetIrqsFlags};

/// An interrupt of the device: an eventfd by which the daemon tells the VMM something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum IrqIndex {
    /// REQ: an administrator wants to remove the device; please close it.
    Request = 0,
    /// `CFG_CHG`: the guest's AP configuration changed.
    ConfigChanged = 1,
}

impl IrqIndex {
    /// The interrupt with this number.
    #[must_use]
    pub const fn from_raw(index: u32) -> Option<Self> {
        match index {
            0 => Some(Self::Request),
            1 => Some(Self::ConfigChanged),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn raw(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::ConfigChanged => 1,
        }
    }
}

/// Checks everything of a `SET_IRQS` command but its descriptor, in the order of spec 5.4.
/// `descriptors` is how many came with the message: none unregisters, one registers.
///
/// # Errors
/// EINVAL, for every check.
pub fn check_set_irqs(command: &SetIrqs, descriptors: usize) -> Result<IrqIndex, Errno> {
    let (start, count) = (command.start.get(), command.count.get());
    let flags = command.flags.get();
    if (command.argsz.get() as usize) < size_of::<SetIrqs>()
        || command.index.get() >= IRQ_COUNT
        || count >= u32::MAX - start
        || flags & !SetIrqsFlags::all().bits() != 0
    {
        return Err(Errno::EINVAL);
    }
    if start >= 1 || start + count > 1 {
        return Err(Errno::EINVAL);
    }
    let flags = SetIrqsFlags::from_bits_truncate(flags);
    let data = flags & SetIrqsFlags::DATA;
    let actions = flags & SetIrqsFlags::ACTIONS;
    if data != SetIrqsFlags::EVENTFD || !actions.contains(SetIrqsFlags::TRIGGER) {
        return Err(Errno::EINVAL);
    }
    // The descriptor is what Linux reads behind the header: it counts whatever `count` says.
    if descriptors > 1 {
        return Err(Errno::EINVAL);
    }
    IrqIndex::from_raw(command.index.get()).ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argsz: u32, flags: u32, index: u32, start: u32, count: u32) -> SetIrqs {
        SetIrqs {
            argsz: argsz.into(),
            flags: flags.into(),
            index: index.into(),
            start: start.into(),
            count: count.into(),
        }
    }

    #[test]
    fn usual_commands_pass() {
        for (index, irq) in [(0, IrqIndex::Request), (1, IrqIndex::ConfigChanged)] {
            assert_eq!(check_set_irqs(&command(20, 0x24, index, 0, 1), 1), Ok(irq));
            assert_eq!(check_set_irqs(&command(20, 0x24, index, 0, 1), 0), Ok(irq));
            assert_eq!(check_set_irqs(&command(24, 0x24, index, 0, 0), 1), Ok(irq));
            // Other actions beside the trigger do not matter.
            assert_eq!(check_set_irqs(&command(20, 0x2c, index, 0, 1), 1), Ok(irq));
        }
    }

    #[test]
    fn every_check_of_section_5_4_answers_einval() {
        for (name, bad, descriptors) in [
            ("argsz", command(19, 0x24, 0, 0, 1), 1),
            ("index", command(20, 0x24, 2, 0, 1), 1),
            ("count overflow", command(20, 0x24, 0, 1, u32::MAX - 1), 1),
            ("unknown flag", command(20, 0x64, 0, 0, 1), 1),
            ("start", command(20, 0x24, 0, 1, 0), 1),
            ("range", command(20, 0x24, 0, 0, 2), 1),
            ("no data type", command(20, 0x20, 0, 0, 1), 1),
            ("two data types", command(20, 0x25, 0, 0, 1), 1),
            ("no trigger", command(20, 0x04, 0, 0, 1), 1),
            ("mask action", command(20, 0x0c, 0, 0, 1), 1),
            ("unmask action", command(20, 0x14, 0, 0, 1), 1),
            ("all data types", command(20, 0x27, 0, 0, 1), 1),
            ("bool data, trigger, none", command(20, 0x22, 1, 0, 0), 0),
            ("bool data", command(20, 0x22, 0, 0, 1), 1),
            ("no data, trigger", command(20, 0x21, 0, 0, 0), 0),
            ("two descriptors", command(20, 0x24, 0, 0, 1), 2),
        ] {
            assert_eq!(
                check_set_irqs(&bad, descriptors),
                Err(Errno::EINVAL),
                "{name}"
            );
        }
    }
}
