//! What a test needs from its surroundings.

use std::env;
use std::path::PathBuf;

/// A set of requirements that `cargo xtask test` may or may not have met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tier {
    /// /dev/fuse and the right to mount.
    Mount,
    /// mdevctl in the cache.
    Mdevctl,
    /// mdevctl 1.4 of a newer release in the cache, with its own C library.
    NewMdevctl,
    /// s390-tools for s390x and QEMU's user emulation in the cache.
    S390Tools,
    /// libvirt's daemon and client and udev in the cache, as a root; and being root.
    Libvirt,
    /// A setuid fusermount3 in the cache.
    Fusermount,
    /// The guest image in the cache.
    Guest,
    /// python3.
    Python,
}

impl Tier {
    fn variable(self) -> &'static str {
        match self {
            Self::Mount => "APMATRIX_TIER_MOUNT",
            Self::Mdevctl => "APMATRIX_TIER_MDEVCTL",
            Self::NewMdevctl => "APMATRIX_TIER_NEW_MDEVCTL",
            Self::S390Tools => "APMATRIX_TIER_S390_TOOLS",
            Self::Libvirt => "APMATRIX_TIER_LIBVIRT",
            Self::Fusermount => "APMATRIX_TIER_FUSERMOUNT",
            Self::Guest => "APMATRIX_TIER_GUEST",
            Self::Python => "APMATRIX_TIER_PYTHON",
        }
    }

    /// Whether the test may go on. Otherwise a line says that it was skipped.
    pub(crate) fn is_there(self) -> bool {
        if env::var_os(self.variable()).is_some() {
            return true;
        }
        let is_ci = env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "tier {self:?} is missing under CI=true");
        eprintln!("SKIPPED: tier {self:?} is not provided; run 'cargo xtask test'");
        false
    }
}

/// Folder with what was fetched for the tests.
pub(crate) fn cache() -> PathBuf {
    env::var_os("APMATRIX_TEST_CACHE")
        .map(PathBuf::from)
        .expect("set by cargo xtask test")
}
