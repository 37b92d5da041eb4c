//! What `vfio_ap` remembers, and read access to it.

use arch::{Apcb, Apqn, QciBlock, ResponseCode};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::error::MatrixError;
use crate::mdev::{Group, Mdev, MdevUuid, Serial, Usage, VmId};
use crate::owners::Owners;
use crate::reset::Reset;

/// The most mdevs that can exist: 256 adapters x 256 domains (spec 3.2).
pub const MAX_INSTANCES: usize = 65536;

/// The matrix device with its mdevs and the queues bound to `vfio_ap`. `Clone` copies a few pointers.
///
/// A queue is *linked* to an mdev when it is bound to `vfio_ap` and assigned to the mdev. That is
/// derived here and never stored, so there is no link that could go stale (quirk K14).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// `vfio_ap`'s own copy of the host's configuration; empty without QCI (spec 4.1).
    pub(crate) config: QciBlock,
    pub(crate) mdevs: RedBlackTreeMapSync<MdevUuid, Mdev>,
    pub(crate) serials: RedBlackTreeMapSync<Serial, MdevUuid>,
    pub(crate) owners: Owners,
    /// Queues bound to `vfio_ap` and how their last reset ended.
    pub(crate) queues: RedBlackTreeMapSync<Apqn, ResponseCode>,
    /// Resets that have not ended.
    pub(crate) resets: RedBlackTreeMapSync<Apqn, Reset>,
    pub(crate) vms: RedBlackTreeMapSync<VmId, MdevUuid>,
    pub(crate) next_serial: Serial,
    pub(crate) groups: RedBlackTreeMapSync<Group, Serial>,
    /// Groups below the highest ever used that are free again.
    pub(crate) free_groups: RedBlackTreeSetSync<Group>,
    /// Whether unassign re-filters; Linux does not (quirk K2).
    pub(crate) refilter_on_unassign: bool,
}

/// The words of a queue's `status` file (spec 3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueUse {
    /// In no mdev's matrix.
    Unassigned,
    /// In an mdev's matrix.
    Assigned,
    /// In the view of an attached guest.
    InUse,
}

impl State {
    pub(crate) fn new(refilter_on_unassign: bool) -> Self {
        Self {
            config: QciBlock::EMPTY,
            mdevs: RedBlackTreeMapSync::new_sync(),
            serials: RedBlackTreeMapSync::new_sync(),
            owners: Owners::new(),
            queues: RedBlackTreeMapSync::new_sync(),
            resets: RedBlackTreeMapSync::new_sync(),
            vms: RedBlackTreeMapSync::new_sync(),
            next_serial: Serial(0),
            groups: RedBlackTreeMapSync::new_sync(),
            free_groups: RedBlackTreeSetSync::new_sync(),
            refilter_on_unassign,
        }
    }

    /// The host's configuration as `vfio_ap` sees it.
    #[must_use]
    pub const fn config(&self) -> &QciBlock {
        &self.config
    }

    /// An mdev.
    #[must_use]
    pub fn mdev(&self, uuid: MdevUuid) -> Option<&Mdev> {
        self.mdevs.get(&uuid)
    }

    /// All mdevs, ascending by UUID.
    pub fn mdevs(&self) -> impl Iterator<Item = (MdevUuid, &Mdev)> {
        self.mdevs.iter().map(|(uuid, mdev)| (*uuid, mdev))
    }

    /// The mdev with this number.
    #[must_use]
    pub fn by_serial(&self, serial: Serial) -> Option<(MdevUuid, &Mdev)> {
        let uuid = *self.serials.get(&serial)?;
        self.mdevs.get(&uuid).map(|mdev| (uuid, mdev))
    }

    /// The mdev with this IOMMU group.
    #[must_use]
    pub fn by_group(&self, group: Group) -> Option<Serial> {
        self.groups.get(&group).copied()
    }

    /// All IOMMU groups and their mdevs, ascending.
    pub fn groups(&self) -> impl Iterator<Item = (Group, Serial)> {
        self.groups.iter().map(|(group, serial)| (*group, *serial))
    }

    /// Takes the lowest free group.
    pub(crate) fn take_group(&mut self, serial: Serial) -> Group {
        let group = match self.free_groups.first().copied() {
            Some(group) => {
                self.free_groups.remove_mut(&group);
                group
            }
            // Without free groups the used ones are 0, 1, ... without a gap.
            None => self
                .groups
                .last()
                .map_or(Group(0), |(group, _)| Group(group.0 + 1)),
        };
        self.groups.insert_mut(group, serial);
        group
    }

    pub(crate) fn give_group_back(&mut self, group: Group) {
        self.groups.remove_mut(&group);
        self.free_groups.insert_mut(group);
    }

    /// One more than the highest group ever used.
    pub(crate) fn groups_used(&self) -> u32 {
        let next = |group: Option<Group>| group.map_or(0, |group| group.0 + 1);
        let used = self.groups.last().map(|(group, _)| *group);
        next(used).max(next(self.free_groups.last().copied()))
    }

    /// How many more mdevs can be created.
    #[must_use]
    pub fn available_instances(&self) -> usize {
        MAX_INSTANCES.saturating_sub(self.mdevs.size())
    }

    /// The mdev to whose matrix a queue belongs, bound or not.
    #[must_use]
    pub fn owner(&self, apqn: Apqn) -> Option<MdevUuid> {
        self.owners
            .get(apqn)
            .and_then(|serial| self.serials.get(&serial))
            .copied()
    }

    /// The mdev that a VM has.
    #[must_use]
    pub fn mdev_of_vm(&self, vm: &VmId) -> Option<MdevUuid> {
        self.vms.get(vm).copied()
    }

    /// Whether a queue is bound to `vfio_ap`, and how its last reset ended.
    #[must_use]
    pub fn reset_status(&self, apqn: Apqn) -> Option<ResponseCode> {
        self.queues.get(&apqn).copied()
    }

    /// What the `status` file of a queue says.
    #[must_use]
    pub fn queue_use(&self, apqn: Apqn) -> QueueUse {
        let Some(mdev) = self.owner(apqn).and_then(|uuid| self.mdevs.get(&uuid)) else {
            return QueueUse::Unassigned;
        };
        let held = matches!(mdev.usage, Usage::Open(_) | Usage::Removing(_));
        if held && mdev.view.contains(apqn) {
            QueueUse::InUse
        } else {
            QueueUse::Assigned
        }
    }

    pub(crate) fn get(&self, uuid: MdevUuid) -> Result<&Mdev, MatrixError> {
        self.mdevs.get(&uuid).ok_or(MatrixError::UnknownMdev(uuid))
    }

    pub(crate) fn get_mut(&mut self, uuid: MdevUuid) -> Result<&mut Mdev, MatrixError> {
        self.mdevs
            .get_mut(&uuid)
            .ok_or(MatrixError::UnknownMdev(uuid))
    }

    /// The queues of `product` that are bound to `vfio_ap`, ascending.
    pub(crate) fn bound_within(&self, product: &Apcb) -> Vec<Apqn> {
        product
            .queues()
            .filter(|apqn| self.queues.contains_key(apqn))
            .collect()
    }

    /// The queues of `product` that another mdev than `serial` has, with their owners.
    pub(crate) fn foreign_queues(&self, product: &Apcb, serial: Serial) -> Vec<(Apqn, MdevUuid)> {
        self.owners
            .taken(product.apm, product.aqm)
            .filter(|(_, owner)| *owner != serial)
            .filter_map(|(apqn, owner)| Some((apqn, *self.serials.get(&owner)?)))
            .collect()
    }
}
