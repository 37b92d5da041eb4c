//! `bus/ap` (spec 2.2).

use arch::{Errno, Mask256, MaskEdit, QciBlock, QciFlags};
use bus::MaskKind;
use matrix::Command;

use crate::attribute::{Attribute, Reading, UEVENT_TRIGGER, Writing};
use crate::error::StoreError;
use crate::number;

pub(crate) const TABLE: &[Attribute] = &[
    Attribute::read_only(
        "ap_adapter_mask",
        |r| Ok(qci_mask(r, |qci| qci.apm.0)),
        "Adapters configured to the partition, from QCI; `not supported` without it.",
    ),
    Attribute::read_only(
        "ap_control_domain_mask",
        |r| Ok(qci_mask(r, |qci| qci.adm.0)),
        "Control domains of the partition, from QCI; `not supported` without it.",
    ),
    Attribute::read_write(
        "ap_domain",
        show_domain,
        |w| {
            let domain = number::scan_any_base(w.text());
            // What is no number is refused as a number out of range is.
            Ok(Command::SetDefaultDomain(domain.unwrap_or(-1)))
        },
        "Default domain of the host's drivers, -1 if none. Must be in aqmask.",
    ),
    Attribute::read_only(
        "ap_interrupts",
        |r| Ok(flag(r.place.host.bus().uses_interrupts())),
        "1 if the bus uses AP interrupts.",
    ),
    Attribute::read_only(
        "ap_max_adapter_id",
        |r| Ok(line(r.place.host.bus().max_adapter().0)),
        "Highest adapter number, as of the first scan.",
    ),
    Attribute::read_only(
        "ap_max_domain_id",
        |r| Ok(line(r.place.host.bus().max_domain().0)),
        "Highest domain number, as of the first scan.",
    ),
    Attribute::read_only(
        "ap_usage_domain_mask",
        |r| Ok(qci_mask(r, |qci| qci.aqm.0)),
        "Usage domains of the partition, from QCI; `not supported` without it.",
    ),
    Attribute::read_write(
        "apmask",
        |r| Ok(line(r.place.host.bus().apmask())),
        |w| store_mask(w, MaskKind::Adapters),
        "Adapters reserved for the host's drivers: `0x` and hex digits from the left, or `+n,-m,+a-b`.",
    ),
    Attribute::read_write(
        "aqmask",
        |r| Ok(line(r.place.host.bus().aqmask())),
        |w| store_mask(w, MaskKind::Domains),
        "Domains reserved for the host's drivers: `0x` and hex digits from the left, or `+n,-m,+a-b`.",
    ),
    Attribute::read_only(
        "bindings",
        show_bindings,
        "Queues with a driver / all queues, `(complete)` if equal.",
    ),
    Attribute::read_only(
        "bindings_complete_count",
        |r| Ok(line(r.place.host.bus().completions())),
        "How often the bindings became complete.",
    ),
    Attribute::read_write(
        "config_time",
        |r| Ok(line(r.place.host.bus().config_time())),
        // What is no number is refused as a number out of range is.
        |w| {
            Ok(Command::SetConfigTime(
                number::scan_decimal(w.text()).unwrap_or(-1),
            ))
        },
        "Seconds between rescans, 5..120.",
    ),
    Attribute::read_write(
        "drivers_autoprobe",
        |r| Ok(flag(r.place.host.bus().autoprobe())),
        |w| Ok(Command::SetAutoprobe(w.bytes.first() != Some(&b'0'))),
        "Whether new devices are offered to drivers.",
    ),
    Attribute::write_only(
        "drivers_probe",
        |w| Ok(Command::ProbeDevice(w.name())),
        "Offers the named device to the drivers.",
    ),
    Attribute::read_only(
        "features",
        show_features,
        "Installed functions, from QCI; `-` without it.",
    ),
    Attribute::read_write(
        "poll_thread",
        |r| Ok(flag(r.place.host.bus().poll_thread())),
        |w| {
            let run = number::boolean(w.text()).ok_or(StoreError::NotBoolean)?;
            Ok(Command::SetPollThread(run))
        },
        "Whether the poll thread runs; it stays 0 while interrupts are used.",
    ),
    Attribute::read_write(
        "poll_timeout",
        |r| Ok(line(r.place.host.bus().poll_timeout())),
        |w| Ok(Command::SetPollTimeout(number::unsigned(w.text())?)),
        "Poll interval in nanoseconds, 0..120000000000.",
    ),
    Attribute::read_write(
        "scans",
        |r| Ok(line(r.place.host.bus().scans())),
        |_| Ok(Command::Rescan),
        "Completed scans; any write scans again.",
    ),
    UEVENT_TRIGGER,
];

fn line(value: impl std::fmt::Display) -> String {
    format!("{value}\n")
}

fn flag(value: bool) -> String {
    line(u8::from(value))
}

fn qci_mask(reading: &Reading<'_>, mask: fn(&QciBlock) -> Mask256) -> String {
    let qci = reading.place.host.bus().qci();
    qci.map_or_else(|| String::from("not supported\n"), |qci| line(mask(qci)))
}

fn show_domain(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let domain = reading.place.host.bus().default_domain();
    Ok(line(domain.map_or(-1, |apqi| i16::from(apqi.0))))
}

fn show_bindings(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let bus = reading.place.host.bus();
    let (bound, all) = bus.bindings();
    let complete = if bus.bindings_complete() {
        " (complete)"
    } else {
        ""
    };
    Ok(format!("{bound}/{all}{complete}\n"))
}

fn show_features(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let Some(qci) = reading.place.host.bus().qci() else {
        return Ok(String::from("-\n"));
    };
    let names = [
        (QciFlags::APSC, "APSC"),
        (QciFlags::APXA, "APXA"),
        (QciFlags::QACT, "QACT"),
        (QciFlags::RC8A, "RC8A"),
        (QciFlags::APSB, "APSB"),
    ];
    let present = names.iter().filter(|(flag, _)| qci.flags.contains(*flag));
    Ok(line(
        present.map(|(_, name)| *name).collect::<Vec<_>>().join(" "),
    ))
}

fn store_mask(writing: &Writing<'_>, mask: MaskKind) -> Result<Command, StoreError> {
    Ok(Command::EditMask {
        mask,
        edit: MaskEdit::parse(writing.text())?,
    })
}
