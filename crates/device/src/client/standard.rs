//! The commands that the protocol has in common with other vfio devices: what there is, interrupts,
//! the guest's memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zerocopy::IntoBytes;

use super::{Client, ClientError};
use crate::backend::DmaRange;
use crate::irq::IrqIndex;
use crate::message::{Command, DeviceInfo, DmaMap, DmaUnmap, IrqInfo, SetIrqs, SetIrqsFlags};

impl Client {
    /// What kind of device this is.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub fn get_info(&mut self) -> Result<DeviceInfo, ClientError> {
        let asked = DeviceInfo {
            argsz: DeviceInfo::SIZE.into(),
            ..DeviceInfo::default()
        };
        self.ask(Command::DeviceGetInfo, asked.as_bytes())
    }

    /// What an interrupt of the device can do.
    ///
    /// # Errors
    /// EINVAL for an index that the device does not have; when the daemon cannot be asked.
    pub fn get_irq_info(&mut self, index: u32) -> Result<IrqInfo, ClientError> {
        let asked = IrqInfo {
            argsz: IrqInfo::SIZE.into(),
            index: index.into(),
            ..IrqInfo::default()
        };
        self.ask(Command::DeviceGetIrqInfo, asked.as_bytes())
    }

    /// Registers `eventfd` for an interrupt of the device, or removes the one registered. It stays
    /// registered over reconnects.
    ///
    /// # Errors
    /// EINVAL when the descriptor is not an eventfd; when the daemon cannot be asked.
    pub fn set_irq(
        &mut self,
        index: IrqIndex,
        eventfd: Option<OwnedFd>,
    ) -> Result<(), ClientError> {
        self.ensure_open()?;
        self.send_irq(index, eventfd.as_ref().map(AsFd::as_fd))?;
        self.eventfds[index as usize] = eventfd;
        Ok(())
    }

    pub(super) fn send_irq(
        &mut self,
        index: IrqIndex,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> Result<(), ClientError> {
        let command = SetIrqs {
            argsz: SetIrqs::SIZE.into(),
            flags: (SetIrqsFlags::EVENTFD | SetIrqsFlags::TRIGGER)
                .bits()
                .into(),
            index: index.raw().into(),
            start: 0.into(),
            count: 1.into(),
        };
        let timeout = self.options.round_trip;
        let payload = (command.as_bytes(), &[][..]);
        self.transact(Command::DeviceSetIrqs, payload, eventfd.as_slice(), timeout)
            .map(|_| ())
    }

    /// Tells the daemon of guest memory. The range stays known over reconnects.
    ///
    /// # Errors
    /// EINVAL for an empty or wrapping range; what the daemon refuses; when it cannot be asked.
    pub fn dma_map(&mut self, range: DmaRange) -> Result<(), ClientError> {
        self.ensure_open()?;
        self.send_map(range)?;
        self.maps.insert(range.address, range);
        Ok(())
    }

    pub(super) fn send_map(&mut self, range: DmaRange) -> Result<(), ClientError> {
        let map = DmaMap {
            argsz: DmaMap::SIZE.into(),
            flags: (u32::from(range.readable) | u32::from(range.writable) << 1).into(),
            offset: 0.into(),
            address: range.address.into(),
            size: range.length.into(),
        };
        let timeout = self.options.round_trip;
        self.transact(Command::DmaMap, (map.as_bytes(), &[]), &[], timeout)
            .map(|_| ())
    }

    /// Tells the daemon that guest memory is gone.
    ///
    /// # Errors
    /// ENOENT when it was not mapped; when the daemon cannot be asked.
    pub fn dma_unmap(&mut self, range: DmaRange) -> Result<(), ClientError> {
        self.ensure_open()?;
        let gone = range.address..range.address.saturating_add(range.length);
        self.maps.retain(|address, _| !gone.contains(address));
        self.enablement.unmapped(&gone);
        let unmap = DmaUnmap {
            argsz: DmaUnmap::SIZE.into(),
            flags: 0.into(),
            address: range.address.into(),
            size: range.length.into(),
        };
        let timeout = self.options.round_trip;
        self.transact(Command::DmaUnmap, (unmap.as_bytes(), &[]), &[], timeout)
            .map(|_| ())
    }
}
