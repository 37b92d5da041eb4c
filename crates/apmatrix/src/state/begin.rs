//! Starting with the state that is there, or with a new one.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use machine::{Machine, PartitionConfig};
use matrix::{BootConfig, Command, Host};

use super::entry::{Entry, Step};
use super::frame::{self, Chain};
use super::journal::Journal;
use super::rows::{self, Origin, Row, Snapshot};
use super::snapshot::Image;
use super::store::Store;
use crate::daemon::{MachinePlatform, Machinery};

/// A machine and its host, as they were or new.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) machine: Arc<Machine>,
    pub(crate) platform: MachinePlatform,
    pub(crate) host: Host,
    /// What the host boots with.
    pub(crate) boot: BootConfig,
    pub(crate) journal: Journal,
}

/// Begins with the state in `dir`, or, if there is none or `fresh`, with a new one on `asked` or the
/// default machine. `make` makes a machine.
///
/// # Errors
/// When the directory is taken, when the state is damaged, foreign, newer or of another machine than
/// `asked`. What is there stays as it is.
pub(crate) fn begin(
    dir: &Path,
    asked: Option<&Machinery>,
    fresh: bool,
    make: impl FnOnce(&PartitionConfig) -> Result<Arc<Machine>>,
) -> Result<Begun> {
    let store = Store::take(dir)?;
    if fresh && let Some(aside) = store.put_aside()? {
        tracing::warn!("the old state is kept as {}", aside.display());
    }
    match store.read()? {
        None => begin_new(store, asked, make),
        Some(content) => {
            let path = store.journal();
            go_on(store, &content, asked, make).with_context(|| {
                format!(
                    "the state in {} is left as it is ('serve --fresh' puts it aside and begins a \
                     new one)",
                    path.display()
                )
            })
        }
    }
}

fn begin_new(
    store: Store,
    asked: Option<&Machinery>,
    make: impl FnOnce(&PartitionConfig) -> Result<Arc<Machine>>,
) -> Result<Begun> {
    let default;
    let machinery = match asked {
        Some(machinery) => machinery,
        None => {
            default = Machinery::load(None)?;
            &default
        }
    };
    // What IPL goes back to after a restart is what is booted now.
    let origin = Origin::of(machinery);
    let boot = origin.machine().map_err(anyhow::Error::msg)?.boot;
    let machine = make(&machinery.partition)?;
    let mut platform = MachinePlatform::new(Arc::clone(&machine));
    let host = Host::boot(&boot, &mut platform);
    let image = Image {
        spec: machine.config().to_string(),
        host: host.clone(),
    };
    let journal = Journal::create(store, origin, &image)?;
    Ok(Begun {
        machine,
        platform,
        host,
        boot,
        journal,
    })
}

/// What a journal holds.
struct Content {
    snapshot: Snapshot,
    rows: usize,
    entries: Vec<Entry>,
}

fn go_on(
    store: Store,
    content: &[u8],
    asked: Option<&Machinery>,
    make: impl FnOnce(&PartitionConfig) -> Result<Arc<Machine>>,
) -> Result<Begun> {
    let recovered = recover(content, asked, make)?;
    if recovered.torn > 0 {
        let torn = recovered.torn;
        tracing::warn!("{torn} bytes of a write that was never answered are dropped");
    }
    let Recovered {
        origin,
        boot,
        machine,
        platform,
        host,
        ..
    } = recovered;
    let journal = Journal::resume(store, origin, recovered.end, recovered.counts)?;
    Ok(Begun {
        machine,
        platform,
        host,
        boot,
        journal,
    })
}

/// What the bytes of a journal lead to.
pub(super) struct Recovered {
    pub(super) origin: Origin,
    pub(super) boot: BootConfig,
    pub(super) machine: Arc<Machine>,
    pub(super) platform: MachinePlatform,
    pub(super) host: Host,
    /// Checksum and length up to the end of the last record.
    pub(super) end: (Chain, usize),
    /// Rows of the snapshot, and entries behind it.
    pub(super) counts: (usize, usize),
    /// Bytes of a torn record at the end.
    pub(super) torn: usize,
}

/// Reads a journal, and does what its entries say on a machine from `make`.
///
/// # Errors
/// When it is damaged, foreign, newer or of another machine than `asked`.
pub(super) fn recover(
    content: &[u8],
    asked: Option<&Machinery>,
    make: impl FnOnce(&PartitionConfig) -> Result<Arc<Machine>>,
) -> Result<Recovered> {
    let frames = frame::take_apart(content)?;
    let Content {
        snapshot,
        rows,
        entries,
    } = understand(&frames.payloads)?;
    let origin = snapshot.origin;
    let difference = asked.and_then(|asked| origin.difference(&Origin::of(asked)));
    if let Some(difference) = difference {
        bail!(
            "it was made with another machine file; {difference}. Start without --machine to go on \
             with it, and change its hardware with 'apmatrix hmc'"
        );
    }
    let boot = origin.machine().map_err(anyhow::Error::msg)?.boot;
    let machine = make(&snapshot.partition)?;
    let mut platform = MachinePlatform::new(Arc::clone(&machine));
    let mut host = Host::restore(&boot, snapshot.saved, &mut platform)?;
    let count = entries.len();
    for (number, entry) in entries.into_iter().enumerate() {
        let text = format!("{entry:?}");
        host = repeat(host, entry, &boot, &machine, &mut platform)
            .with_context(|| format!("entry {} of {count} does not fit: {text}", number + 1))?;
    }
    Ok(Recovered {
        origin,
        boot,
        machine,
        platform,
        host,
        end: (frames.chain, frames.length),
        counts: (rows, count),
        torn: frames.torn,
    })
}

fn understand(payloads: &[&str]) -> Result<Content> {
    let mut rows = Vec::new();
    let mut rest = payloads.iter().enumerate();
    let count = loop {
        let (number, payload) = rest.next().context("the snapshot is cut off")?;
        let row: Row = serde_json::from_str(payload)
            .with_context(|| format!("record {} is not understood", number + 1))?;
        match row {
            Row::End(count) => break count,
            row => rows.push(row),
        }
    };
    if count != rows.len() {
        bail!("the snapshot has {} rows instead of {count}", rows.len());
    }
    let entries = rest
        .map(|(number, payload)| {
            serde_json::from_str(payload)
                .with_context(|| format!("record {} is not understood", number + 1))
        })
        .collect::<Result<Vec<Entry>>>()?;
    let snapshot = rows::assemble(rows).map_err(anyhow::Error::msg)?;
    Ok(Content {
        snapshot,
        rows: count,
        entries,
    })
}

/// Does what an entry says was done.
fn repeat(
    mut host: Host,
    entry: Entry,
    boot: &BootConfig,
    machine: &Machine,
    platform: &mut MachinePlatform,
) -> Result<Host> {
    match entry.step() {
        Step::Hardware(spec) => {
            machine.replace_by_spec(&spec)?;
            host.apply(Command::HardwareChanged, platform)?;
        }
        Step::Ipl => {
            platform.reset_all();
            return Ok(host.reboot(boot, platform));
        }
        Step::Command(command) => {
            host.apply(command, platform)?;
        }
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("apmatrix-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        dir
    }

    fn start(dir: &Path) -> Begun {
        let make =
            |partition: &PartitionConfig| Ok(Arc::new(Machine::new(partition, Box::new(|_| {}))?));
        begin(dir, None, false, make).unwrap()
    }

    fn apply(begun: &mut Begun, command: &Command) {
        let mut next = begun.host.clone();
        next.apply(command.clone(), &mut begun.platform).unwrap();
        let entry = Entry::of(command, &next).unwrap();
        begun.journal.append(&entry).unwrap();
        begun.host = next;
        let (host, machine) = (&begun.host, &begun.machine);
        begun.journal.shorten(|| Image {
            spec: machine.config().to_string(),
            host: host.clone(),
        });
    }

    /// Three snapshots and a remnant of a fourth: the host is the same at every restart, and the file
    /// does not grow with what happened.
    #[test]
    fn a_long_life_comes_back_from_a_short_file() {
        let dir = scratch("long-life");
        let mut begun = start(&dir);
        let uuid = |n: u32| format!("00000000-0000-0000-0000-{n:012}").parse().unwrap();
        for n in 0..4500 {
            apply(&mut begun, &Command::CreateMdev(uuid(n)));
            apply(&mut begun, &Command::Rescan);
            if n % 3 == 0 {
                apply(&mut begun, &Command::RemoveMdev(uuid(n)));
            }
            if n % 1000 == 999 {
                let host = begun.host.clone();
                drop(begun);
                fs::write(dir.join("journal.new"), b"half a snapsh").unwrap();
                begun = start(&dir);
                assert!(begun.host == host, "another host came back");
            }
        }
        let mdevs = begun.host.matrix().mdevs().count() as u64;
        let length = fs::metadata(dir.join("journal")).unwrap().len();
        assert!(
            length < 400 * mdevs + 4096 * 100,
            "{length} bytes for {mdevs} mdevs"
        );
        drop(begun);
        fs::remove_dir_all(dir).unwrap();
    }
}
