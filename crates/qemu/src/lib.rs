// SPDX-License-Identifier: GPL-2.0-or-later
//! `libapmatrix_qemu.so`: a plugin that gives an s390x guest of stock QEMU (TCG, 11.1 or newer) the
//! AP instructions, served by the daemon over a device channel.
//!
//! ```text
//!   qemu-system-s390x -plugin libapmatrix_qemu.so,socket=RUN/mdev/UUID.sock,cpu-features=ap+apft+apqci
//! ```
//!
//! | module | holds | touches QEMU |
//! |---|---|---|
//! | `options` | the arguments | no |
//! | `cpu` | the trait of a virtual CPU, its PSW | no |
//! | `intercept` | PQAP, NQAP, DQAP | no |
//! | `exception` | program interruptions | no |
//! | `stfle` | facility bits | no |
//! | `reset` | the guest starts anew | no |
//! | `events`, `poke` | what the host tells, and waking an idle guest | no |
//! | `pending`, `report` | what waits to be delivered | no |
//! | `machine_check` | the interruption that says "channel report pending" | no |
//! | `adapter`, `wait` | adapter interruptions; the wait for them | no |
//! | `css`, `lpswe` | STCRW and CHSC; where interruptions are delivered | no |
//! | `timer` | what a CPU timer is now | no |
//! | `psw` | PSWs and their places in low core | no |
//! | `plugin` | the connection and shared state | no |
//! | `keeper` | the thread that sees to the connection | no |
//! | `say` | messages | no |
//! | `ffi`, `vcpu`, `board`, `blocks`, `callbacks` | QEMU's interface | yes |
//!
//! The modules that touch QEMU are not part of a test build, because their symbols only exist
//! inside QEMU; everything else is tested against a CPU made of arrays.
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "the callbacks that use it are not in a test build"
    )
)]

mod adapter;
#[cfg(not(test))]
mod blocks;
#[cfg(not(test))]
mod board;
#[cfg(not(test))]
mod callbacks;
mod cpu;
mod css;
#[cfg(test)]
mod delivery_tests;
mod events;
mod exception;
#[cfg(not(test))]
mod ffi;
mod intercept;
mod keeper;
mod lpswe;
mod machine_check;
mod options;
mod pending;
mod plugin;
mod poke;
mod psw;
mod report;
mod reset;
mod say;
mod stfle;
mod timer;
#[cfg(not(test))]
mod vcpu;
mod wait;
