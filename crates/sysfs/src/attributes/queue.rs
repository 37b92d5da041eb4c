//! `devices/ap/cardXX/XX.YYYY` (spec 2.7).

use arch::{CardMode, Errno, Facilities, KeyRegisters, MasterKeys};
use bus::Driver;
use matrix::{Command, QueueUse};

use crate::attribute::{Attribute, Place, Reading, Writing, store_uevent, uevent_text};
use crate::attributes::card::zero_or_one;
use crate::error::StoreError;
use crate::tree::PAGE;

const HOST: &str = "bound to cex4queue";
const COPROCESSOR: &str = "CCA or EP11 queue bound to cex4queue";

pub(crate) const TABLE: &[Attribute] = &[
    Attribute::read_only(
        "ap_functions",
        show_functions,
        "Facility word of TAPQ, asked at each read.",
    ),
    Attribute::read_only(
        "chkstop",
        |r| {
            r.queue()
                .map(|queue| format!("{}\n", u8::from(queue.chkstop)))
        },
        "1 if check-stopped.",
    ),
    Attribute::read_only(
        "config",
        |r| {
            r.queue()
                .map(|queue| format!("{}\n", u8::from(queue.config)))
        },
        "1 if configured.",
    ),
    Attribute::read_write(
        "driver_override",
        |r| {
            let queue = r.queue()?;
            Ok(format!(
                "{}\n",
                queue.driver_override.as_deref().unwrap_or_default()
            ))
        },
        store_override,
        "Name of the only driver that may take the queue; needs both masks all ones.",
    ),
    Attribute::read_only(
        "interrupt",
        |r| {
            let enabled = r.queue()?.interrupts;
            Ok(format!(
                "Interrupts {}.\n",
                if enabled { "enabled" } else { "disabled" }
            ))
        },
        "Whether the queue's interrupts are enabled for the host.",
    ),
    Attribute::read_only(
        "load",
        |r| r.queue().map(|_| String::from("0\n")),
        "Weight of running requests.",
    )
    .only(HOST, is_host),
    Attribute::read_only("mkvps", show_patterns, "Master key verification patterns.")
        .only(COPROCESSOR, |p| {
            matches!(mode(p), Some(CardMode::Cca | CardMode::Ep11))
        }),
    Attribute::read_write(
        "online",
        |r| {
            r.queue()
                .map(|queue| format!("{}\n", u8::from(queue.is_online())))
        },
        |w| Ok(Command::SetQueueOnline(w.place.apqn(), zero_or_one(w)?)),
        "Whether the host's drivers use the queue.",
    )
    .only(HOST, is_host),
    Attribute::read_only(
        "op_modes",
        show_op_modes,
        "EP11 operation modes of the domain.",
    )
    .only("EP11 queue bound to cex4queue", |p| {
        mode(p) == Some(CardMode::Ep11)
    }),
    Attribute::read_only(
        "pendingq_count",
        |r| r.queue().map(|_| String::from("0\n")),
        "Requests in the hardware.",
    ),
    Attribute::read_write(
        "request_count",
        |r| {
            let queue = r.queue()?;
            Ok(match queue.driver {
                Some(Driver::Cex4Queue) => format!("{}\n", queue.requests),
                _ => String::from("-\n"),
            })
        },
        |w| Ok(Command::ClearQueueRequests(w.place.apqn())),
        "Requests of the host's driver, `-` if it does not have the queue; any write zeroes.",
    ),
    Attribute::read_only(
        "requestq_count",
        |r| r.queue().map(|_| String::from("0\n")),
        "Requests that wait for the hardware.",
    ),
    Attribute::read_write(
        "reset",
        |r| r.queue().map(|_| String::from("No Reset Timer set.\n")),
        |w| Ok(Command::ResetQueue(w.place.apqn())),
        "State of a reset; any write resets a queue of the host's driver.",
    ),
    Attribute::read_only(
        "status",
        show_status,
        "`unassigned`, `assigned` or `in use` by a guest.",
    )
    .only("bound to vfio_ap", |p| driver(p) == Some(Driver::Plugged)),
    Attribute::read_write(
        "uevent",
        |r| {
            r.queue()
                .map(|queue| uevent_text(&r.place.host.bus().queue_properties(queue)))
        },
        store_uevent,
        "What uevents say about the queue.",
    ),
];

fn driver(place: &Place<'_>) -> Option<Driver> {
    place.queue().and_then(|queue| queue.driver)
}

fn is_host(place: &Place<'_>) -> bool {
    driver(place) == Some(Driver::Cex4Queue)
}

/// Mode of a queue that cex4queue has.
fn mode(place: &Place<'_>) -> Option<CardMode> {
    let queue = place
        .queue()
        .filter(|queue| queue.driver == Some(Driver::Cex4Queue));
    queue.and_then(|queue| queue.info.mode())
}

fn show_functions(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let facilities = reading.live.facilities().contains(Facilities::APFT);
    let (status, info) = reading.live.tapq(reading.place.apqn(), facilities);
    if !status.queue_exists() {
        return Err(Errno::EIO);
    }
    Ok(format!("0x{:08X}\n", info.functions()))
}

fn show_status(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let word = match reading.place.host.matrix().queue_use(reading.place.apqn()) {
        QueueUse::Unassigned => "unassigned",
        QueueUse::Assigned => "assigned",
        QueueUse::InUse => "in use",
    };
    Ok(format!("{word}\n"))
}

/// Operation modes of an EP11 domain, asked at each read; empty when there is no answer.
fn show_op_modes(reading: &mut Reading<'_>) -> Result<String, Errno> {
    reading.queue()?;
    Ok(match reading.live.master_keys(reading.place.apqn()) {
        Some(MasterKeys::Ep11 { op_modes, .. }) => op_modes.join(" ") + "\n",
        _ => String::from("\n"),
    })
}

/// The form of clients.md 3.1, asked at each read; dashes when there is no answer.
fn show_patterns(reading: &mut Reading<'_>) -> Result<String, Errno> {
    let ep11 = reading.queue()?.info.mode() == Some(CardMode::Ep11);
    let mut text = String::new();
    match reading.live.master_keys(reading.place.apqn()) {
        Some(MasterKeys::Cca { aes, apka, asym }) => {
            write_registers(&mut text, "AES", &aes);
            write_registers(&mut text, "APKA", &apka);
            write_registers(&mut text, "ASYM", &asym);
        }
        Some(MasterKeys::Ep11 { current, .. }) => {
            match current {
                Some(pattern) => text.push_str(&format!("WK CUR: valid 0x{}\n", hex(&pattern))),
                None => text.push_str("WK CUR: invalid -\n"),
            }
            text.push_str("WK NEW: empty -\n");
        }
        None if ep11 => text.push_str("WK CUR: - -\nWK NEW: - -\n"),
        None => {
            for key in ["AES", "APKA", "ASYM"] {
                for register in ["NEW", "CUR", "OLD"] {
                    text.push_str(&format!("{key} {register}: - -\n"));
                }
            }
        }
    }
    Ok(text)
}

fn write_registers<const N: usize>(text: &mut String, key: &str, registers: &KeyRegisters<N>) {
    for (register, pattern, full, none) in [
        ("NEW", registers.new, "full", "empty"),
        ("CUR", registers.current, "valid", "invalid"),
        ("OLD", registers.old, "valid", "invalid"),
    ] {
        let state = if pattern.is_some() { full } else { none };
        let digits = hex(&pattern.unwrap_or([0; N]));
        text.push_str(&format!("{key} {register}: {state} 0x{digits}\n"));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name ends at the first newline; an empty name clears the override.
fn store_override(writing: &Writing<'_>) -> Result<Command, StoreError> {
    if writing.bytes.len() >= PAGE - 1 {
        return Err(StoreError::NameTooLong);
    }
    let name = writing
        .text()
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let driver = Some(name).filter(|name| !name.is_empty());
    Ok(Command::SetOverride {
        apqn: writing.place.apqn(),
        driver,
    })
}
