//! The other writable attributes of bus, cards and queues (spec 2.2, 2.6, 2.7).

use arch::{Apid, Apqi, Apqn};

use crate::device::{Device, QueueState};
use crate::driver::QueueDriver;
use crate::error::BusError;
use crate::scan::config_event;
use crate::state::Bus;
use crate::uevent::{Action, Uevent};

/// Shortest and longest time between rescans, in seconds.
pub const CONFIG_TIME: (u32, u32) = (5, 120);
/// Longest poll interval, in nanoseconds.
pub const MAX_POLL_TIMEOUT: u64 = 120_000_000_000;

impl Bus {
    /// A write to `ap_domain`. The domain need not exist (transcript bus-ap-domain).
    ///
    /// # Errors
    /// `DefaultDomain`.
    pub fn set_default_domain(&mut self, domain: i64) -> Result<(), BusError> {
        let in_range = u8::try_from(domain).ok().map(Apqi);
        let accepted = in_range
            .filter(|apqi| *apqi <= self.max_domain)
            .filter(|apqi| self.aqmask.contains(*apqi));
        let Some(apqi) = accepted else {
            return Err(BusError::DefaultDomain {
                domain,
                max: self.max_domain,
            });
        };
        self.default_domain = Some(apqi);
        Ok(())
    }

    /// A write to `config_time`, in seconds.
    ///
    /// # Errors
    /// `OutOfRange` outside [`CONFIG_TIME`].
    pub fn set_config_time(&mut self, seconds: i64) -> Result<(), BusError> {
        let (min, max) = CONFIG_TIME;
        let accepted = u32::try_from(seconds)
            .ok()
            .filter(|seconds| (min..=max).contains(seconds));
        self.config_time = accepted.ok_or_else(|| BusError::OutOfRange {
            value: seconds,
            min: i64::from(min),
            max: i64::from(max),
        })?;
        Ok(())
    }

    /// A write to `poll_thread`; without effect while interrupts are in use (transcript
    /// bus-poll-thread).
    pub const fn set_poll_thread(&mut self, run: bool) {
        self.poll_thread = run && !self.uses_interrupts();
    }

    /// A write to `poll_timeout`, in nanoseconds.
    ///
    /// # Errors
    /// `OutOfRange` above [`MAX_POLL_TIMEOUT`].
    pub fn set_poll_timeout(&mut self, nanoseconds: u64) -> Result<(), BusError> {
        if nanoseconds > MAX_POLL_TIMEOUT {
            return Err(BusError::OutOfRange {
                value: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
                min: 0,
                max: i64::try_from(MAX_POLL_TIMEOUT).unwrap_or(i64::MAX),
            });
        }
        self.poll_timeout = nanoseconds;
        Ok(())
    }

    /// A write to `drivers_autoprobe`.
    pub const fn set_autoprobe(&mut self, autoprobe: bool) {
        self.autoprobe = autoprobe;
    }

    /// A write to a card's `online`: sets the card and all queues that are tied to it (transcript
    /// card-online-offline, [`Queue::former_card`](crate::Queue::former_card)).
    ///
    /// # Errors
    /// `Gone`; `NotUsable` for 1 on a deconfigured or check-stopped card.
    pub fn set_card_online(
        &mut self,
        apid: Apid,
        online: bool,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        let device = Device::Card(apid);
        let card = self.cards.get_mut(&apid).ok_or(BusError::Gone(device))?;
        if online && !card.is_usable() {
            return Err(BusError::NotUsable(device));
        }
        card.online_wanted = online;
        side.uevent(online_event(device, online));
        let queues: Vec<Apqn> = self
            .queues_of(apid)
            .filter(|(_, queue)| queue.driver.is_some_and(|driver| driver.is_default()))
            .filter(|(_, queue)| queue.former_card.is_none() && queue.online_wanted != online)
            .map(|(apqn, _)| apqn)
            .collect();
        for apqn in queues {
            self.want_queue_online(apqn, online, side);
        }
        Ok(())
    }

    /// A write to a queue's `online`.
    ///
    /// # Errors
    /// `Gone`; for 1: `NotUsable` when queue or card is deconfigured or check-stopped, `CardOffline`.
    pub fn set_queue_online(
        &mut self,
        apqn: Apqn,
        online: bool,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        let device = Device::Queue(apqn);
        let queue = self.queues.get(&apqn).ok_or(BusError::Gone(device))?;
        let card = self
            .cards
            .get(&apqn.apid)
            .ok_or(BusError::Gone(Device::Card(apqn.apid)))?;
        if online && !(queue.is_usable() && card.is_usable()) {
            return Err(BusError::NotUsable(device));
        }
        if online && !queue.former_card.unwrap_or(card.online_wanted) {
            return Err(BusError::CardOffline(apqn.apid));
        }
        self.want_queue_online(apqn, online, side);
        Ok(())
    }

    fn want_queue_online(&mut self, apqn: Apqn, online: bool, side: &mut dyn QueueDriver) {
        if let Some(queue) = self.queues.get_mut(&apqn) {
            queue.online_wanted = online;
            side.uevent(online_event(Device::Queue(apqn), online));
        }
    }

    /// The firmware has configured or deconfigured the adapter of a card, as `config` asked; the
    /// queues follow at the next scan.
    ///
    /// # Errors
    /// `Gone`.
    pub fn set_card_config(
        &mut self,
        apid: Apid,
        config: bool,
        side: &mut dyn QueueDriver,
    ) -> Result<(), BusError> {
        let device = Device::Card(apid);
        let card = self.cards.get_mut(&apid).ok_or(BusError::Gone(device))?;
        if card.config != config {
            card.config = config;
            side.uevent(config_event(device, config));
        }
        Ok(())
    }

    /// A write to a card's `request_count`: zeroes card and queues.
    ///
    /// # Errors
    /// `Gone`.
    pub fn clear_card_requests(&mut self, apid: Apid) -> Result<(), BusError> {
        let card = self
            .cards
            .get_mut(&apid)
            .ok_or(BusError::Gone(Device::Card(apid)))?;
        card.requests = 0;
        let queues: Vec<Apqn> = self.queues_of(apid).map(|(apqn, _)| apqn).collect();
        queues
            .into_iter()
            .try_for_each(|apqn| self.clear_queue_requests(apqn))
    }

    /// A write to a queue's `request_count`.
    ///
    /// # Errors
    /// `Gone`.
    pub fn clear_queue_requests(&mut self, apqn: Apqn) -> Result<(), BusError> {
        let queue = self
            .queues
            .get_mut(&apqn)
            .ok_or(BusError::Gone(Device::Queue(apqn)))?;
        queue.requests = 0;
        Ok(())
    }

    /// A write to a queue's `reset`: resets a queue of the default driver, nothing otherwise
    /// (spec 2.7).
    ///
    /// # Errors
    /// `Gone`.
    pub fn reset_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) -> Result<(), BusError> {
        let queue = self
            .queues
            .get(&apqn)
            .ok_or(BusError::Gone(Device::Queue(apqn)))?;
        if queue.state != QueueState::Uninitiated {
            self.start_queue(apqn, side);
        }
        Ok(())
    }

    /// One request of the default driver went to a queue.
    pub fn count_request(&mut self, apqn: Apqn) {
        if let Some(queue) = self.queues.get_mut(&apqn) {
            queue.requests += 1;
        }
        if let Some(card) = self.cards.get_mut(&apqn.apid) {
            card.requests += 1;
        }
    }
}

fn online_event(device: Device, online: bool) -> Uevent {
    let value = u8::from(online).to_string();
    Uevent::of_device(Action::Change, device, vec![("ONLINE", value)])
}
