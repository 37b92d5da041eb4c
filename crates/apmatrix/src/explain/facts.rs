//! What the files of a tree say, as values.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arch::mask_text::parse_absolute;
use arch::{Apqn, Mask256};

use crate::admin::{Mdev, Tree};

/// A file of sysfs never shows more than a page; the last line of such a list is not whole.
const FULL_PAGE: usize = 4090;

/// The facts about a host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    /// Adapters that the host's drivers keep.
    pub(super) apmask: Mask256,
    /// Domains that the host's drivers keep.
    pub(super) aqmask: Mask256,
    /// Adapters of the partition; `None` when the host does not say.
    pub(super) adapters: Option<Mask256>,
    /// Usage domains of the partition.
    pub(super) domains: Option<Mask256>,
    /// Control domains of the partition.
    pub(super) control_domains: Option<Mask256>,
    /// The cards that have a device.
    pub(super) cards: BTreeMap<u8, Card>,
    /// The queues that have a device.
    pub(super) queues: BTreeMap<Apqn, Queue>,
    /// The mediated devices.
    pub(super) mdevs: Vec<Matrix>,
    /// Whether the tree has a `vfio_ap` at all.
    pub(super) has_vfio_ap: bool,
}

/// A card's device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Card {
    pub(super) is_deconfigured: bool,
    pub(super) is_check_stopped: bool,
}

/// A queue's device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Queue {
    /// The driver it is bound to.
    pub(super) driver: Option<String>,
    /// The driver that `driver_override` names; `None` for none, or on a kernel without the file.
    pub(super) driver_override: Option<String>,
    /// Whether the kernel has `driver_override`.
    pub(super) knows_override: bool,
    /// `status`, which only a queue of `vfio_ap` has.
    pub(super) status: Option<String>,
}

/// A mediated device's masks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Matrix {
    pub(super) uuid: String,
    pub(super) adapters: Mask256,
    pub(super) domains: Mask256,
    pub(super) control_domains: Mask256,
    /// What a guest gets; `None` on a kernel without `guest_matrix`.
    pub(super) view: Option<View>,
}

/// A guest's view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct View {
    pub(super) adapters: Mask256,
    pub(super) domains: Mask256,
    /// The last adapter that the file names when it was too long for a page: nothing is known of
    /// those above.
    pub(super) cut_after: Option<u8>,
}

impl Matrix {
    /// Whether the queue is assigned.
    pub(super) fn has(&self, apqn: Apqn) -> bool {
        self.adapters.contains(apqn.apid.0) && self.domains.contains(apqn.apqi.0)
    }

    /// The assigned queues.
    pub(super) fn queues(&self) -> Vec<Apqn> {
        let row = |apid| {
            self.domains
                .iter()
                .map(move |apqi| Apqn::new(apid, apqi))
                .collect::<Vec<_>>()
        };
        self.adapters.iter().flat_map(row).collect()
    }
}

impl View {
    /// Whether the guest gets the adapter; `None` when the file does not say.
    pub(super) fn has_adapter(&self, apid: u8) -> Option<bool> {
        match self.cut_after {
            Some(last) if apid > last => None,
            _ => Some(self.adapters.contains(apid)),
        }
    }

    /// Whether the guest gets the queue; `None` when the file does not say.
    pub(super) fn has(&self, apqn: Apqn) -> Option<bool> {
        let has_adapter = self.has_adapter(apqn.apid.0)?;
        Some(has_adapter && self.domains.contains(apqn.apqi.0))
    }
}

impl Facts {
    /// Reads the tree. Files that some kernels do not have may be missing.
    ///
    /// # Errors
    /// When a mask cannot be read or has not the form of a mask.
    pub(crate) fn read(tree: &Tree) -> Result<Self> {
        let host_mask = |name: &str| {
            let text = tree.read(&format!("bus/ap/{name}")).ok()?;
            parse_absolute(text.as_bytes()).ok()
        };
        let mut facts = Self {
            apmask: mask(tree, "bus/ap/apmask")?,
            aqmask: mask(tree, "bus/ap/aqmask")?,
            adapters: host_mask("ap_adapter_mask"),
            domains: host_mask("ap_usage_domain_mask"),
            control_domains: host_mask("ap_control_domain_mask"),
            has_vfio_ap: tree.path("devices/vfio_ap/matrix").is_dir(),
            ..Self::default()
        };
        for name in tree.names("devices/ap") {
            let Some(digits) = name.strip_prefix("card") else {
                continue;
            };
            let Ok(apid) = u8::from_str_radix(digits, 16) else {
                continue;
            };
            let dir = format!("devices/ap/{name}");
            let reads = |file: &str, value: &str| {
                tree.read(&format!("{dir}/{file}"))
                    .is_ok_and(|text| text == value)
            };
            let card = Card {
                is_deconfigured: reads("config", "0"),
                is_check_stopped: reads("chkstop", "1"),
            };
            facts.cards.insert(apid, card);
            for queue in tree.names(&dir) {
                if let Ok(apqn) = queue.parse() {
                    facts
                        .queues
                        .insert(apqn, Queue::read(tree, &format!("{dir}/{queue}")));
                }
            }
        }
        let mdevs = tree.mdevs();
        facts.mdevs = mdevs.iter().map(Matrix::read).collect::<Result<_>>()?;
        Ok(facts)
    }

    /// The mediated device that has the queue, if one has.
    pub(super) fn holder(&self, apqn: Apqn) -> Option<&Matrix> {
        self.mdevs.iter().find(|mdev| mdev.has(apqn))
    }

    /// Whether the partition has the adapter; the devices tell when the host does not.
    pub(super) fn has_adapter(&self, apid: u8) -> bool {
        match self.adapters {
            Some(mask) => mask.contains(apid),
            None => self.cards.contains_key(&apid),
        }
    }

    /// Whether the partition has the usage domain.
    pub(super) fn has_domain(&self, apqi: u8) -> bool {
        match self.domains {
            Some(mask) => mask.contains(apqi),
            None => self.queues.keys().any(|apqn| apqn.apqi.0 == apqi),
        }
    }
}

impl Queue {
    fn read(tree: &Tree, dir: &str) -> Self {
        let wanted = tree.read(&format!("{dir}/driver_override")).ok();
        Self {
            driver: tree.link_name(&format!("{dir}/driver")),
            knows_override: wanted.is_some(),
            // Older files print "(null)" for none.
            driver_override: wanted.filter(|name| !name.is_empty() && name != "(null)"),
            status: tree.read(&format!("{dir}/status")).ok(),
        }
    }
}

impl Matrix {
    fn read(mdev: &Mdev<'_>) -> Result<Self> {
        let assigned = match mdev.ap_config() {
            Ok(text) => {
                let masks = text.split(',').map(|mask| parse_absolute(mask.as_bytes()));
                let masks = masks.collect::<Result<Vec<_>, _>>();
                let masks = masks.with_context(|| format!("ap_config of {}", mdev.uuid()))?;
                let [adapters, domains, _] = masks[..] else {
                    anyhow::bail!("ap_config of {} has not three masks", mdev.uuid());
                };
                View {
                    adapters,
                    domains,
                    cut_after: None,
                }
            }
            // Before Linux 6.10 there is only the list.
            Err(_) => View::parse(&mdev.matrix()?),
        };
        let control_domains = mdev.control_domains()?;
        Ok(Self {
            uuid: mdev.uuid().to_owned(),
            adapters: assigned.adapters,
            domains: assigned.domains,
            control_domains: control_domains
                .iter()
                .filter_map(|line| u16::from_str_radix(line, 16).ok())
                .filter_map(|number| u8::try_from(number).ok())
                .collect(),
            view: mdev.guest_matrix().ok().map(|lines| View::parse(&lines)),
        })
    }
}

impl View {
    /// The lines of `matrix` or `guest_matrix`: `AA.DDDD`, or `AA.` or `.DDDD` while one side is empty.
    fn parse(lines: &[String]) -> Self {
        let is_cut = lines.iter().map(|line| line.len() + 1).sum::<usize>() >= FULL_PAGE;
        let mut view = Self::default();
        for line in lines {
            let (adapter, domain) = line.split_once('.').unwrap_or((line, ""));
            let number = |text: &str| u8::from_str_radix(text, 16).ok();
            if adapter.len() == 2
                && let Some(apid) = number(adapter)
            {
                view.adapters.insert(apid);
            }
            if domain.len() == 4
                && let Some(apqi) = number(&domain[2..])
            {
                view.domains.insert(apqi);
            }
        }
        if is_cut {
            // The first adapter's row is always whole: it has 256 lines at most.
            view.cut_after = view.adapters.iter().last();
        }
        view
    }
}

fn mask(tree: &Tree, attribute: &str) -> Result<Mask256> {
    let text = tree.read(attribute)?;
    parse_absolute(text.as_bytes()).with_context(|| format!("{attribute} is not a mask"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn views_of_every_form() {
        let view = View::parse(&lines("05.0004 05.0047 06.0004 06.0047"));
        assert_eq!(view.adapters.iter().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(view.domains.iter().collect::<Vec<_>>(), [4, 0x47]);
        assert_eq!(view.has(Apqn::new(6, 0x47)), Some(true));
        let adapters = View::parse(&lines("05. 0a."));
        assert_eq!(adapters.adapters.len(), 2);
        assert!(adapters.domains.is_empty());
        assert_eq!(View::parse(&lines(".0004")).domains.first(), Some(4));
        assert_eq!(View::parse(&[]), View::default());
    }

    #[test]
    fn a_list_longer_than_a_page_says_nothing_of_what_was_cut() {
        let row = |apid: u8| (0..=255).map(move |apqi| Apqn::new(apid, apqi).to_string());
        let mut all: Vec<String> = row(1).chain(row(2)).collect();
        all.truncate(511);
        all.push("02.00f".to_owned());
        let view = View::parse(&all);
        assert_eq!(view.has_adapter(1), Some(true));
        assert_eq!(view.has(Apqn::new(2, 255)), Some(true));
        assert_eq!(view.has_adapter(3), None);
    }
}
