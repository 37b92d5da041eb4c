//! Which driver has which device (spec 2.1, 2.4, 2.5, 2.7).
//!
//! The order of checks of `bind` is the recorded one: unknown device, device already bound, then the
//! masks or the override (transcript bind-wrong-driver).

use std::sync::Arc;

use arch::{Apid, Apqn, Mask256};

use crate::device::{Device, Driver};
use crate::driver::QueueDriver;
use crate::error::BusError;
use crate::state::Bus;
use crate::uevent::{Action, Uevent};

impl Bus {
    /// The plugged-in driver registers: it is offered every queue that has no driver.
    pub fn plug(&mut self, side: &mut dyn QueueDriver) {
        self.plugged = true;
        let unbound: Vec<Apqn> = self
            .queues()
            .filter(|(_, queue)| queue.driver.is_none())
            .map(|(apqn, _)| apqn)
            .collect();
        for apqn in unbound {
            self.attach_queue(apqn, side);
        }
    }

    /// A write to a driver's `bind`.
    ///
    /// # Errors
    /// `UnknownDevice`, `WrongKind`, `AlreadyBound`, then `WrongSide` or `Overridden`.
    pub fn bind(
        &mut self,
        driver: Driver,
        name: &str,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        let device = self.find(name)?;
        let kind_fits = matches!(device, Device::Card(_)) == (driver == Driver::Cex4Card);
        if !kind_fits {
            return Err(BusError::WrongKind {
                device,
                driver: self.driver_name(driver),
            });
        }
        if let Some(holder) = self.driver_of(device) {
            return Err(BusError::AlreadyBound {
                device,
                driver: self.driver_name(holder),
            });
        }
        match device {
            Device::Card(apid) => self.attach_card(apid, side),
            Device::Queue(apqn) => {
                self.may_take(driver, apqn)?;
                self.give_queue(apqn, driver, side);
            }
        }
        Ok(())
    }

    /// A write to a driver's `unbind`. Always allowed, also for a queue that a guest uses.
    ///
    /// # Errors
    /// `UnknownDevice`, `NotBound`.
    pub fn unbind(
        &mut self,
        driver: Driver,
        name: &str,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        let device = self.find(name)?;
        if self.driver_of(device) != Some(driver) {
            return Err(BusError::NotBound {
                device,
                driver: self.driver_name(driver),
            });
        }
        match device {
            Device::Card(apid) => self.detach_card(apid, side),
            Device::Queue(apqn) => self.detach_queue(apqn, side),
        }
        Ok(())
    }

    /// A write to `drivers_probe`: offers a device without driver to every driver. That none takes it
    /// is no error (transcript driver-override-unknown).
    ///
    /// # Errors
    /// `UnknownDevice`.
    pub fn probe(&mut self, name: &str, side: &mut dyn QueueDriver) -> Result<(), BusError> {
        match self.find(name)? {
            device if self.driver_of(device).is_some() => {}
            Device::Card(apid) => self.attach_card(apid, side),
            Device::Queue(apqn) => self.attach_queue(apqn, side),
        }
        Ok(())
    }

    /// A write to `driver_override`; `None` clears it. Takes effect at the next probe (spec 2.5).
    ///
    /// # Errors
    /// `Gone`; `MasksActive`, also when the name stays the same.
    pub fn set_override(&mut self, apqn: Apqn, name: Option<&str>) -> Result<(), BusError> {
        let masks_full = self.apmask.0 == Mask256::FULL && self.aqmask.0 == Mask256::FULL;
        let Some(queue) = self.queues.get_mut(&apqn) else {
            return Err(BusError::Gone(Device::Queue(apqn)));
        };
        if !masks_full {
            return Err(BusError::MasksActive { apqn });
        }
        self.overrides -= usize::from(queue.driver_override.is_some());
        self.overrides += usize::from(name.is_some());
        queue.driver_override = name.map(Arc::from);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Device, BusError> {
        let device = Device::parse(name).filter(|device| match device {
            Device::Card(apid) => self.cards.contains_key(apid),
            Device::Queue(apqn) => self.queues.contains_key(apqn),
        });
        device.ok_or_else(|| BusError::UnknownDevice {
            name: String::from(name),
        })
    }

    fn driver_of(&self, device: Device) -> Option<Driver> {
        match device {
            Device::Card(apid) => self
                .cards
                .get(&apid)
                .filter(|card| card.bound)
                .map(|_| Driver::Cex4Card),
            Device::Queue(apqn) => self.queues.get(&apqn).and_then(|queue| queue.driver),
        }
    }

    /// Whether a queue driver may take a queue: its override decides, else the masks (spec 2.4, 2.5).
    fn may_take(&self, driver: Driver, apqn: Apqn) -> Result<(), BusError> {
        let name = self.driver_name(driver);
        let wanted = self
            .queues
            .get(&apqn)
            .and_then(|queue| queue.driver_override.as_deref());
        if let Some(wanted) = wanted {
            if wanted == name {
                return Ok(());
            }
            return Err(BusError::Overridden {
                apqn,
                wanted: String::from(wanted),
                driver: name,
            });
        }
        let reserved = self.masks_reserve(apqn);
        if reserved == driver.is_default() {
            return Ok(());
        }
        Err(BusError::WrongSide {
            apqn,
            reserved,
            driver: name,
        })
    }

    pub(crate) fn attach_card(&mut self, apid: Apid, side: &mut dyn QueueDriver) {
        let Some(card) = self.cards.get_mut(&apid) else {
            return;
        };
        card.bound = true;
        card.online_wanted = true;
        let properties = self.cards.get(&apid).map(|card| self.card_properties(card));
        let properties = properties.unwrap_or_default();
        side.uevent(Uevent::of_device(
            Action::Bind,
            Device::Card(apid),
            properties,
        ));
    }

    fn detach_card(&mut self, apid: Apid, side: &mut dyn QueueDriver) {
        let Some(card) = self.cards.get_mut(&apid) else {
            return;
        };
        card.bound = false;
        let online = card.online_wanted;
        let tied: Vec<Apqn> = self
            .queues_of(apid)
            .filter(|(_, queue)| queue.driver == Some(Driver::Cex4Queue))
            .filter(|(_, queue)| queue.former_card.is_none())
            .map(|(apqn, _)| apqn)
            .collect();
        for apqn in tied {
            if let Some(queue) = self.queues.get_mut(&apqn) {
                queue.former_card = Some(online);
            }
        }
        let properties = self.cards.get(&apid).map(|card| self.card_properties(card));
        let properties = properties.unwrap_or_default();
        side.uevent(Uevent::of_device(
            Action::Unbind,
            Device::Card(apid),
            properties,
        ));
    }

    /// Offers a queue without driver to the queue drivers in turn.
    pub(crate) fn attach_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        let candidates = self
            .drivers()
            .into_iter()
            .filter(|driver| *driver != Driver::Cex4Card);
        let taker = candidates
            .into_iter()
            .find(|driver| self.may_take(*driver, apqn).is_ok());
        if let Some(driver) = taker {
            self.give_queue(apqn, driver, side);
        }
    }

    fn give_queue(&mut self, apqn: Apqn, driver: Driver, side: &mut dyn QueueDriver) {
        let Some(queue) = self.queues.get_mut(&apqn) else {
            return;
        };
        queue.driver = Some(driver);
        queue.online_wanted = true;
        queue.former_card = None;
        self.bound += 1;
        if driver.is_default() {
            self.start_queue(apqn, side);
        } else {
            side.probe(apqn);
        }
        self.tell_queue(Action::Bind, apqn, side);
        self.check_complete(side);
    }

    /// Takes a queue from its driver, if it has one, and zeroizes it (spec 2.7).
    pub(crate) fn detach_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        let Some(driver) = self.queues.get(&apqn).and_then(|queue| queue.driver) else {
            return;
        };
        if !driver.is_default() {
            side.remove(apqn);
        }
        // The answer does not matter: the queue may be gone, and its next owner resets it again.
        side.zapq(apqn);
        if let Some(queue) = self.queues.get_mut(&apqn) {
            queue.driver = None;
            queue.former_card = None;
            queue.requests = 0;
        }
        self.stop_queue(apqn);
        self.bound -= 1;
        self.tell_queue(Action::Unbind, apqn, side);
    }

    fn tell_queue(&self, action: Action, apqn: Apqn, side: &mut dyn QueueDriver) {
        if let Some(queue) = self.queues.get(&apqn) {
            let properties = self.queue_properties(queue);
            side.uevent(Uevent::of_device(action, Device::Queue(apqn), properties));
        }
    }
}
