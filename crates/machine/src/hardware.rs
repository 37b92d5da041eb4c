//! The hardware as it stands: the configuration and the queues that follow from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arch::Apqn;
use cex::Card;
use cex::keys::HashKey;

use crate::partition::{AdapterConfig, PartitionConfig};
use crate::queue::Queue;
use crate::state::Condition;
use crate::sync::atomic::AtomicU64;

/// Adapters times usage domains.
#[derive(Debug)]
pub(crate) struct Hardware {
    config: PartitionConfig,
    queues: BTreeMap<Apqn, Arc<Queue>>,
    /// Requests that reached a card, by queue number. Numbers that are gone keep their count, so
    /// that a count never falls; there are at most 65536.
    reached: BTreeMap<Apqn, Arc<AtomicU64>>,
    /// Of which each queue gets its own; `None` keeps no keys.
    secret: Option<HashKey>,
    /// Queues that there ever were.
    made: u64,
}

impl Hardware {
    /// `secret` is for the prepared keys of the queues' owners.
    pub(crate) fn new(config: PartitionConfig, secret: Option<HashKey>) -> Self {
        let mut hardware = Self {
            config: PartitionConfig {
                qci: config.qci,
                ..PartitionConfig::default()
            },
            queues: BTreeMap::new(),
            reached: BTreeMap::new(),
            secret,
            made: 0,
        };
        hardware.change_to(config);
        hardware
    }

    pub(crate) const fn config(&self) -> &PartitionConfig {
        &self.config
    }

    pub(crate) const fn queues(&self) -> &BTreeMap<Apqn, Arc<Queue>> {
        &self.queues
    }

    pub(crate) const fn reached(&self) -> &BTreeMap<Apqn, Arc<AtomicU64>> {
        &self.reached
    }

    /// Becomes `config`, which is valid. Queues of adapters and domains that go, and of adapters whose
    /// type or mode changes, are gone; the others follow their adapter's condition.
    pub(crate) fn change_to(&mut self, config: PartitionConfig) {
        let old = std::mem::replace(&mut self.config, config);
        let config = &self.config;
        self.queues.retain(|apqn, queue| {
            let adapter = config.adapters.get(&apqn.apid);
            let stays = config.usage_domains.contains(apqn.apqi)
                && adapter.is_some_and(|now| same_card(&old.adapters[&apqn.apid], now));
            match adapter.filter(|_| stays) {
                Some(adapter) => queue.set_condition(condition(adapter)),
                None => queue.set_condition(Condition::Gone),
            }
            stays
        });
        for (&apid, adapter) in &config.adapters {
            for apqi in config.usage_domains.iter() {
                let apqn = Apqn { apid, apqi };
                self.queues.entry(apqn).or_insert_with(|| {
                    let card = Card::new(adapter.ap_type, adapter.mode);
                    let reached = Arc::clone(self.reached.entry(apqn).or_default());
                    self.made += 1;
                    let hash_key = self.secret.map(|secret| secret.derive(self.made));
                    let condition = condition(adapter);
                    Arc::new(Queue::new(apqn, card, condition, reached, hash_key))
                });
            }
        }
    }
}

fn same_card(a: &AdapterConfig, b: &AdapterConfig) -> bool {
    (a.ap_type, a.mode) == (b.ap_type, b.mode)
}

/// An adapter that is both deconfigured and check-stopped answers as deconfigured: nobody can reach
/// it to see that it has stopped.
const fn condition(adapter: &AdapterConfig) -> Condition {
    if adapter.deconfigured {
        Condition::Deconfigured
    } else if adapter.checkstopped {
        Condition::Checkstopped
    } else {
        Condition::Operating
    }
}
