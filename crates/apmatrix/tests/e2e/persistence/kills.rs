//! A hundred kills at random moments while four writers write.
//!
//! ```text
//!   writer --"ask WRITE"--> log --write(2)--> daemon --answer--> writer --"done"--> log
//!   kill, restart, judge: what the logs say is done is there; of what was only asked, all or nothing;
//!                         nothing else is there
//! ```
//! The log is the judge's only knowledge. It is a file of the test, so it survives whatever happens.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arch::Errno;

use super::{assert_same, of, tree};
use crate::instance::{Instance, TYPE};
use crate::tier::Tier;

const KILLS: usize = 100;
const WRITERS: u8 = 4;
/// After so many kills the whole tree is compared over one more, quiet kill.
const WHOLE_TREE: usize = 20;

/// What a writer has to answer for: its own mdev and its own bit of apmask.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Share {
    /// Adapters and domains of the mdev; none if there is no mdev.
    mdev: Option<[Vec<u8>; 2]>,
    /// Whether the writer's adapter is in apmask.
    reserved: bool,
}

/// One write of a writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Create,
    Remove,
    /// Assigns or unassigns an adapter (axis 0) or domain (axis 1).
    Toggle(usize, u8),
    Mask,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create => f.write_str("create"),
            Self::Remove => f.write_str("remove"),
            Self::Toggle(axis, number) => write!(f, "toggle {axis} {number}"),
            Self::Mask => f.write_str("mask"),
        }
    }
}

impl Change {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["create"] => Self::Create,
            ["remove"] => Self::Remove,
            ["mask"] => Self::Mask,
            ["toggle", axis, number] => {
                Self::Toggle(axis.parse().expect("axis"), number.parse().expect("number"))
            }
            _ => panic!("the log says {text:?}"),
        }
    }
}

impl Share {
    fn after(&self, change: Change) -> Self {
        let mut share = self.clone();
        match change {
            Change::Create => share.mdev = Some(Default::default()),
            Change::Remove => share.mdev = None,
            Change::Mask => share.reserved = !share.reserved,
            Change::Toggle(axis, number) => {
                let list = &mut share.mdev.as_mut().expect("an mdev")[axis];
                match list.binary_search(&number) {
                    Ok(at) => drop(list.remove(at)),
                    Err(at) => list.insert(at, number),
                }
            }
        }
        share
    }
}

/// A writer's log: what it asked, and what was answered.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.expect("the log");
        Self { path, file }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.file, "{line}").expect("the log takes a line");
    }

    /// What was answered, and what was asked but not answered, from the file alone.
    fn judge(&self) -> (Share, Option<Change>, usize) {
        let text = fs::read_to_string(&self.path).expect("the log");
        let (mut share, mut asked, mut answered) = (Share::default(), None, 0);
        for line in text.lines() {
            match line {
                "done" => {
                    share = share.after(asked.take().expect("something was asked"));
                    answered += 1;
                }
                "did not happen" => asked = None,
                "happened" => share = share.after(asked.take().expect("something was asked")),
                _ => asked = Some(Change::parse(line.strip_prefix("ask ").expect("ask"))),
            }
        }
        (share, asked, answered)
    }
}

/// A writer with an mdev and numbers of its own.
struct Writer {
    number: u8,
    uuid: String,
    share: Share,
    seed: u64,
    log: Log,
}

impl Writer {
    fn new(number: u8, dir: &Path) -> Self {
        Self {
            number,
            uuid: format!("{number:08x}-0000-0000-0000-000000000000"),
            share: Share::default(),
            seed: u64::from(number) + 1,
            log: Log::new(dir.join(format!("writer-{number}"))),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) % below
    }

    fn choose(&mut self) -> Change {
        match self.random(20) {
            0 => Change::Mask,
            1 if self.share.mdev.is_some() => Change::Remove,
            _ if self.share.mdev.is_none() => Change::Create,
            _ => {
                let axis = usize::try_from(self.random(2)).expect("small");
                // Adapters that no other writer and no mask has, so that nothing is refused.
                let base = 10 + 12 * self.number;
                let number = base + u8::try_from(self.random(8)).expect("small");
                Change::Toggle(axis, number)
            }
        }
    }

    fn file_and_text(&self, change: Change) -> (String, String) {
        match change {
            Change::Create => (format!("{TYPE}/create"), self.uuid.clone()),
            Change::Remove => (of(&self.uuid, "remove"), "1".to_owned()),
            Change::Mask => {
                let sign = if self.share.reserved { '-' } else { '+' };
                ("bus/ap/apmask".to_owned(), format!("{sign}{}", self.number))
            }
            Change::Toggle(axis, number) => {
                let assigned = &self.share.mdev.as_ref().expect("an mdev")[axis];
                let is_assigned = assigned.contains(&number);
                let verb = if is_assigned { "unassign" } else { "assign" };
                let what = ["adapter", "domain"][axis];
                let file = of(&self.uuid, &format!("{verb}_{what}"));
                (file, number.to_string())
            }
        }
    }

    /// Writes until the daemon is gone.
    fn write_until_killed(&mut self, sys: &Path, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let change = self.choose();
            let (file, text) = self.file_and_text(change);
            // A kill can hit open(2) as well: then the write has not begun.
            let Ok(mut open) = OpenOptions::new().write(true).open(sys.join(&file)) else {
                return;
            };
            self.log.say(&format!("ask {change}"));
            match open.write(text.as_bytes()) {
                Ok(length) => {
                    assert_eq!(length, text.len());
                    self.log.say("done");
                    self.share = self.share.after(change);
                }
                Err(error) => {
                    // What FUSE answers when its daemon has gone.
                    let (gone, aborted, unconnected) = (Errno::ENODEV.raw(), 103, 107);
                    let errno = error.raw_os_error().expect("an error of the system");
                    let is_gone = [gone, aborted, unconnected].contains(&errno);
                    assert!(is_gone, "{file} <- {text}: {error}");
                    return;
                }
            }
        }
    }

    /// Judges what the daemon came back with; whether something was in flight, and whether it happened.
    fn judge(&mut self, instance: &Instance, kill: usize) -> [bool; 2] {
        let (answered, asked, _) = self.log.judge();
        let found = self.read(instance);
        let happened = asked.is_some_and(|change| found == answered.after(change));
        if asked.is_some() {
            let verdict = if happened {
                "happened"
            } else {
                "did not happen"
            };
            self.log.say(verdict);
        }
        if !happened {
            assert_eq!(found, answered, "kill {kill}, writer {}", self.number);
        }
        self.share = found;
        [asked.is_some(), happened]
    }

    /// What the tree says.
    fn read(&self, instance: &Instance) -> Share {
        let mdev = instance.exists(&of(&self.uuid, "ap_config")).then(|| {
            let text = instance.read(&of(&self.uuid, "ap_config"));
            let mut masks = text.trim_end().split(',');
            [(); 2].map(|()| bits(masks.next().expect("three masks")))
        });
        let reserved = bits(instance.read("bus/ap/apmask").trim_end()).contains(&self.number);
        Share { mdev, reserved }
    }
}

/// The numbers of a mask.
fn bits(mask: &str) -> Vec<u8> {
    let mask = arch::mask_text::parse_absolute(mask.as_bytes()).expect("a mask");
    mask.iter().collect()
}

/// Nothing is there that no writer asked for: no other mdev, no other bit.
fn nothing_is_invented(instance: &Instance, writers: &[Writer]) {
    let listed = fs::read_dir(instance.sys("bus/mdev/devices")).expect("a folder");
    let mut listed: Vec<String> = listed
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    listed.sort();
    let with_mdev = writers.iter().filter(|writer| writer.share.mdev.is_some());
    let expected: Vec<&str> = with_mdev.map(|writer| writer.uuid.as_str()).collect();
    assert_eq!(listed, expected);
    let reserved = writers.iter().filter(|writer| writer.share.reserved);
    let expected: Vec<u8> = reserved.map(|writer| writer.number).collect();
    assert_eq!(bits(instance.read("bus/ap/apmask").trim_end()), expected);
    assert_eq!(
        bits(instance.read("bus/ap/aqmask").trim_end()),
        Vec::<u8>::new()
    );
}

/// Every write that was answered is there afterwards; of those that were not, at most the one that each
/// writer was in, and that one whole; and nothing else.
#[test]
fn a_hundred_kills_under_four_writers() {
    if !Tier::Mount.is_there() {
        return;
    }
    let mut instance = Instance::start();
    instance.set("bus/ap/apmask", "0x0");
    instance.set("bus/ap/aqmask", "0x0");
    let logs = std::env::temp_dir().join(format!("apmatrix-kills-{}", std::process::id()));
    drop(fs::remove_dir_all(&logs));
    fs::create_dir(&logs).expect("a folder for the logs");
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::new(number, &logs))
        .collect();
    let mut in_flight = [0, 0];
    let started = Instant::now();
    for kill in 0..KILLS {
        let stop = AtomicBool::new(false);
        let sys = instance.sys("");
        let pause = Duration::from_micros(2000 + 997 * (kill as u64 * 37 % 61));
        thread::scope(|scope| {
            for writer in &mut writers {
                let (sys, stop) = (&sys, &stop);
                scope.spawn(move || writer.write_until_killed(sys, stop));
            }
            thread::sleep(pause);
            instance.kill();
            stop.store(true, Ordering::Relaxed);
        });
        instance.restart();
        for writer in &mut writers {
            let judged = writer.judge(&instance, kill);
            for (count, is) in in_flight.iter_mut().zip(judged) {
                *count += u32::from(is);
            }
        }
        nothing_is_invented(&instance, &writers);
        if kill % WHOLE_TREE == 0 {
            let before = tree(&instance);
            instance.kill();
            instance.restart();
            assert_same(&before, &tree(&instance));
        }
    }
    let answered: usize = writers.iter().map(|writer| writer.log.judge().2).sum();
    assert!(
        answered > 10 * KILLS,
        "only {answered} writes were answered"
    );
    let [asked, happened] = in_flight;
    println!(
        "{KILLS} kills in {:?}: {answered} writes answered, {asked} in flight, of which {happened} had \
         happened",
        started.elapsed()
    );
    fs::remove_dir_all(logs).expect("the logs");
}
