//! `devices/vfio_ap/matrix/UUID` (spec 3.3 to 3.6).

use std::fmt::Write as _;

use arch::mask_text::parse_absolute;
use arch::{AdapterMask, Apcb, ControlMask, Errno, UsageMask};
use matrix::{Command, MemberKind};

use crate::attribute::{Attribute, Reading, Writing, store_uevent};
use crate::error::StoreError;
use crate::number;

pub(crate) const TABLE: &[Attribute] = &[
    Attribute::read_write(
        "ap_config",
        show_config,
        store_config,
        "Assigned adapters, usage domains and control domains as three masks; a write replaces all.",
    ),
    Attribute::write_only(
        "assign_adapter",
        |w| assign(w, MemberKind::Adapter),
        "Assigns an adapter.",
    ),
    Attribute::write_only(
        "assign_control_domain",
        |w| assign(w, MemberKind::ControlDomain),
        "Assigns a control domain.",
    ),
    Attribute::write_only(
        "assign_domain",
        |w| assign(w, MemberKind::UsageDomain),
        "Assigns a usage domain.",
    ),
    Attribute::read_only("control_domains", show_control, "Assigned control domains."),
    Attribute::read_only(
        "guest_matrix",
        |r| r.mdev().map(|mdev| matrix_text(&mdev.view)),
        "Queues that a guest gets: assigned, in the host's configuration, and bound to vfio_ap.",
    ),
    Attribute::read_only(
        "matrix",
        |r| r.mdev().map(|mdev| matrix_text(&mdev.matrix)),
        "Assigned queues.",
    ),
    Attribute::write_only(
        "remove",
        store_remove,
        "A number other than 0 removes the mdev.",
    ),
    Attribute::read_write(
        "uevent",
        |r| r.mdev().map(|_| String::from("DRIVER=vfio_ap_mdev\n")),
        store_uevent,
        "What uevents say about the mdev.",
    ),
    Attribute::write_only(
        "unassign_adapter",
        |w| unassign(w, MemberKind::Adapter),
        "Takes an adapter back.",
    ),
    Attribute::write_only(
        "unassign_control_domain",
        |w| unassign(w, MemberKind::ControlDomain),
        "Takes a control domain back.",
    ),
    Attribute::write_only(
        "unassign_domain",
        |w| unassign(w, MemberKind::UsageDomain),
        "Takes a usage domain back.",
    ),
];

pub(crate) const VFIO_DEVICE: &[Attribute] = &[Attribute::read_write(
    "uevent",
    |r| {
        r.mdev()
            .map(|mdev| format!("DEVNAME=vfio/devices/vfio{}\n", mdev.group))
    },
    store_uevent,
    "Name of the VFIO character device; no such device exists here.",
)];

/// The longest `ap_config` that is looked at: three full masks, two commas, a newline (spec 3.6).
const CONFIG_LEN: usize = 201;
/// Lines that are formatted: a page takes 511 and a part of the next (quirk K3).
const MATRIX_LINES: usize = 512;

/// Queues as `AA.DDDD`, adapters without domains as `AA.`, domains without adapters as `.DDDD`
/// (spec 3.4).
fn matrix_text(apcb: &Apcb) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| _ = text.write_fmt(args);
    match (apcb.apm.is_empty(), apcb.aqm.is_empty()) {
        (false, false) => {
            for apqn in apcb.queues().take(MATRIX_LINES) {
                line(format_args!("{apqn}\n"));
            }
        }
        (false, true) => apcb
            .apm
            .iter()
            .for_each(|apid| line(format_args!("{apid}.\n"))),
        (true, false) => apcb
            .aqm
            .iter()
            .for_each(|apqi| line(format_args!(".{apqi}\n"))),
        (true, true) => {}
    }
    text
}

fn show_control(reading: &mut Reading<'_>) -> Result<String, Errno> {
    Ok(reading
        .mdev()?
        .matrix
        .adm
        .iter()
        .map(|apqi| format!("{apqi}\n"))
        .collect())
}

fn show_config(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let Apcb { apm, aqm, adm } = reading.mdev()?.matrix;
    Ok(format!("{apm},{aqm},{adm}\n"))
}

fn assign(writing: &Writing<'_>, kind: MemberKind) -> Result<Command, StoreError> {
    let number = number::unsigned(writing.text())?;
    Ok(Command::Assign {
        mdev: writing.mdev()?,
        kind,
        number,
    })
}

fn unassign(writing: &Writing<'_>, kind: MemberKind) -> Result<Command, StoreError> {
    let number = number::unsigned(writing.text())?;
    Ok(Command::Unassign {
        mdev: writing.mdev()?,
        kind,
        number,
    })
}

/// Here a number that is too large is malformed like any other (spec 3.2).
fn store_remove(writing: &Writing<'_>) -> Result<Command, StoreError> {
    let number = number::unsigned(writing.text());
    match number.map_err(|_| number::NumberError::Malformed)? {
        0 => Ok(Command::Nothing),
        _ => Ok(Command::RemoveMdev(writing.mdev()?)),
    }
}

/// Commas and newlines separate fields, each single one; a field may be empty, which is the empty
/// mask; what stands behind the third field is not looked at (quirk K4).
fn store_config(writing: &Writing<'_>) -> Result<Command, StoreError> {
    let text = writing.text();
    let text = text.get(..CONFIG_LEN).unwrap_or(text);
    let mut fields = text.split(|byte| matches!(byte, b',' | b'\n'));
    let mut mask = || {
        let field = fields.next().ok_or(StoreError::TooFewMasks)?;
        Ok::<_, StoreError>(parse_absolute(field)?)
    };
    let masks = Apcb {
        apm: AdapterMask(mask()?),
        aqm: UsageMask(mask()?),
        adm: ControlMask(mask()?),
    };
    Ok(Command::Configure {
        mdev: writing.mdev()?,
        masks: Box::new(masks),
    })
}
