//! A platform of fakes for the tests of this directory.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod model;

use std::collections::BTreeMap;

use arch::instruction::{Instruction, Outcome};
use arch::{
    ApInstructions, Apcb, Apid, Apqn, CardFacts, CardQueries, Errno, Facilities, MasterKeys,
};
use conformance::{Failure, Target};
use matrix::{BootConfig, MaskConflict, MdevUuid, Platform};
use sysfs::{FileError, Session};
use testkit::Hardware;

/// Fake hardware, and the masks that guests were given.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) hardware: Hardware,
    pub(crate) guests: BTreeMap<MdevUuid, Apcb>,
    /// What each card answers about itself.
    pub(crate) facts: BTreeMap<Apid, CardFacts>,
    /// What each card answers about the keys of every domain.
    pub(crate) keys: BTreeMap<Apid, MasterKeys>,
}

impl Fake {
    pub(crate) fn new(spec: &str) -> Self {
        let hardware = Hardware::parse(spec).expect("a valid SPEC");
        Self {
            hardware,
            guests: BTreeMap::new(),
            facts: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl ApInstructions for Fake {
    fn facilities(&self) -> Facilities {
        self.hardware.facilities()
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.hardware.execute(instruction, reply)
    }
}

impl CardQueries for Fake {
    fn card_facts(&mut self, apid: Apid) -> Option<CardFacts> {
        self.facts.get(&apid).copied()
    }

    fn master_keys(&mut self, apqn: Apqn) -> Option<MasterKeys> {
        self.keys.get(&apqn.apid).copied()
    }
}

impl Platform for Fake {
    fn set_masks(&mut self, guest: MdevUuid, apcb: &Apcb) -> Result<(), MaskConflict> {
        for (holder, other) in self.guests.iter().filter(|(holder, _)| **holder != guest) {
            if let Some(apqn) = apcb.queues().find(|apqn| other.contains(*apqn)) {
                return Err(MaskConflict {
                    apqn,
                    holder: *holder,
                });
            }
        }
        self.guests.insert(guest, *apcb);
        Ok(())
    }

    fn clear_masks(&mut self, guest: MdevUuid) {
        self.guests.remove(&guest);
    }

    fn configure_adapter(&mut self, apid: Apid, configured: bool) -> Result<(), Errno> {
        if self.hardware.configure(apid, configured) {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }
}

/// A booted session.
pub(crate) fn boot(spec: &str) -> Session<Fake> {
    Session::boot(&BootConfig::default(), Fake::new(spec))
}

/// The in-process target of transcripts.
#[derive(Default)]
pub(crate) struct InProcess {
    session: Option<Session<Fake>>,
}

impl InProcess {
    fn session(&mut self) -> &mut Session<Fake> {
        self.session.as_mut().expect("booted")
    }
}

fn failure(error: &FileError) -> Failure {
    if error.is_open() {
        Failure::Open(error.errno())
    } else {
        Failure::Call(error.errno())
    }
}

impl Target for InProcess {
    fn boot(&mut self, spec: &str) -> Result<(), String> {
        let hardware = Hardware::parse(spec).map_err(|error| error.to_string())?;
        let fake = Fake {
            hardware,
            guests: BTreeMap::new(),
            facts: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        self.session = Some(Session::boot(&BootConfig::default(), fake));
        Ok(())
    }

    fn change_host(&mut self, spec: &str) -> Result<(), String> {
        let session = self.session();
        session
            .platform
            .hardware
            .replace(spec)
            .map_err(|error| error.to_string())?;
        let effects = session.apply(matrix::Command::HardwareChanged);
        effects.map(|_| ()).map_err(|error| error.to_string())
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Failure> {
        self.session()
            .write(path, bytes)
            .map(|(taken, _)| taken)
            .map_err(|error| failure(&error))
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.session().read(path).map_err(|error| failure(&error))
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        self.session().list(path)
    }

    fn readlink(&mut self, path: &str) -> Result<String, Errno> {
        self.session().readlink(path)
    }

    fn mode(&mut self, path: &str) -> Result<u16, Errno> {
        self.session().mode(path)
    }
}
