//! Real tools for the tests: Debian packages unpacked under `target/cache/roots`, nothing installed.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::sh::run;
use crate::test::{cache, program};

/// What libvirt's packages need by name and no test uses: x86 guests, sound, boot, configuration.
const LIBVIRT_UNUSED: &[&str] = &[
    "cron",
    "cron-daemon-common",
    "debconf",
    "dmidecode",
    "gettext-base",
    "ipxe-qemu",
    "libaio1t64",
    "libasound2-data",
    "libasound2t64",
    "libbrlapi0.8",
    "libcacard0",
    "libcapstone5",
    "libdaxctl1",
    "libfdt1",
    "libjpeg62-turbo",
    "libndctl6",
    "libpam-runtime",
    "libpcsclite1",
    "libpmem1",
    "libpng16-16t64",
    "librdmacm1t64",
    "libslirp0",
    "liburing2",
    "libusbredirparser1t64",
    "libvdeplug2t64",
    "logrotate",
    "openssl-provider-legacy",
    "pci.ids",
    "qemu-system-common",
    "qemu-system-data",
    "qemu-system-x86",
    "readline-common",
    "seabios",
    "sensible-utils",
    "sgml-base",
    "systemd-sysv",
    "xml-core",
];

/// mdevctl 1.4; the host's release may have 1.2.
pub(crate) fn new_mdevctl() -> Result<()> {
    unpack("mdevctl", "trixie", &["--skip", "debconf", "mdevctl"])
}

/// s390-tools for s390x, and what runs its programs here.
pub(crate) fn s390_tools() -> Result<()> {
    let tools = ["--arch", "s390x", "--alone", "s390-tools", "libc6"];
    unpack("s390-tools", "forky", &tools)?;
    // Statically linked: it needs no library of its release.
    unpack("qemu-user", "trixie", &["--alone", "qemu-user"])
}

/// libvirt's daemon, drivers and client, mdevctl and udev, with a shell: a root to chroot into.
pub(crate) fn libvirt() -> Result<()> {
    let id = Command::new("id").arg("-u").output()?;
    ensure!(id.stdout == b"0\n", "libvirt's daemon needs root (chroot)");
    let mut words = vec!["--alone", "dash", "--alone", "busybox-static"];
    for package in LIBVIRT_UNUSED {
        words.extend(["--skip", package]);
    }
    words.extend([
        "libvirt-daemon-driver-qemu",
        "libvirt-daemon-driver-nodedev",
        "libvirt-clients",
        "mdevctl",
        "udev",
    ]);
    // The first release whose libvirt knows the QEMU that the plugin needs.
    unpack("libvirt", "forky", &words)
}

fn unpack(name: &str, suite: &str, words: &[&str]) -> Result<()> {
    run(Command::new(program())
        .args(["guest", "packages", "--suite", suite, "--out"])
        .arg(cache().join("roots").join(name))
        .args(words))
}
