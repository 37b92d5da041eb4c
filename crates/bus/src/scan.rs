//! The bus scan (spec 2.3): devices follow what the instructions answer.

use arch::{AdapterMask, ApType, Apid, Apqi, Apqn, Facilities, HwInfo, Mask256, QueueStatus};
use arch::{ResponseCode, UsageMask};

use crate::device::{Card, Device, Queue, QueueState};
use crate::driver::QueueDriver;
use crate::state::Bus;
use crate::uevent::{Action, Uevent};

impl Bus {
    /// Scans once: at start, every `config_time` seconds, on a write to `scans` and when the
    /// configuration changed.
    pub fn scan(&mut self, side: &mut dyn QueueDriver) {
        self.scanning = true;
        let change = self.read_configuration(side);
        if let Some((new, old)) = &change {
            side.on_config_changed(new, old);
        }
        if self.default_domain.is_none() {
            self.default_domain = self.find_default_domain(side);
        }
        for apid in 0..=self.max_adapter.0 {
            self.scan_adapter(Apid(apid), side);
        }
        if let Some((new, old)) = &change {
            side.on_scan_complete(new, old);
        }
        self.scanning = false;
        self.scans += 1;
        if self.scans == 1 {
            side.uevent(Uevent::of_bus(vec![("INITSCAN", String::from("done"))]));
        }
        self.check_complete(side);
    }

    /// Step 1: reads QCI; the new and the old block if it changed.
    fn read_configuration(
        &mut self,
        side: &mut dyn QueueDriver,
    ) -> Option<(arch::QciBlock, arch::QciBlock)> {
        let (new, old) = (side.qci()?, self.qci?);
        self.qci = Some(new);
        if new == old {
            return None;
        }
        let more_adapters = !(new.apm - old.apm).is_empty();
        let more_domains = !(new.aqm - old.aqm).is_empty();
        if more_adapters || more_domains {
            self.complete = false;
        }
        Some((new, old))
    }

    /// Step 2: the lowest configured domain in aqmask that some adapter in apmask serves.
    fn find_default_domain(&self, side: &mut dyn QueueDriver) -> Option<Apqi> {
        let domains = self.domains() & self.aqmask;
        let adapters = AdapterMask(Mask256::range(0, self.max_adapter.0)) & self.apmask;
        let adapters: AdapterMask = adapters
            .iter()
            .filter(|apid| self.has_adapter(*apid))
            .collect();
        domains.iter().find(|apqi| {
            adapters.iter().any(|apid| {
                let (status, _) = self.test(Apqn { apid, apqi: *apqi }, side);
                status.code == ResponseCode::NORMAL
            })
        })
    }

    /// Usage domains of the partition up to the maximum.
    fn domains(&self) -> UsageMask {
        let numbers = UsageMask(Mask256::range(0, self.max_domain.0));
        numbers
            .iter()
            .filter(|apqi| self.has_domain(*apqi))
            .collect()
    }

    /// TAPQ, with the T bit when there is the facility; without it hardware information is partial.
    pub(crate) fn test(&self, apqn: Apqn, side: &mut dyn QueueDriver) -> (QueueStatus, HwInfo) {
        side.tapq(apqn, self.facilities.contains(Facilities::APFT))
    }

    /// Step 3 for one adapter.
    fn scan_adapter(&mut self, apid: Apid, side: &mut dyn QueueDriver) {
        let found = if self.has_adapter(apid) {
            self.first_queue(apid, side)
        } else {
            None
        };
        let Some((apqn, status, info)) = found else {
            self.remove_card(apid, side);
            return;
        };
        let same = |card: &Card| card.info.card_fields() == info.card_fields();
        if self.cards.get(&apid).is_some_and(|card| !same(card)) {
            self.remove_card(apid, side);
        }
        if !self.cards.contains_key(&apid) {
            let Some(ap_type) = self.compatible_type(apqn, info, side) else {
                return;
            };
            self.create_card(apid, ap_type, info, status, side);
        }
        self.update_card(apid, info, status, side);
        for apqi in 0..=self.max_domain.0 {
            self.scan_queue(
                Apqn {
                    apid,
                    apqi: Apqi(apqi),
                },
                side,
            );
        }
    }

    /// The first queue of the adapter with usable hardware information. An AP type of 0 counts as
    /// none.
    fn first_queue(
        &self,
        apid: Apid,
        side: &mut dyn QueueDriver,
    ) -> Option<(Apqn, QueueStatus, HwInfo)> {
        let found = self.domains().iter().find_map(|apqi| {
            let apqn = Apqn { apid, apqi };
            let (status, info) = self.test(apqn, side);
            status.queue_exists().then_some((apqn, status, info))
        });
        found.filter(|(_, _, info)| info.ap_type() != ApType(0))
    }

    /// The type that drivers see: old types are refused, types newer than the drivers are mapped by
    /// QACT to one they know, or refused (transcripts card-types, card-too-old).
    fn compatible_type(
        &self,
        apqn: Apqn,
        info: HwInfo,
        side: &mut dyn QueueDriver,
    ) -> Option<ApType> {
        let raw = info.ap_type();
        if raw.is_known() || raw < ApType::CEX4 {
            return Some(raw).filter(|ap_type| ap_type.is_known());
        }
        let has_qact = self
            .qci
            .is_some_and(|qci| qci.flags.contains(arch::QciFlags::QACT));
        if !has_qact {
            return None;
        }
        // Mode bits D, A, X of the facility word go to bits 60..58, the newest type we know to 31..24.
        let modes = u64::from(info.functions() >> 26 & 0b111) << 58;
        let (status, answer) = side.qact(apqn, modes | u64::from(ApType::CEX8.0) << 24);
        let mapped = ApType(answer.to_be_bytes()[4]);
        (status.code == ResponseCode::NORMAL && mapped.is_known()).then_some(mapped)
    }

    fn create_card(
        &mut self,
        apid: Apid,
        ap_type: ApType,
        info: HwInfo,
        status: QueueStatus,
        side: &mut dyn QueueDriver,
    ) {
        let card = Card {
            ap_type,
            info,
            config: status.code != ResponseCode::DECONFIGURED,
            chkstop: status.code == ResponseCode::CHECKSTOPPED,
            bound: false,
            online_wanted: true,
            requests: 0,
        };
        self.cards.insert_mut(apid, card);
        let device = Device::Card(apid);
        side.uevent(Uevent::of_device(
            Action::Add,
            device,
            self.card_properties(&card),
        ));
        if self.autoprobe {
            self.attach_card(apid, side);
        }
    }

    fn update_card(
        &mut self,
        apid: Apid,
        info: HwInfo,
        status: QueueStatus,
        side: &mut dyn QueueDriver,
    ) {
        let Some(old) = self.cards.get(&apid).copied() else {
            return;
        };
        let config = status.code != ResponseCode::DECONFIGURED;
        let chkstop = status.code == ResponseCode::CHECKSTOPPED;
        let card = Card {
            info,
            config,
            chkstop,
            ..old
        };
        if card != old {
            self.cards.insert_mut(apid, card);
        }
        if config != old.config {
            side.uevent(config_event(Device::Card(apid), config));
        }
    }

    /// Step 3 for one queue.
    fn scan_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        if !self.has_domain(apqn.apqi) {
            self.remove_queue(apqn, side);
            return;
        }
        let (status, info) = self.test(apqn, side);
        if !status.queue_exists() {
            self.remove_queue(apqn, side);
            return;
        }
        let config = status.code != ResponseCode::DECONFIGURED;
        let chkstop = status.code == ResponseCode::CHECKSTOPPED;
        let Some(old) = self.queues.get(&apqn) else {
            self.create_queue(apqn, (config, chkstop), info, side);
            return;
        };
        let (was_config, in_error) = (old.config, matches!(old.state, QueueState::Error(_)));
        let queue = Queue {
            config,
            chkstop,
            info,
            ..old.clone()
        };
        if *old != queue {
            self.queues.insert_mut(apqn, queue);
        }
        if config != was_config {
            side.uevent(config_event(Device::Queue(apqn), config));
        }
        if in_error && config && !chkstop {
            self.start_queue(apqn, side);
        } else if self.resetting.contains_key(&apqn) {
            self.look_at(apqn, side);
        }
    }

    fn create_queue(
        &mut self,
        apqn: Apqn,
        (config, chkstop): (bool, bool),
        info: HwInfo,
        side: &mut dyn QueueDriver,
    ) {
        let queue = Queue {
            config,
            chkstop,
            info,
            driver: None,
            driver_override: None,
            state: QueueState::Uninitiated,
            interrupts: false,
            online_wanted: false,
            former_card: None,
            requests: 0,
        };
        let properties = self.queue_properties(&queue);
        self.queues.insert_mut(apqn, queue);
        side.uevent(Uevent::of_device(
            Action::Add,
            Device::Queue(apqn),
            properties,
        ));
        if self.autoprobe {
            self.attach_queue(apqn, side);
        }
    }

    /// Removes a card and all its queues.
    fn remove_card(&mut self, apid: Apid, side: &mut dyn QueueDriver) {
        let Some(card) = self.cards.get(&apid).copied() else {
            return;
        };
        let queues: Vec<Apqn> = self.queues_of(apid).map(|(apqn, _)| apqn).collect();
        for apqn in queues {
            self.remove_queue(apqn, side);
        }
        let properties = self.card_properties(&card);
        self.cards.remove_mut(&apid);
        side.uevent(Uevent::of_device(
            Action::Remove,
            Device::Card(apid),
            properties,
        ));
    }

    fn remove_queue(&mut self, apqn: Apqn, side: &mut dyn QueueDriver) {
        if !self.queues.contains_key(&apqn) {
            return;
        }
        self.detach_queue(apqn, side);
        if let Some(queue) = self.queues.get(&apqn) {
            self.overrides -= usize::from(queue.driver_override.is_some());
            let properties = self.queue_properties(queue);
            side.uevent(Uevent::of_device(
                Action::Remove,
                Device::Queue(apqn),
                properties,
            ));
        }
        self.queues.remove_mut(&apqn);
    }

    /// Announces complete bindings once, until new hardware re-arms it.
    pub(crate) fn check_complete(&mut self, side: &mut dyn QueueDriver) {
        if self.scanning || self.complete || !self.bindings_complete() {
            return;
        }
        self.complete = true;
        self.completions += 1;
        side.uevent(Uevent::of_bus(vec![
            ("BINDINGS", String::from("complete")),
            ("COMPLETECOUNT", self.completions.to_string()),
        ]));
    }
}

/// CONFIG=0 or 1.
pub(crate) fn config_event(device: Device, config: bool) -> Uevent {
    let value = u8::from(config).to_string();
    Uevent::of_device(Action::Change, device, vec![("CONFIG", value)])
}
