//! Error numbers of the Linux interfaces that the project reproduces.

use core::fmt;

macro_rules! errnos {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        /// An error number with its Linux value (the generic table: s390x and x86 agree on these).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Errno {
            $(#[doc = $text] $name = $value,)*
        }

        impl Errno {
            /// Every error number that the project uses.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name of errno(3), as transcripts print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What the error means, as strerror(3) would put it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such file or directory";
    EIO = 5, "input/output error";
    EBADF = 9, "bad file descriptor";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "permission denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "device or resource busy";
    EEXIST = 17, "already exists";
    ENODEV = 19, "no such device";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "is a directory";
    EINVAL = 22, "invalid argument";
    ERANGE = 34, "number out of range";
    ETIMEDOUT = 110, "timed out";
    EUSERS = 87, "too many users";
    EOPNOTSUPP = 95, "operation not supported";
    EADDRINUSE = 98, "address already in use";
    EADDRNOTAVAIL = 99, "address not available";
}

impl Errno {
    /// The Linux value, positive.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self as i32
    }

    /// The error with this Linux value, if the project uses it.
    #[must_use]
    pub fn from_raw(raw: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|errno| errno.raw() == raw)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_are_unique_and_round_trip() {
        for errno in Errno::ALL {
            assert_eq!(Errno::from_raw(errno.raw()), Some(*errno));
        }
    }
}
