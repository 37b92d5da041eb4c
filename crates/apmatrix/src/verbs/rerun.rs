//! `apmatrix rerun`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use arch::{
    Apid, Apqi, Apqn, CardMode, CrycbFormat, Facilities, HwInfo, Outcome, QciFlags, ResponseCode,
};
use clap::builder::NonEmptyStringValueParser;
use device::{Client, ClientOptions, OpenRequest};
use machine::PartitionConfig;
use matrix::BootConfig;

use super::Context;
use super::dissect::load;
use crate::daemon::{Machinery, TemporaryDaemon};
use crate::record::{self, Recording, rerun};

const MDEV: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const MATRIX: &str = "devices/vfio_ap/matrix";

/// Send the requests of a recording to a fresh machine and compare the replies
///
/// The recording must have been made with --secrets. The machine has the cards that the recorded TAPQs
/// showed (CEX8 accelerators where none did) and belongs to this command alone. Exit code 1 if anything
/// differs.
#[derive(Debug, clap::Args)]
pub(super) struct Rerun {
    /// The recording
    file: PathBuf,
    /// Another machine, as for hmc set
    #[arg(long, value_name = "SPEC", value_parser = NonEmptyStringValueParser::new())]
    machine: Option<String>,
}

impl Rerun {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let bytes = load(&self.file)?;
        let recording = record::read(&bytes).with_context(|| self.file.display().to_string())?;
        let queues = queues_of(&recording);
        ensure!(!queues.is_empty(), "the recording shows no queue");
        let spec = self
            .machine
            .clone()
            .unwrap_or_else(|| spec_of(&recording, &queues));
        let machine = Machinery {
            partition: PartitionConfig::parse_spec(&spec)?,
            boot: BootConfig::default(),
        };
        let daemon = TemporaryDaemon::start(machine, false)?;
        let set = |path: &str, text: &str| {
            let answer = daemon.desk().store_and_wait(path, text.as_bytes());
            answer.map_err(|errno| anyhow::anyhow!("{path}: {errno}"))
        };
        set(
            &format!("{MATRIX}/mdev_supported_types/vfio_ap-passthrough/create"),
            MDEV,
        )?;
        let adapters: BTreeSet<Apid> = queues.iter().map(|apqn| apqn.apid).collect();
        let domains: BTreeSet<Apqi> = queues.iter().map(|apqn| apqn.apqi).collect();
        for apid in adapters {
            set("bus/ap/apmask", &format!("-{}", apid.0))?;
            set(
                &format!("{MATRIX}/{MDEV}/assign_adapter"),
                &apid.0.to_string(),
            )?;
        }
        for apqi in domains {
            set(
                &format!("{MATRIX}/{MDEV}/assign_domain"),
                &apqi.0.to_string(),
            )?;
        }
        let request = OpenRequest {
            vm: "apmatrix-rerun".parse()?,
            crycb_format: CrycbFormat::Format2,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let socket = daemon.run_directory().mdev_socket(MDEV);
        let mut client = Client::connect(&socket, request, ClientOptions::default())?;
        let (compared, differences) = rerun(&recording, &mut client)?;
        for difference in &differences {
            writeln!(
                context.out,
                "event {}: {}",
                difference.event, difference.what
            )?;
        }
        writeln!(
            context.out,
            "{compared} compared, {} differ",
            differences.len()
        )?;
        Ok(if differences.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The queues that answered as such.
fn queues_of(recording: &Recording<'_>) -> BTreeSet<Apqn> {
    let events = recording.events.iter();
    let answered = events.filter_map(|event| {
        let code = event.outcome.status()?.code;
        event
            .instruction
            .apqn()
            .filter(|_| code != ResponseCode::NOT_AVAILABLE)
    });
    answered.collect()
}

/// The machine that a recording was made on, as far as it shows.
fn spec_of(recording: &Recording<'_>, queues: &BTreeSet<Apqn>) -> String {
    let mut spec = String::new();
    let adapters: BTreeSet<Apid> = queues.iter().map(|apqn| apqn.apid).collect();
    for apid in adapters {
        let shown = recording
            .events
            .iter()
            .find_map(|event| match event.outcome {
                Outcome::Tapq { info, .. }
                    if event
                        .instruction
                        .apqn()
                        .is_some_and(|apqn| apqn.apid == apid) =>
                {
                    known(info)
                }
                _ => None,
            });
        let (ap_type, mode) = shown.unwrap_or((14, CardMode::Accelerator));
        spec += &format!("card {} {ap_type} {}; ", apid.0, mode.letter());
    }
    let domains: BTreeSet<Apqi> = queues.iter().map(|apqn| apqn.apqi).collect();
    for apqi in domains {
        spec += &format!("dom {0}; cdom {0}; ", apqi.0);
    }
    let qci = recording
        .events
        .iter()
        .find_map(|event| match event.outcome {
            Outcome::Qci(block) => Some(block),
            _ => None,
        });
    if let Some(block) = qci.filter(|block| block.flags.contains(QciFlags::APXA)) {
        spec += &format!("na {}; nd {}", block.na, block.nd);
    }
    spec.trim_end_matches("; ").to_owned()
}

/// Type and mode of a card whose information is not empty.
fn known(info: HwInfo) -> Option<(u8, CardMode)> {
    let mode = info.mode()?;
    (info.ap_type().0 != 0).then(|| (info.ap_type().0, mode))
}
