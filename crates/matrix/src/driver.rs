//! `vfio_ap` at work: its state, the platform under it, and the effects so far.

use arch::instruction::{Instruction, Outcome};
use arch::{
    AdapterMask, ApInstructions, Apcb, Apqn, ControlMask, Facilities, QciBlock, ResponseCode,
    UsageMask,
};
use bus::{InUse, QueueDriver, Uevent};

use crate::effect::Effect;
use crate::mdev::MdevUuid;
use crate::platform::Platform;
use crate::state::State;

/// What the methods of `vfio_ap` work on. It lives for one command.
pub(crate) struct Driver<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) platform: &'a mut dyn Platform,
    pub(crate) effects: &'a mut Vec<Effect>,
    /// Queues whose reset this command asked for.
    pub(crate) began: Vec<Apqn>,
}

impl ApInstructions for Driver<'_> {
    fn facilities(&self) -> Facilities {
        self.platform.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.platform.execute(instruction, reply)
    }
}

impl QueueDriver for Driver<'_> {
    fn uevent(&mut self, event: Uevent) {
        self.effects.push(Effect::Uevent(event));
    }

    fn in_use(&self, apm: AdapterMask, aqm: UsageMask) -> Option<InUse> {
        let mut taken = self.state.owners.taken(apm, aqm);
        let (first, _) = taken.next()?;
        let holder = self.state.owner(first)?;
        let queues = 1 + taken.count();
        Some(InUse {
            first,
            holder: format!("mdev {holder}"),
            queues,
        })
    }

    /// Spec 4.3. A queue that belongs to nobody is only remembered.
    fn probe(&mut self, apqn: Apqn) {
        // A queue that vfio_ap had until now may still be in the reset of that time.
        let reset = self.state.resets.get(&apqn);
        let status = reset.map_or(ResponseCode::NORMAL, |reset| reset.status);
        self.state.queues.insert_mut(apqn, status);
        let Some(uuid) = self.state.owner(apqn) else {
            return;
        };
        if self
            .state
            .mdev(uuid)
            .is_some_and(|mdev| !mdev.awaits_queues())
        {
            self.refilter_queues(uuid);
        }
    }

    /// Spec 4.4: a visible queue takes its whole adapter out of the guest's view.
    fn remove(&mut self, apqn: Apqn) {
        let visible = self.state.owner(apqn).filter(|uuid| {
            self.state
                .mdev(*uuid)
                .is_some_and(|mdev| mdev.view.contains(apqn))
        });
        let config = &self.state.config;
        if let Some(uuid) = visible {
            self.hide_adapter(uuid, apqn);
        } else if config.apm.contains(apqn.apid) && config.aqm.contains(apqn.apqi) {
            self.reset_queue(apqn);
        }
        self.state.queues.remove_mut(&apqn);
    }

    fn on_config_changed(&mut self, new: &QciBlock, _old: &QciBlock) {
        self.lose_and_promise(new);
    }

    fn on_scan_complete(&mut self, _new: &QciBlock, _old: &QciBlock) {
        self.keep_promises();
    }
}

impl Driver<'_> {
    fn hide_adapter(&mut self, uuid: MdevUuid, apqn: Apqn) {
        let Some(mdev) = self.state.mdevs.get_mut(&uuid) else {
            return;
        };
        let mut adapter = Apcb {
            aqm: mdev.view.aqm,
            ..Apcb::EMPTY
        };
        adapter.apm.insert(apqn.apid);
        mdev.view.apm.remove(apqn.apid);
        self.update_guest(uuid);
        self.reset_bound(&adapter);
    }

    /// Gives an attached guest its view, and says so. Without a guest nothing is visible; a guest
    /// that is being asked to let go gets nothing back (quirk K16).
    pub(crate) fn update_guest(&mut self, uuid: MdevUuid) {
        let Some(mdev) = self.state.mdevs.get(&uuid) else {
            return;
        };
        if mdev.guest().is_none() {
            return;
        }
        if let Err(conflict) = self.platform.set_masks(uuid, &mdev.view) {
            let line = format!("the masks of the guest of {uuid} were not changed: {conflict}");
            self.effects.push(Effect::Log(line));
            return;
        }
        self.effects.push(Effect::ConfigChanged(uuid));
    }

    /// Takes adapters and domains out of a guest's view; whether the view changed.
    pub(crate) fn shrink_view(
        &mut self,
        uuid: MdevUuid,
        apm: AdapterMask,
        aqm: UsageMask,
        adm: ControlMask,
    ) -> bool {
        let Some(mdev) = self.state.mdevs.get_mut(&uuid) else {
            return false;
        };
        let view = Apcb {
            apm: mdev.view.apm - apm,
            aqm: mdev.view.aqm - aqm,
            adm: mdev.view.adm - adm,
        };
        let changed = view != mdev.view;
        mdev.view = view;
        changed
    }
}
