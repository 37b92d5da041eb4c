//! Memory that two processes map, as a slice of atomic words.

#[cfg(not(feature = "loom"))]
pub(crate) use mapped::Memory;
#[cfg(feature = "loom")]
pub(crate) use modelled::Memory;

#[cfg(not(feature = "loom"))]
#[allow(
    unsafe_code,
    reason = "mapping memory, and looking at it as atomic words"
)]
mod mapped {
    use std::io;
    use std::ops::Deref;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU64;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate};
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    /// What keeps every page of a mapping in place: nobody can make the file shorter, so no access ever
    /// faults, and nobody can take that back.
    const STAYS: SealFlags = SealFlags::SHRINK
        .union(SealFlags::GROW)
        .union(SealFlags::SEAL);

    /// A mapping of memory that others may map too.
    #[derive(Debug)]
    pub(crate) struct Memory {
        address: NonNull<AtomicU64>,
        words: usize,
    }

    // SAFETY: the memory is accessed as atomic words only, which threads may share, and any thread may
    // unmap it.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// Makes memory of `words` zero words, and a descriptor by which another process maps it: for
        /// reading only unless `theirs_to_write`.
        ///
        /// # Errors
        /// When the system has no memory or no descriptor left, or lacks such seals.
        pub(crate) fn shared(
            words: usize,
            name: &str,
            theirs_to_write: bool,
        ) -> io::Result<(Self, OwnedFd)> {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let file = rustix::fs::memfd_create(name, flags)?;
            let bytes = words as u64 * 8;
            ftruncate(&file, bytes)?;
            let memory = Self::map(file.as_fd(), words, ProtFlags::READ | ProtFlags::WRITE)?;
            let seals = if theirs_to_write {
                STAYS
            } else {
                STAYS.union(SealFlags::FUTURE_WRITE)
            };
            fcntl_add_seals(&file, seals)?;
            Ok((memory, file))
        }

        /// Maps memory of at least `words` words that another process has made.
        ///
        /// # Errors
        /// It is shorter, could become so, or cannot be mapped.
        pub(crate) fn foreign(
            file: BorrowedFd<'_>,
            words: usize,
            ours_to_write: bool,
        ) -> io::Result<Self> {
            let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
            let seals = fcntl_get_seals(file)?;
            let is_sealed = seals.contains(SealFlags::SHRINK)
                && seals.contains(SealFlags::FUTURE_WRITE) != ours_to_write;
            if !is_sealed || size < words as u64 * 8 {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let access = if ours_to_write {
                ProtFlags::READ | ProtFlags::WRITE
            } else {
                ProtFlags::READ
            };
            Self::map(file, words, access)
        }

        /// Memory of `words` zero words that nobody shares.
        ///
        /// # Errors
        /// When the system has none.
        #[cfg(test)]
        pub(crate) fn private(words: usize) -> io::Result<Self> {
            Self::shared(words, "private", true).map(|(memory, _)| memory)
        }

        /// Maps the first `words` words of a file that has so many and keeps them.
        fn map(file: BorrowedFd<'_>, words: usize, access: ProtFlags) -> io::Result<Self> {
            // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
            let address = unsafe {
                mmap(
                    std::ptr::null_mut(),
                    words * 8,
                    access,
                    MapFlags::SHARED,
                    file,
                    0,
                )
            }?;
            let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self { address, words })
        }
    }

    impl Deref for Memory {
        type Target = [AtomicU64];

        fn deref(&self) -> &[AtomicU64] {
            // SAFETY: the mapping has `words` words, is aligned to a page, and lives as long as `self`.
            // It is backed by a file that cannot shrink, so every access succeeds. All accesses of this
            // process, and all that matter of another, are atomic. One that is mapped for reading is
            // stored to by nobody: see `ring::client`.
            unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.words) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and nobody borrows it any more.
            let _unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.words * 8) };
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::atomic::Ordering;

        #[test]
        fn the_other_end_sees_it_and_cannot_shorten_it() {
            let (ours, file) = Memory::shared(1024, "area", true).unwrap();
            let theirs = Memory::foreign(file.as_fd(), 1024, true).unwrap();
            theirs[7].store(9, Ordering::Relaxed);
            assert_eq!(ours[7].load(Ordering::Relaxed), 9);
            assert!(ftruncate(&file, 8).is_err() && ftruncate(&file, 1 << 20).is_err());
            assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err());
            assert!(Memory::foreign(file.as_fd(), 1025, true).is_err());
            assert!(Memory::foreign(file.as_fd(), 1024, false).is_err());
        }

        #[test]
        fn a_window_is_not_written_by_the_other_end() {
            let (ours, file) = Memory::shared(1024, "window", false).unwrap();
            ours[7].store(9, Ordering::Relaxed);
            assert!(Memory::foreign(file.as_fd(), 1024, true).is_err());
            assert!(rustix::io::pwrite(&file, &[1], 0).is_err());
            let punch =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            assert!(rustix::fs::fallocate(&file, punch, 0, 4096).is_err());
            let theirs = Memory::foreign(file.as_fd(), 1024, false).unwrap();
            assert_eq!(theirs[7].load(Ordering::Relaxed), 9);
        }

        #[test]
        fn memory_that_can_become_shorter_is_refused() {
            let file = rustix::fs::memfd_create("bad", MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&file, 8192).unwrap();
            assert!(Memory::foreign(file.as_fd(), 1024, true).is_err());
            let (reader, _writer) = rustix::pipe::pipe().unwrap();
            assert!(Memory::foreign(reader.as_fd(), 1, true).is_err());
        }
    }
}

/// Words of a model checker, shared by the threads of one model.
#[cfg(feature = "loom")]
mod modelled {
    use std::io;
    use std::ops::Deref;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::super::sync::AtomicU64;

    #[derive(Clone, Debug)]
    pub(crate) struct Memory(Arc<[AtomicU64]>);

    impl Memory {
        /// A model shares memory by cloning it.
        pub(crate) fn shared(_: usize, _: &str, _: bool) -> io::Result<(Self, OwnedFd)> {
            Err(io::ErrorKind::Unsupported.into())
        }

        #[cfg(test)]
        pub(crate) fn private(words: usize) -> io::Result<Self> {
            Ok(Self((0..words).map(|_| AtomicU64::new(0)).collect()))
        }
    }

    impl Deref for Memory {
        type Target = [AtomicU64];

        fn deref(&self) -> &[AtomicU64] {
            &self.0
        }
    }
}
