//! Create, remove, open, close and reset of mdevs (spec 3.2, 5.1, 5.2, 5.3, 5.6).

use bus::{Action, Uevent};

use crate::driver::Driver;
use crate::effect::{Effect, Outcome};
use crate::error::MatrixError;
use crate::mdev::{Limits, Mdev, MdevUuid, Serial, Usage, VmId};

impl Driver<'_> {
    pub(crate) fn create(&mut self, uuid: MdevUuid) -> Result<(), MatrixError> {
        if self.state.mdevs.contains_key(&uuid) {
            return Err(MatrixError::Exists(uuid));
        }
        if self.state.available_instances() == 0 {
            return Err(MatrixError::NoInstances(self.state.mdevs.size()));
        }
        let serial = self.state.next_serial;
        self.state.next_serial = Serial(serial.0 + 1);
        let group = self.state.take_group(serial);
        let mdev = Mdev::new(serial, group, Limits::of(&self.state.config));
        self.state.mdevs.insert_mut(uuid, mdev);
        self.state.serials.insert_mut(serial, uuid);
        self.effects.push(Effect::Created(uuid));
        self.tell(Action::Add, uuid);
        Ok(())
    }

    /// A non-zero number written to `remove`. While a guest is attached its masks go at once and it
    /// is asked to let go; the removal then waits for the close.
    pub(crate) fn remove_mdev(&mut self, uuid: MdevUuid) -> Result<Outcome, MatrixError> {
        match self.state.get(uuid)?.usage.clone() {
            Usage::Removing(_) | Usage::Leaving => Err(MatrixError::BeingRemoved(uuid)),
            Usage::Idle => self.drop_mdev(uuid),
            Usage::Closing => {
                self.state.get_mut(uuid)?.usage = Usage::Leaving;
                Ok(Outcome::Pending(uuid))
            }
            Usage::Open(vm) => {
                self.state.get_mut(uuid)?.usage = Usage::Removing(vm);
                self.request_release(uuid)?;
                Ok(Outcome::Pending(uuid))
            }
        }
    }

    /// Asks the guest of an mdev that is being removed to let go.
    pub(crate) fn request_release(&mut self, uuid: MdevUuid) -> Result<(), MatrixError> {
        if !matches!(self.state.get(uuid)?.usage, Usage::Removing(_)) {
            return Err(MatrixError::NotOpen(uuid));
        }
        self.platform.clear_masks(uuid);
        self.effects.push(Effect::ConfigChanged(uuid));
        self.effects.push(Effect::ReleaseRequest(uuid));
        Ok(())
    }

    /// Removes an mdev that nobody has: all linked queues are reset, then it is gone.
    fn drop_mdev(&mut self, uuid: MdevUuid) -> Result<Outcome, MatrixError> {
        let matrix = self.state.get(uuid)?.matrix;
        self.reset_bound(&matrix);
        if self.hold(uuid, &matrix) {
            self.state.get_mut(uuid)?.usage = Usage::Leaving;
            return Ok(Outcome::Pending(uuid));
        }
        self.forget_mdev(uuid);
        Ok(Outcome::Done)
    }

    /// The end of a removal.
    pub(crate) fn forget_mdev(&mut self, uuid: MdevUuid) {
        let Some(mdev) = self.state.mdevs.get(&uuid) else {
            return;
        };
        let (serial, group, matrix) = (mdev.serial, mdev.group, mdev.matrix);
        self.state.owners.release(matrix.apm, matrix.aqm);
        self.state.give_group_back(group);
        self.state.serials.remove_mut(&serial);
        self.state.mdevs.remove_mut(&uuid);
        self.tell(Action::Remove, uuid);
        self.effects.push(Effect::Removed(uuid));
    }

    /// A VMM opens the device: its VM gets the present view, also an empty one. Nothing is filtered
    /// and nothing is reset.
    pub(crate) fn open(&mut self, uuid: MdevUuid, vm: Option<VmId>) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        match &mdev.usage {
            Usage::Removing(_) | Usage::Leaving => {
                return Err(MatrixError::BeingRemoved(uuid));
            }
            Usage::Closing => return Err(MatrixError::StillResetting(uuid)),
            Usage::Open(vm) => {
                return Err(MatrixError::AlreadyOpen {
                    mdev: uuid,
                    vm: vm.clone(),
                });
            }
            Usage::Idle => {}
        }
        let vm = vm.ok_or(MatrixError::NoVm(uuid))?;
        if let Some(holder) = self.state.mdev_of_vm(&vm) {
            return Err(MatrixError::VmTaken { vm, holder });
        }
        self.platform
            .set_masks(uuid, &mdev.view)
            .map_err(|conflict| MatrixError::GuestConflict {
                mdev: uuid,
                conflict,
            })?;
        self.state.vms.insert_mut(vm.clone(), uuid);
        self.state.get_mut(uuid)?.usage = Usage::Open(vm);
        self.effects.push(Effect::ConfigChanged(uuid));
        Ok(())
    }

    /// The VMM lets go: masks cleared, all linked queues reset. The view stays. Completes a removal
    /// that waited for it.
    pub(crate) fn close(&mut self, uuid: MdevUuid) -> Result<(), MatrixError> {
        let mdev = self.state.get_mut(uuid)?;
        let matrix = mdev.matrix;
        let (vm, removing) = match &mdev.usage {
            Usage::Idle | Usage::Closing | Usage::Leaving => {
                return Err(MatrixError::NotOpen(uuid));
            }
            Usage::Open(vm) => (vm.clone(), false),
            Usage::Removing(vm) => (vm.clone(), true),
        };
        mdev.usage = Usage::Idle;
        self.state.vms.remove_mut(&vm);
        self.platform.clear_masks(uuid);
        if removing {
            self.drop_mdev(uuid)?;
            return Ok(());
        }
        self.reset_bound(&matrix);
        if self.hold(uuid, &matrix) {
            self.state.get_mut(uuid)?.usage = Usage::Closing;
        }
        Ok(())
    }

    /// The RESET request: resets all linked queues.
    pub(crate) fn reset_device(&mut self, uuid: MdevUuid) -> Result<(), MatrixError> {
        let mdev = self.state.get(uuid)?;
        if !matches!(mdev.usage, Usage::Open(_) | Usage::Removing(_)) {
            return Err(MatrixError::NotOpen(uuid));
        }
        let matrix = mdev.matrix;
        self.reset_bound(&matrix);
        Ok(())
    }

    fn tell(&mut self, action: Action, uuid: MdevUuid) {
        self.effects.push(Effect::Uevent(Uevent {
            action,
            path: format!("/devices/vfio_ap/matrix/{uuid}"),
            subsystem: "mdev",
            properties: Vec::new(),
        }));
    }
}
