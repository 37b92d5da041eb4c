//! The snapshot: the state as a list of rows.

use arch::{
    AdapterMask, ApType, Apid, Apqi, ControlMask, HwInfo, MaskEdit, QciBlock, QciFlags,
    ResponseCode, UsageMask,
};
use bus::{Card, QueueState, SavedBus};
use machine::PartitionConfig;
use matrix::{Group, Saved, SavedMdev, Serial};
use serde::{Deserialize, Serialize};

use super::entry::DriverName;
use super::text::{Mask, Masks, Queue, Text, Uuid};
use crate::daemon::Machinery;

/// One row. A snapshot is `origin`, `hardware`, `bus`, the devices ascending, `vfio-ap`, the mediated
/// devices, and `end` with the number of rows before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Row {
    Origin(Origin),
    /// The hardware as it is, as a SPEC.
    Hardware(String),
    Bus(BusRow),
    Card(CardRow),
    Queue(QueueRow),
    VfioAp(VfioApRow),
    Mdev(MdevRow),
    End(usize),
}

/// The machine file that the state began with: what IPL goes back to, and what another `--machine` is
/// compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    spec: String,
    /// The flags of QCI, if there is QCI.
    qci: Option<u32>,
    apmask: Option<Mask>,
    aqmask: Option<Mask>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Qci {
    flags: u32,
    na: u8,
    nd: u8,
    masks: Masks,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusRow {
    qci: Option<Qci>,
    max_adapter: u8,
    max_domain: u8,
    apmask: Mask,
    aqmask: Mask,
    ap_domain: Option<u8>,
    config_time: u32,
    poll_thread: bool,
    poll_timeout: u64,
    autoprobe: bool,
    scans: u64,
    complete: bool,
    completions: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CardRow {
    id: u8,
    ap_type: u8,
    /// The hardware information word.
    info: u64,
    config: bool,
    chkstop: bool,
    bound: bool,
    online: bool,
    requests: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueRow {
    id: Queue,
    info: u64,
    config: bool,
    chkstop: bool,
    driver: Option<DriverName>,
    #[serde(rename = "override")]
    driver_override: Option<String>,
    state: StateRow,
    interrupts: bool,
    online: bool,
    /// The `online` that its card left its driver with, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_card: Option<bool>,
    requests: u64,
    /// Response code of the last reset by `vfio_ap`, while `vfio_ap` has the queue.
    reset: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateRow {
    Uninitiated,
    Resetting,
    Operating,
    Error(u8),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VfioApRow {
    qci: Qci,
    next_serial: u64,
    groups_used: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MdevRow {
    uuid: Uuid,
    serial: u64,
    group: u32,
    /// Highest adapter and domain.
    limits: (u8, u8),
    matrix: Masks,
    view: Masks,
}

impl Origin {
    pub(crate) fn of(machine: &Machinery) -> Self {
        // Kernel parameters apply to an all-zero mask, so the result says it all.
        let mask = |edit: &Option<MaskEdit>| {
            edit.as_ref()
                .map(|edit| Mask(edit.apply(arch::Mask256::EMPTY)))
        };
        Self {
            spec: machine.partition.to_string(),
            qci: machine.partition.qci.map(|flags| flags.bits()),
            apmask: mask(&machine.boot.apmask),
            aqmask: mask(&machine.boot.aqmask),
        }
    }

    /// The machine that it describes.
    pub(super) fn machine(&self) -> Result<Machinery, String> {
        let edit = |mask: &Option<Mask>| mask.as_ref().map(|mask| MaskEdit::absolute(mask.0));
        Ok(Machinery {
            partition: partition(&self.spec, self.qci)?,
            boot: matrix::BootConfig {
                apmask: edit(&self.apmask),
                aqmask: edit(&self.aqmask),
                ..matrix::BootConfig::default()
            },
        })
    }

    /// In what another machine differs, in words; none if it is the same.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let masks = |origin: &Self| {
            let text = |mask: &Option<Mask>| {
                mask.as_ref()
                    .map_or_else(|| "none".to_owned(), |mask| mask.0.to_string())
            };
            format!("{}, {}", text(&origin.apmask), text(&origin.aqmask))
        };
        let pair = |what: &str, mine: &str, its: &str| {
            Some(format!("{what}: the state has [{mine}], the file [{its}]"))
        };
        if self.spec != other.spec {
            return pair("hardware", &self.spec, &other.spec);
        }
        if self.qci != other.qci {
            return Some("the QCI facility or its flags".to_owned());
        }
        (self != other)
            .then(|| pair("masks", &masks(self), &masks(other)))
            .flatten()
    }
}

/// The hardware of a SPEC with these QCI flags.
pub(super) fn partition(spec: &str, qci: Option<u32>) -> Result<PartitionConfig, String> {
    let mut partition = PartitionConfig::parse_spec(spec).map_err(|error| error.to_string())?;
    partition.qci = qci.map(QciFlags::from_bits_retain);
    partition.validate().map_err(|error| error.to_string())?;
    Ok(partition)
}

impl Qci {
    fn of(qci: &QciBlock) -> Self {
        Self {
            flags: qci.flags.bits(),
            na: qci.na,
            nd: qci.nd,
            masks: Masks(Mask(qci.apm.0), Mask(qci.aqm.0), Mask(qci.adm.0)),
        }
    }

    fn block(&self) -> QciBlock {
        let Masks(apm, aqm, adm) = self.masks;
        QciBlock {
            flags: QciFlags::from_bits_retain(self.flags),
            na: self.na,
            nd: self.nd,
            apm: AdapterMask(apm.0),
            aqm: UsageMask(aqm.0),
            adm: ControlMask(adm.0),
        }
    }
}

/// The rows of a state.
pub(super) fn rows(origin: &Origin, spec: &str, saved: &Saved) -> Vec<Row> {
    let mut rows = vec![
        Row::Origin(origin.clone()),
        Row::Hardware(spec.to_owned()),
        Row::Bus(bus_row(&saved.bus)),
    ];
    rows.extend(
        saved
            .bus
            .cards
            .iter()
            .map(|(apid, card)| card_row(*apid, card)),
    );
    let mut resets = saved.queues.iter().peekable();
    for (apqn, queue) in &saved.bus.queues {
        // Both lists are ascending, and the second is a part of the first.
        let reset = resets.next_if(|(bound, _)| bound == apqn);
        rows.push(Row::Queue(QueueRow {
            id: Text(*apqn),
            info: queue.info.0,
            config: queue.config,
            chkstop: queue.chkstop,
            driver: queue.driver.map(DriverName::from),
            driver_override: queue.driver_override.as_deref().map(ToOwned::to_owned),
            state: match queue.state {
                QueueState::Uninitiated => StateRow::Uninitiated,
                QueueState::Resetting => StateRow::Resetting,
                QueueState::Operating => StateRow::Operating,
                QueueState::Error(code) => StateRow::Error(code.0),
            },
            interrupts: queue.interrupts,
            online: queue.online_wanted,
            former_card: queue.former_card,
            requests: queue.requests,
            reset: reset.map(|(_, code)| code.0),
        }));
    }
    rows.push(Row::VfioAp(VfioApRow {
        qci: Qci::of(&saved.config),
        next_serial: saved.next_serial.0,
        groups_used: saved.groups_used,
    }));
    rows.extend(saved.mdevs.iter().map(mdev_row));
    rows.push(Row::End(rows.len()));
    rows
}

fn bus_row(bus: &SavedBus) -> BusRow {
    BusRow {
        qci: bus.qci.as_ref().map(Qci::of),
        max_adapter: bus.max_adapter.0,
        max_domain: bus.max_domain.0,
        apmask: Mask(bus.apmask.0),
        aqmask: Mask(bus.aqmask.0),
        ap_domain: bus.default_domain.map(|apqi| apqi.0),
        config_time: bus.config_time,
        poll_thread: bus.poll_thread,
        poll_timeout: bus.poll_timeout,
        autoprobe: bus.autoprobe,
        scans: bus.scans,
        complete: bus.complete,
        completions: bus.completions,
    }
}

fn card_row(apid: Apid, card: &Card) -> Row {
    Row::Card(CardRow {
        id: apid.0,
        ap_type: card.ap_type.0,
        info: card.info.0,
        config: card.config,
        chkstop: card.chkstop,
        bound: card.bound,
        online: card.online_wanted,
        requests: card.requests,
    })
}

fn mdev_row(mdev: &SavedMdev) -> Row {
    Row::Mdev(MdevRow {
        uuid: Text(mdev.uuid),
        serial: mdev.serial.0,
        group: mdev.group.0,
        limits: (mdev.limits.adapter.0, mdev.limits.domain.0),
        matrix: Masks::from(&mdev.matrix),
        view: Masks::from(&mdev.view),
    })
}

/// What the rows of a snapshot say.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) origin: Origin,
    /// The hardware.
    pub(super) partition: PartitionConfig,
    /// The host.
    pub(super) saved: Saved,
}

/// Puts the rows of a snapshot, without `end`, together.
///
/// # Errors
/// What is missing or in the wrong place.
pub(super) fn assemble(rows: impl IntoIterator<Item = Row>) -> Result<Snapshot, String> {
    let mut rows = rows.into_iter();
    let (Some(Row::Origin(origin)), Some(Row::Hardware(spec)), Some(Row::Bus(row))) =
        (rows.next(), rows.next(), rows.next())
    else {
        return Err("it does not begin with origin, hardware and bus".to_owned());
    };
    let partition = partition(&spec, origin.qci)?;
    let mut bus = bus_of(&row);
    let (mut mdevs, mut queues, mut vfio_ap) = (Vec::new(), Vec::new(), None);
    for row in rows {
        match row {
            Row::Card(row) => bus.cards.push((Apid(row.id), card_of(&row))),
            Row::Queue(row) => {
                let Text(apqn) = row.id;
                queues.extend(row.reset.map(|code| (apqn, ResponseCode(code))));
                bus.queues.push((apqn, queue_of(row)));
            }
            Row::VfioAp(row) => {
                if vfio_ap.replace(row).is_some() {
                    return Err("vfio-ap is there twice".to_owned());
                }
            }
            Row::Mdev(row) => mdevs.push(mdev_of(&row)),
            Row::Origin(_) | Row::Hardware(_) | Row::Bus(_) | Row::End(_) => {
                return Err("a row is in the wrong place".to_owned());
            }
        }
    }
    let vfio_ap = vfio_ap.ok_or("there is no row vfio-ap")?;
    let saved = Saved {
        bus,
        config: vfio_ap.qci.block(),
        mdevs,
        queues,
        next_serial: Serial(vfio_ap.next_serial),
        groups_used: vfio_ap.groups_used,
    };
    Ok(Snapshot {
        origin,
        partition,
        saved,
    })
}

fn bus_of(row: &BusRow) -> SavedBus {
    SavedBus {
        qci: row.qci.as_ref().map(Qci::block),
        max_adapter: Apid(row.max_adapter),
        max_domain: Apqi(row.max_domain),
        apmask: AdapterMask(row.apmask.0),
        aqmask: UsageMask(row.aqmask.0),
        cards: Vec::new(),
        queues: Vec::new(),
        default_domain: row.ap_domain.map(Apqi),
        config_time: row.config_time,
        poll_thread: row.poll_thread,
        poll_timeout: row.poll_timeout,
        autoprobe: row.autoprobe,
        scans: row.scans,
        complete: row.complete,
        completions: row.completions,
    }
}

const fn card_of(row: &CardRow) -> Card {
    Card {
        ap_type: ApType(row.ap_type),
        info: HwInfo(row.info),
        config: row.config,
        chkstop: row.chkstop,
        bound: row.bound,
        online_wanted: row.online,
        requests: row.requests,
    }
}

fn queue_of(row: QueueRow) -> bus::Queue {
    bus::Queue {
        config: row.config,
        chkstop: row.chkstop,
        info: HwInfo(row.info),
        driver: row.driver.map(bus::Driver::from),
        driver_override: row.driver_override.map(Into::into),
        state: match row.state {
            StateRow::Uninitiated => QueueState::Uninitiated,
            StateRow::Resetting => QueueState::Resetting,
            StateRow::Operating => QueueState::Operating,
            StateRow::Error(code) => QueueState::Error(ResponseCode(code)),
        },
        interrupts: row.interrupts,
        online_wanted: row.online,
        former_card: row.former_card,
        requests: row.requests,
    }
}

fn mdev_of(row: &MdevRow) -> SavedMdev {
    SavedMdev {
        uuid: row.uuid.0,
        serial: Serial(row.serial),
        group: Group(row.group),
        limits: matrix::mdev::Limits {
            adapter: Apid(row.limits.0),
            domain: Apqi(row.limits.1),
        },
        matrix: row.matrix.into(),
        view: row.view.into(),
    }
}
