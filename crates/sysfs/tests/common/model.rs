//! A small independent model of the host: sets of numbers and pairs, no masks, no index, no snapshot.
//! It is written from the specification alone and shares no code with the host.

use std::collections::{BTreeMap, BTreeSet};

use arch::Errno;

/// Members of one kind.
pub(crate) type Set = BTreeSet<u8>;

/// What a random sequence consists of. Numbers are small so that they meet.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(u8),
    Remove(u8),
    Assign(u8, Kind, u8),
    Unassign(u8, Kind, u8),
    Configure(u8, [Set; 3]),
    Mask(Axis, Vec<(bool, u8)>),
    MaskValue(Axis, Set),
    Bind(bool, u8, u8),
    Unbind(bool, u8, u8),
    Probe(u8, u8),
    Autoprobe(bool),
    Host([Set; 3]),
    Rescan,
    Open(u8, u8),
    Close(u8),
    Reset(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Adapter,
    Domain,
    Control,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Axis {
    Adapters,
    Domains,
}

/// Highest number of the modelled host; numbers one above it are tried too.
pub(crate) const MAX: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Host,
    Vfio,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Mdev {
    /// Adapters, usage domains, control domains.
    pub(crate) matrix: [Set; 3],
    pub(crate) view: [Set; 3],
    pub(crate) vm: Option<u8>,
    pub(crate) removing: bool,
}

impl Mdev {
    fn has(&self, (adapter, domain): (u8, u8)) -> bool {
        self.matrix[0].contains(&adapter) && self.matrix[1].contains(&domain)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) mdevs: BTreeMap<u8, Mdev>,
    /// Adapters, usage domains, control domains of the partition.
    pub(crate) host: [Set; 3],
    pub(crate) apmask: Set,
    pub(crate) aqmask: Set,
    pub(crate) queues: BTreeMap<(u8, u8), Option<Side>>,
    pub(crate) autoprobe: bool,
}

type Answer = Result<(), Errno>;

fn pairs(adapters: &Set, domains: &Set) -> Vec<(u8, u8)> {
    adapters
        .iter()
        .flat_map(|a| domains.iter().map(|d| (*a, *d)))
        .collect()
}

impl Model {
    pub(crate) fn boot(host: [Set; 3]) -> Self {
        let queues = pairs(&host[0], &host[1])
            .into_iter()
            .map(|pair| (pair, Some(Side::Host)))
            .collect();
        let all = (0..=255).collect::<Set>();
        Self {
            mdevs: BTreeMap::new(),
            host,
            apmask: all.clone(),
            aqmask: all,
            queues,
            autoprobe: true,
        }
    }

    fn side(&self, (adapter, domain): (u8, u8)) -> Side {
        let reserved = self.apmask.contains(&adapter) && self.aqmask.contains(&domain);
        if reserved { Side::Host } else { Side::Vfio }
    }

    fn refilter(&mut self, name: u8) {
        let Some(mdev) = self.mdevs.get(&name) else {
            return;
        };
        let domains: Set = mdev.matrix[1]
            .intersection(&self.host[1])
            .copied()
            .collect();
        let passable = |a: &u8| {
            domains
                .iter()
                .all(|d| self.queues.get(&(*a, *d)) == Some(&Some(Side::Vfio)))
        };
        let adapters = mdev.matrix[0]
            .intersection(&self.host[0])
            .copied()
            .filter(passable)
            .collect();
        if let Some(mdev) = self.mdevs.get_mut(&name) {
            mdev.view[0] = adapters;
            mdev.view[1] = domains;
        }
    }

    fn refilter_control(&mut self, name: u8) {
        let host = self.host[2].clone();
        if let Some(mdev) = self.mdevs.get_mut(&name) {
            mdev.view[2] = mdev.matrix[2].intersection(&host).copied().collect();
        }
    }

    fn owner(&self, pair: (u8, u8)) -> Option<u8> {
        self.mdevs
            .iter()
            .find(|(_, mdev)| mdev.has(pair))
            .map(|(name, _)| *name)
    }

    fn give(&mut self, pair: (u8, u8), side: Side) {
        self.queues.insert(pair, Some(side));
        if let (Side::Vfio, Some(name)) = (side, self.owner(pair)) {
            self.refilter(name);
        }
    }

    fn take(&mut self, pair: (u8, u8)) {
        let side = self.queues.insert(pair, None).flatten();
        if let (Some(Side::Vfio), Some(name)) = (side, self.owner(pair)) {
            let mdev = self.mdevs.entry(name).or_default();
            if mdev.view[1].contains(&pair.1) {
                mdev.view[0].remove(&pair.0);
            }
        }
    }

    fn known(&mut self, name: u8) -> Result<&mut Mdev, Errno> {
        self.mdevs.get_mut(&name).ok_or(Errno::ENOENT)
    }

    fn check(&self, name: u8, adapters: &Set, domains: &Set) -> Answer {
        let product = pairs(adapters, domains);
        if product.iter().any(|pair| self.side(*pair) == Side::Host) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if product
            .iter()
            .any(|pair| self.owner(*pair).is_some_and(|owner| owner != name))
        {
            return Err(Errno::EADDRINUSE);
        }
        Ok(())
    }

    /// Performs one operation; the answer is what the write or the command answers.
    pub(crate) fn perform(&mut self, op: &Op) -> Answer {
        match op {
            Op::Create(name) => {
                if self.mdevs.contains_key(name) {
                    return Err(Errno::EEXIST);
                }
                self.mdevs.insert(*name, Mdev::default());
            }
            Op::Remove(name) => {
                let mdev = self.known(*name)?;
                if mdev.removing {
                    return Err(Errno::EAGAIN);
                }
                mdev.removing = mdev.vm.is_some();
                if !mdev.removing {
                    self.mdevs.remove(name);
                }
            }
            Op::Assign(name, kind, number) => return self.assign(*name, *kind, *number),
            Op::Unassign(name, kind, number) => {
                let mdev = self.known(*name)?;
                if *number > MAX {
                    return Err(Errno::ENODEV);
                }
                mdev.matrix[*kind as usize].remove(number);
                mdev.view[*kind as usize].remove(number);
            }
            Op::Configure(name, new) => {
                self.known(*name)?;
                self.check(*name, &new[0], &new[1])?;
                if new.iter().flatten().any(|number| *number > MAX) {
                    return Err(Errno::ENODEV);
                }
                self.known(*name)?.matrix = new.clone();
                self.refilter(*name);
                self.refilter_control(*name);
            }
            Op::Mask(axis, terms) => {
                let mut mask = self.mask(*axis).clone();
                for (set, number) in terms {
                    if *set {
                        mask.insert(*number)
                    } else {
                        mask.remove(number)
                    };
                }
                return self.set_mask(*axis, mask);
            }
            Op::MaskValue(axis, mask) => return self.set_mask(*axis, mask.clone()),
            Op::Bind(vfio, adapter, domain) => {
                let side = if *vfio { Side::Vfio } else { Side::Host };
                match self.queues.get(&(*adapter, *domain)) {
                    None => return Err(Errno::ENODEV),
                    Some(Some(_)) => return Err(Errno::EBUSY),
                    Some(None) if self.side((*adapter, *domain)) != side => {
                        return Err(Errno::ENODEV);
                    }
                    Some(None) => self.give((*adapter, *domain), side),
                }
            }
            Op::Unbind(vfio, adapter, domain) => {
                let side = if *vfio { Side::Vfio } else { Side::Host };
                if self.queues.get(&(*adapter, *domain)) != Some(&Some(side)) {
                    return Err(Errno::ENODEV);
                }
                self.take((*adapter, *domain));
            }
            Op::Probe(adapter, domain) => match self.queues.get(&(*adapter, *domain)) {
                None => return Err(Errno::ENODEV),
                Some(Some(_)) => {}
                Some(None) => {
                    let pair = (*adapter, *domain);
                    self.give(pair, self.side(pair));
                }
            },
            Op::Autoprobe(on) => self.autoprobe = *on,
            Op::Host(host) => self.change_host(host),
            Op::Rescan => {}
            Op::Open(name, vm) => {
                let taken = self.mdevs.values().any(|mdev| mdev.vm == Some(*vm));
                let mdev = self.known(*name).map_err(|_| Errno::ENODEV)?;
                match mdev.vm {
                    _ if mdev.removing => return Err(Errno::EAGAIN),
                    Some(_) => return Err(Errno::EBUSY),
                    None if taken => return Err(Errno::EPERM),
                    None => mdev.vm = Some(*vm),
                }
            }
            Op::Close(name) => {
                let mdev = self.known(*name).map_err(|_| Errno::ENODEV)?;
                if mdev.vm.take().is_none() {
                    return Err(Errno::EINVAL);
                }
                if mdev.removing {
                    self.mdevs.remove(name);
                }
            }
            Op::Reset(name) => {
                let mdev = self.known(*name).map_err(|_| Errno::ENODEV)?;
                return mdev.vm.map(|_| ()).ok_or(Errno::EINVAL);
            }
        }
        Ok(())
    }

    fn assign(&mut self, name: u8, kind: Kind, number: u8) -> Answer {
        let mdev = self.known(name)?;
        if number > MAX {
            return Err(Errno::ENODEV);
        }
        if mdev.matrix[kind as usize].contains(&number) {
            return Ok(());
        }
        let mut new = mdev.matrix.clone();
        new[kind as usize].insert(number);
        if kind != Kind::Control {
            self.check(name, &new[0], &new[1])?;
        }
        self.known(name)?.matrix = new;
        if kind == Kind::Control {
            self.refilter_control(name);
        } else {
            self.refilter(name);
        }
        Ok(())
    }

    fn mask(&self, axis: Axis) -> &Set {
        match axis {
            Axis::Adapters => &self.apmask,
            Axis::Domains => &self.aqmask,
        }
    }

    fn set_mask(&mut self, axis: Axis, mask: Set) -> Answer {
        let old = self.mask(axis).clone();
        if mask == old {
            return Ok(());
        }
        let newly: Set = mask.difference(&old).copied().collect();
        let in_use = |mdev: &Mdev| {
            let (mine, other) = match axis {
                Axis::Adapters => (&mdev.matrix[0], &mdev.matrix[1]),
                Axis::Domains => (&mdev.matrix[1], &mdev.matrix[0]),
            };
            !other.is_empty() && !mine.is_disjoint(&newly)
        };
        if self.mdevs.values().any(in_use) {
            return Err(Errno::EBUSY);
        }
        match axis {
            Axis::Adapters => self.apmask = mask,
            Axis::Domains => self.aqmask = mask,
        }
        for pair in self.queues.keys().copied().collect::<Vec<_>>() {
            let side = self.side(pair);
            match self.queues.get(&pair).copied().flatten() {
                None if side == Side::Vfio => self.give(pair, side),
                Some(now) if now != side => {
                    self.take(pair);
                    self.give(pair, side);
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }

    fn change_host(&mut self, new: &[Set; 3]) {
        let old = std::mem::replace(&mut self.host, new.clone());
        for mdev in self.mdevs.values_mut() {
            for (view, host) in mdev.view.iter_mut().zip(new) {
                view.retain(|number| host.contains(number));
            }
        }
        let wanted: BTreeSet<(u8, u8)> = pairs(&new[0], &new[1]).into_iter().collect();
        self.queues.retain(|pair, _| wanted.contains(pair));
        for pair in wanted {
            if !self.queues.contains_key(&pair) {
                let side = self.autoprobe.then(|| self.side(pair));
                self.queues.insert(pair, side);
            }
        }
        for name in self.mdevs.keys().copied().collect::<Vec<_>>() {
            let gains = |i: usize| {
                let mdev = &self.mdevs[&name];
                mdev.matrix[i]
                    .iter()
                    .any(|n| new[i].contains(n) && !old[i].contains(n))
            };
            let (queues, control) = (gains(0) || gains(1), gains(2));
            if queues {
                self.refilter(name);
            }
            if control {
                self.refilter_control(name);
            }
        }
    }
}
