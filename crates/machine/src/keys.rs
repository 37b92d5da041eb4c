//! The prepared keys of a queue's owner, as an engine uses them.
//!
//! ```text
//!   engine: card model ---> find ---> state's lock, same generation? ---> the owner's cache
//!              |  no lock held while it prepares or computes                   |
//!              +---------> keep ---> state's lock, same generation? -----------+
//!                                                                    reset, revoke: wiped
//! ```
//! Keys are kept per queue, beside its contents and under its lock, because a queue has one owner: two
//! guests can never share a key, or learn by the time of an answer what keys the other one uses, and
//! whatever erases the contents (reset, revoke, hardware that changes) erases the keys in the same moment. A guest
//! with several queues prepares a key once for each, which its second request pays for.
//!
//! An engine whose job was orphaned meanwhile neither finds nor adds keys; a key that it holds already
//! is erased when its operation ends.

use std::sync::Arc;

use cex::keys::{Fingerprint, HashKey, KeyMaterial, KeyStore, PreparedKey};

use crate::state::{Job, State};
use crate::sync::{Mutex, lock};

/// The keys for one job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnerKeys<'q> {
    state: &'q Mutex<State>,
    job: &'q Job,
    hash_key: Option<&'q HashKey>,
}

impl<'q> OwnerKeys<'q> {
    pub(crate) const fn new(
        state: &'q Mutex<State>,
        job: &'q Job,
        hash_key: Option<&'q HashKey>,
    ) -> Self {
        Self {
            state,
            job,
            hash_key,
        }
    }

    /// Computed before the lock is taken.
    fn fingerprint(&self, material: &KeyMaterial<'_>) -> Option<Fingerprint> {
        self.hash_key.map(|key| key.fingerprint(material))
    }
}

impl KeyStore for OwnerKeys<'_> {
    fn find(&self, material: &KeyMaterial<'_>) -> Option<Arc<PreparedKey>> {
        let fingerprint = self.fingerprint(material)?;
        lock(self.state)
            .keys_of(self.job)?
            .find(fingerprint, material)
    }

    fn keep(&self, material: &KeyMaterial<'_>, key: Arc<PreparedKey>) {
        if let Some(fingerprint) = self.fingerprint(material)
            && let Some(keys) = lock(self.state).keys_of(self.job)
        {
            keys.keep(fingerprint, material, key);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::GuestId;
    use crate::queue::Queue;
    use crate::state::{Condition, Requester};
    use arch::{ApType, Apqn, CardMode, Instruction};
    use cex::Card;
    use cex::crypto::PublicKey;
    use cex::type50::{KeyBlock, RsaRequest, SizeClass};

    const APQN: Apqn = Apqn::new(3, 6);
    const BLOCK: KeyBlock = KeyBlock::ModExpo(SizeClass::Bits1024);

    fn queue(hash_key: Option<HashKey>) -> Queue {
        let card = Card::new(ApType::CEX8, CardMode::Accelerator);
        let queue = Queue::new(APQN, card, Condition::Operating, Arc::default(), hash_key);
        queue.plug(GuestId(1), None);
        queue
    }

    fn keeping() -> Queue {
        queue(Some(HashKey::new(&[7; 16])))
    }

    fn request() -> Vec<u8> {
        RsaRequest::ModExpo {
            size: SizeClass::Bits1024,
            exponent: &[3],
            modulus: &[0xff; 128],
            message: &[2],
        }
        .encode()
    }

    fn execute(queue: &Queue, guest: u64, instruction: &Instruction<'_>) {
        queue.execute(Requester::Guest(GuestId(guest)), instruction, &mut []);
    }

    fn job(queue: &Queue, guest: u64) -> Job {
        let message = &request();
        let instruction = Instruction::Nqap {
            apqn: APQN,
            psmid: 1,
            special: false,
            message,
        };
        execute(queue, guest, &instruction);
        queue.take().expect("it was enqueued").0
    }

    fn key() -> Arc<PreparedKey> {
        Arc::new(PreparedKey::Public(PublicKey::new()))
    }

    #[test]
    fn an_owner_finds_its_keys_and_nobody_elses() {
        let request = request();
        let material = KeyMaterial::of(BLOCK, &request).unwrap();
        let ends: [fn(&Queue); 6] = [
            |queue| {
                let force = false;
                execute(queue, 1, &Instruction::Rapq { apqn: APQN, force });
            },
            |queue| {
                let force = false;
                execute(queue, 1, &Instruction::Zapq { apqn: APQN, force });
            },
            Queue::unplug,
            |queue| queue.plug(GuestId(2), None),
            |queue| queue.set_condition(Condition::Checkstopped),
            |queue| queue.set_condition(Condition::Deconfigured),
        ];
        for (number, end) in ends.into_iter().enumerate() {
            let [queue, other] = [keeping(), keeping()];
            let kept = key();
            let first = job(&queue, 1);
            queue.keys(&first).keep(&material, Arc::clone(&kept));
            let found = queue.keys(&job(&queue, 1)).find(&material).unwrap();
            assert!(Arc::ptr_eq(&found, &kept));
            drop(found);
            let elsewhere = job(&other, 1);
            assert!(other.keys(&elsewhere).find(&material).is_none());

            end(&queue);
            assert_eq!(Arc::strong_count(&kept), 1, "end {number}: it is kept");
            // The engine that still has a job of the former owner.
            assert!(queue.keys(&first).find(&material).is_none(), "{number}");
            queue.keys(&first).keep(&material, Arc::clone(&kept));
            assert_eq!(Arc::strong_count(&kept), 1, "end {number}: kept again");
            queue.set_condition(Condition::Operating);
            queue.plug(GuestId(2), None);
            let next = job(&queue, 2);
            assert!(queue.keys(&next).find(&material).is_none(), "{number}");
        }
    }

    #[test]
    fn without_a_secret_nothing_is_kept() {
        let queue = queue(None);
        let request = request();
        let material = KeyMaterial::of(BLOCK, &request).unwrap();
        let job = job(&queue, 1);
        let kept = key();
        queue.keys(&job).keep(&material, Arc::clone(&kept));
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(queue.keys(&job).find(&material).is_none());
    }
}
