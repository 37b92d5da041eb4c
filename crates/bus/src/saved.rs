//! The bus as plain data: what is kept while no program runs, and how it comes back.
//!
//! A restored bus equals the one that was saved. Nothing is scanned or probed: the devices are as they
//! were, because the hardware is brought back to what it was as well. Only what the hardware itself
//! forgets, interrupts enabled for the default driver, is asked of it again.

use arch::{AdapterMask, ApInstructions, Apid, Apqi, Apqn, Mask256, QciBlock, UsageMask};

use crate::device::{Card, Device, Driver, Queue, QueueState};
use crate::driver::NoDriver;
use crate::settings::{CONFIG_TIME, MAX_POLL_TIMEOUT};
use crate::start::LOOK_INTERVAL;
use crate::state::{Bus, BusConfig};

/// Everything that a [`Bus`] knows and cannot learn from its parameters and the hardware.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedBus {
    /// The configuration as of the last scan.
    pub qci: Option<QciBlock>,
    /// Highest adapter number, fixed at boot (spec 12).
    pub max_adapter: Apid,
    /// Highest domain number, fixed at boot (spec 12).
    pub max_domain: Apqi,
    /// apmask.
    pub apmask: AdapterMask,
    /// aqmask.
    pub aqmask: UsageMask,
    /// Card devices.
    pub cards: Vec<(Apid, Card)>,
    /// Queue devices.
    pub queues: Vec<(Apqn, Queue)>,
    /// The default domain.
    pub default_domain: Option<Apqi>,
    /// Seconds between rescans.
    pub config_time: u32,
    /// Whether the poll thread runs.
    pub poll_thread: bool,
    /// Poll interval in nanoseconds.
    pub poll_timeout: u64,
    /// Whether new devices are offered to drivers.
    pub autoprobe: bool,
    /// Completed scans.
    pub scans: u64,
    /// The present "bindings complete" was announced.
    pub complete: bool,
    /// How often the bindings became complete.
    pub completions: u64,
}

/// Saved data that no bus can have been in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// A device is there twice.
    #[error("{0} is there twice")]
    Twice(Device),
    /// A queue without its card, or with a number above the highest.
    #[error("{0} has no place on the bus")]
    Stray(Device),
    /// A queue that a driver of cards has.
    #[error("queue {0} is bound to a driver of cards")]
    CardDriver(Apqn),
    /// An override while a mask is not all ones (spec 2.5).
    #[error("queue {0} has an override while apmask or aqmask is not all ones")]
    OverrideUnderMasks(Apqn),
    /// A setting outside its range.
    #[error("{name} is {value}, which is out of range")]
    Setting {
        /// The attribute.
        name: &'static str,
        /// Its value.
        value: u64,
    },
}

impl Bus {
    /// The bus as plain data. Not to be called in the middle of a scan.
    #[must_use]
    pub fn save(&self) -> SavedBus {
        SavedBus {
            qci: self.qci,
            max_adapter: self.max_adapter,
            max_domain: self.max_domain,
            apmask: self.apmask,
            aqmask: self.aqmask,
            cards: self.cards().map(|(apid, card)| (apid, *card)).collect(),
            queues: self
                .queues()
                .map(|(apqn, queue)| (apqn, queue.clone()))
                .collect(),
            default_domain: self.default_domain,
            config_time: self.config_time,
            poll_thread: self.poll_thread,
            poll_timeout: self.poll_timeout,
            autoprobe: self.autoprobe,
            scans: self.scans,
            complete: self.complete,
            completions: self.completions,
        }
    }

    /// The bus that was saved, with its plugged-in driver registered.
    ///
    /// # Errors
    /// When no bus can have been in this state.
    pub fn restore(
        config: BusConfig,
        saved: SavedBus,
        hardware: &mut dyn ApInstructions,
    ) -> Result<Self, RestoreError> {
        saved.check()?;
        let mut bus = Self {
            plugged: config.plugged.is_some(),
            qci: saved.qci,
            max_adapter: saved.max_adapter,
            max_domain: saved.max_domain,
            apmask: saved.apmask,
            aqmask: saved.aqmask,
            default_domain: saved.default_domain,
            config_time: saved.config_time,
            poll_thread: saved.poll_thread,
            poll_timeout: saved.poll_timeout,
            autoprobe: saved.autoprobe,
            scans: saved.scans,
            complete: saved.complete,
            completions: saved.completions,
            ..Self::new(config, hardware)
        };
        for (apid, card) in saved.cards {
            if bus.cards.contains_key(&apid) {
                return Err(RestoreError::Twice(Device::Card(apid)));
            }
            bus.cards.insert_mut(apid, card);
        }
        for (apqn, queue) in saved.queues {
            let device = Device::Queue(apqn);
            if bus.queues.contains_key(&apqn) {
                return Err(RestoreError::Twice(device));
            }
            if !bus.cards.contains_key(&apqn.apid) {
                return Err(RestoreError::Stray(device));
            }
            bus.bound += usize::from(queue.driver.is_some());
            bus.overrides += usize::from(queue.driver_override.is_some());
            if queue.interrupts {
                bus.enable_interrupts(apqn, &mut NoDriver(&mut *hardware));
            }
            if queue.state == QueueState::Resetting {
                bus.resetting.insert_mut(apqn, LOOK_INTERVAL);
            }
            bus.queues.insert_mut(apqn, queue);
        }
        Ok(bus)
    }
}

impl SavedBus {
    fn check(&self) -> Result<(), RestoreError> {
        let (min, max) = CONFIG_TIME;
        if !(min..=max).contains(&self.config_time) {
            return Err(RestoreError::Setting {
                name: "config_time",
                value: u64::from(self.config_time),
            });
        }
        if self.poll_timeout > MAX_POLL_TIMEOUT {
            return Err(RestoreError::Setting {
                name: "poll_timeout",
                value: self.poll_timeout,
            });
        }
        if let Some(apqi) = self.default_domain.filter(|apqi| *apqi > self.max_domain) {
            return Err(RestoreError::Setting {
                name: "ap_domain",
                value: u64::from(apqi.0),
            });
        }
        if let Some((apid, _)) = self.cards.iter().find(|(apid, _)| *apid > self.max_adapter) {
            return Err(RestoreError::Stray(Device::Card(*apid)));
        }
        let masks_full = self.apmask.0 == Mask256::FULL && self.aqmask.0 == Mask256::FULL;
        for (apqn, queue) in &self.queues {
            if apqn.apqi > self.max_domain {
                return Err(RestoreError::Stray(Device::Queue(*apqn)));
            }
            if queue.driver == Some(Driver::Cex4Card) {
                return Err(RestoreError::CardDriver(*apqn));
            }
            if queue.driver_override.is_some() && !masks_full {
                return Err(RestoreError::OverrideUnderMasks(*apqn));
            }
        }
        Ok(())
    }
}
