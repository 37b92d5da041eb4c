//! The operations by a card: whole messages, decoded and answered. A fresh key comes to a card that keeps no
//! keys, a repeated one to a card with its owner's keys.

use std::error::Error;
use std::sync::{Arc, Mutex};

use arch::{ApType, Apqi, CardMode};
use cex::keys::{HashKey, KeyCache, KeyMaterial, KeyStore, NoKeys, PreparedKey};
use cex::type50::{RsaRequest, SizeClass};
use cex::{Card, Reply, Request};

use crate::operation::{Contender, KeyNumbers, Operation};

/// What a reply of an accelerator begins with, behind a zero.
const TYPE_80: u8 = 0x80;

/// A card with messages for it.
pub(crate) struct WithKey {
    card: Card,
    reply: Reply,
    keys: Kept,
    crt: Vec<u8>,
    private: Vec<u8>,
    public: Vec<u8>,
    /// Of the modulus in bytes.
    length: usize,
}

/// One owner's keys.
struct Kept {
    hash: HashKey,
    keys: Mutex<KeyCache>,
}

impl WithKey {
    pub(crate) fn new(numbers: &KeyNumbers) -> Result<Self, Box<dyn Error>> {
        let KeyNumbers { key, message, .. } = numbers;
        let size = match key.bits {
            1024 => SizeClass::Bits1024,
            2048 => SizeClass::Bits2048,
            3072 | 4096 => SizeClass::Bits4096,
            _ => return Err("cards have no such size".into()),
        };
        let mod_expo = |exponent| {
            let request = RsaRequest::ModExpo {
                size,
                exponent,
                modulus: &key.n,
                message,
            };
            request.encode()
        };
        let crt = RsaRequest::Crt {
            size,
            key: key.crt(),
            message,
        };
        Ok(Self {
            card: Card::new(ApType::CEX8, CardMode::Accelerator),
            reply: Reply::new(),
            keys: Kept {
                hash: HashKey::new(&[7; 16]),
                keys: Mutex::default(),
            },
            crt: crt.encode(),
            private: mod_expo(&key.d),
            public: mod_expo(&key.e),
            length: message.len(),
        })
    }
}

impl Contender for WithKey {
    fn name(&self) -> &'static str {
        "the card (cex)"
    }

    fn run(&mut self, operation: Operation, result: &mut [u8]) -> bool {
        let message = match operation {
            Operation::CrtFresh | Operation::CrtRepeated => &self.crt,
            Operation::PrivateFresh | Operation::PrivateRepeated => &self.private,
            Operation::PublicFresh | Operation::PublicRepeated => &self.public,
        };
        let request = Request {
            domain: Apqi(0),
            special: false,
            message,
        };
        let keys: &dyn KeyStore = if operation.is_fresh() {
            &NoKeys
        } else {
            &self.keys
        };
        self.card.process_with(&request, keys, &mut self.reply);
        let reply = self.reply.bytes();
        if reply.get(1) != Some(&TYPE_80) {
            return false;
        }
        result[..self.length].copy_from_slice(&reply[reply.len() - self.length..]);
        true
    }
}

impl KeyStore for Kept {
    fn find(&self, material: &KeyMaterial<'_>) -> Option<Arc<PreparedKey>> {
        let fingerprint = self.hash.fingerprint(material);
        self.keys.lock().ok()?.find(fingerprint, material)
    }

    fn keep(&self, material: &KeyMaterial<'_>, key: Arc<PreparedKey>) {
        let fingerprint = self.hash.fingerprint(material);
        if let Ok(mut keys) = self.keys.lock() {
            keys.keep(fingerprint, material, key);
        }
    }
}
