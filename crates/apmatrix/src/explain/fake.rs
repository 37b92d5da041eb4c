//! Small trees of plain files and links for the tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use arch::{Apqn, Mask256};

use super::Facts;
use crate::admin::Tree;

pub(super) const A: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
pub(super) const B: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";

/// A host with adapters 4, 5 and 6 over domains 4 and 0x47; its queues are where the masks put them.
pub(super) struct Fake {
    dir: PathBuf,
}

impl Fake {
    /// `free` are the adapters that apmask leaves to `vfio_ap`.
    pub(super) fn new(free: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("apmatrix-explain-{}-{number}", std::process::id()));
        let fake = Self { dir };
        let mut apmask = Mask256::FULL;
        for apid in free {
            apmask.remove(*apid);
        }
        fake.file("bus/ap/apmask", &apmask.to_string());
        fake.file("bus/ap/aqmask", &Mask256::FULL.to_string());
        let domains = mask(&[4, 0x47]);
        fake.file("bus/ap/ap_adapter_mask", &mask(&[4, 5, 6]));
        fake.file("bus/ap/ap_usage_domain_mask", &domains);
        fake.file("bus/ap/ap_control_domain_mask", &domains);
        for apid in [4, 5, 6] {
            fake.file(&format!("devices/ap/card{apid:02x}/config"), "1");
            fake.file(&format!("devices/ap/card{apid:02x}/chkstop"), "0");
            for apqi in [4, 0x47] {
                let apqn = Apqn::new(apid, apqi);
                fake.file(&format!("{}/driver_override", queue(apqn)), "");
                if free.contains(&apid) {
                    fake.driver(apqn, "vfio_ap");
                    fake.file(&format!("{}/status", queue(apqn)), "unassigned");
                } else {
                    fake.driver(apqn, "cex4queue");
                }
            }
        }
        fs::create_dir_all(fake.dir.join("devices/vfio_ap/matrix")).expect("writable");
        fake
    }

    /// Replaces a file.
    pub(super) fn file(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        fs::write(path, format!("{text}\n")).expect("writable");
    }

    /// Takes a file or a directory away.
    pub(super) fn remove(&self, path: &str) {
        let path = self.dir.join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).expect("it is there");
        } else {
            fs::remove_file(path).expect("it is there");
        }
    }

    /// Binds a queue; no name unbinds it.
    pub(super) fn driver(&self, apqn: Apqn, name: &str) {
        let link = self.dir.join(queue(apqn)).join("driver");
        drop(fs::remove_file(&link));
        if !name.is_empty() {
            symlink(format!("../../../../bus/ap/drivers/{name}"), link).expect("writable");
        }
    }

    /// A mediated device that has these adapters and domains; its guest gets `view`.
    pub(super) fn mdev(&self, uuid: &str, adapters: &[u8], domains: &[u8], view: &str) {
        let dir = format!("devices/vfio_ap/matrix/{uuid}");
        let masks = format!("{},{},{}", mask(adapters), mask(domains), mask(&[4]));
        self.file(&format!("{dir}/ap_config"), &masks);
        self.file(&format!("{dir}/control_domains"), "0004");
        self.file(&format!("{dir}/guest_matrix"), &view.replace(' ', "\n"));
        self.file(&format!("{dir}/matrix"), "");
    }

    /// What the tree says.
    pub(super) fn facts(&self) -> Facts {
        Facts::read(&Tree::open(&self.dir).expect("a tree")).expect("readable")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// The directory of a queue.
pub(super) fn queue(apqn: Apqn) -> String {
    format!("devices/ap/card{}/{apqn}", apqn.apid)
}

pub(super) fn mask(numbers: &[u8]) -> String {
    numbers.iter().copied().collect::<Mask256>().to_string()
}
