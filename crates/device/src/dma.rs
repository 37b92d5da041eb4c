//! The guest's addresses, as the VMM told them by `DMA_MAP` and `DMA_UNMAP` (spec 5.7).
//!
//! No memory is behind an entry: the table answers whether the guest has an address at all, which is
//! what "the page can be pinned" means here.

use std::collections::BTreeMap;

use arch::Errno;

use crate::backend::DmaRange;

/// The most ranges of a guest: a guest's memory is a few, and a hostile VMM is bounded.
const MOST: usize = 4096;

/// Ranges of guest addresses that do not overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DmaTable {
    /// By first address.
    ranges: BTreeMap<u64, DmaRange>,
}

impl DmaTable {
    /// Enters a range.
    ///
    /// # Errors
    /// EINVAL when it is empty or beyond 2^64, EEXIST when it overlaps another one, EUSERS when the
    /// table is full.
    pub fn map(&mut self, range: DmaRange) -> Result<(), Errno> {
        let last = last(&range).ok_or(Errno::EINVAL)?;
        if self.first_within(range.address, last).is_some() {
            return Err(Errno::EEXIST);
        }
        if self.ranges.len() >= MOST {
            return Err(Errno::EUSERS);
        }
        self.ranges.insert(range.address, range);
        Ok(())
    }

    /// Takes out every entry of a range. Entries go as a whole.
    ///
    /// # Errors
    /// EINVAL when the range is empty, beyond 2^64, or would cut an entry in two; ENOENT when it has
    /// no entry. Nothing changed.
    pub fn unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        let end = last(&range).ok_or(Errno::EINVAL)?;
        let first = self.first_within(range.address, end).ok_or(Errno::ENOENT)?;
        let highest = self.ranges.range(..=end).next_back();
        let cut = highest.is_some_and(|(_, entry)| last(entry).is_none_or(|last| last > end));
        if first.address < range.address || cut {
            return Err(Errno::EINVAL);
        }
        self.ranges
            .retain(|address, _| !(range.address..=end).contains(address));
        Ok(())
    }

    /// The range that an address is in: the guest has it.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&DmaRange> {
        self.first_within(address, address)
    }

    /// The entry with the lowest address of those that overlap `first..=end`.
    fn first_within(&self, first: u64, end: u64) -> Option<&DmaRange> {
        let before = self.ranges.range(..first).next_back();
        let before = before.filter(|(_, entry)| last(entry).is_some_and(|last| last >= first));
        let within = || self.ranges.range(first..=end).next();
        before.or_else(within).map(|(_, entry)| entry)
    }
}

/// The last address of a range, if it is one.
fn last(range: &DmaRange) -> Option<u64> {
    range.address.checked_add(range.length.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: u64, length: u64) -> DmaRange {
        DmaRange {
            address,
            length,
            readable: true,
            writable: true,
        }
    }

    #[test]
    fn ranges_never_overlap_and_go_as_a_whole() {
        let mut table = DmaTable::default();
        for good in [range(0, 0x1000), range(0x2000, 0x1000), range(u64::MAX, 1)] {
            assert_eq!(table.map(good), Ok(()));
        }
        let before = table.clone();
        for (bad, errno) in [
            (range(0, 0x1000), Errno::EEXIST),
            (range(0xfff, 1), Errno::EEXIST),
            (range(0x1fff, 2), Errno::EEXIST),
            (range(0x1000, u64::MAX - 0x1000), Errno::EEXIST),
            (range(0x5000, 0), Errno::EINVAL),
            (range(u64::MAX, 2), Errno::EINVAL),
        ] {
            assert_eq!(table.map(bad), Err(errno), "{bad:?}");
        }
        for (bad, errno) in [
            (range(0x1000, 0x1000), Errno::ENOENT),
            (range(0x800, 0x800), Errno::EINVAL),
            (range(0, 0x800), Errno::EINVAL),
            (range(0, 0x2800), Errno::EINVAL),
            (range(0x2800, 0x1000), Errno::EINVAL),
            (range(0, 0), Errno::EINVAL),
        ] {
            assert_eq!(table.unmap(bad), Err(errno), "{bad:?}");
        }
        assert_eq!(table, before, "a refusal changes nothing");
        assert_eq!(table.find(0x2fff), Some(&range(0x2000, 0x1000)));
        assert_eq!(table.find(0x1000), None);
        assert_eq!(table.find(u64::MAX), Some(&range(u64::MAX, 1)));
        assert_eq!(table.unmap(range(0, 0x3000)), Ok(()));
        assert_eq!(table.find(0), None);
        assert_eq!(table.unmap(range(u64::MAX, 1)), Ok(()));
        assert_eq!(table, DmaTable::default());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = DmaTable::default();
        for number in 0..MOST as u64 {
            assert_eq!(table.map(range(number * 2, 1)), Ok(()));
        }
        assert_eq!(table.map(range(1, 1)), Err(Errno::EUSERS));
        assert_eq!(
            table.map(range(2, 1)),
            Err(Errno::EEXIST),
            "the first check"
        );
    }
}
