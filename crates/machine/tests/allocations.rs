//! A request whose key is kept allocates nothing: from NQAP over the card to DQAP. What OpenSSL takes
//! for itself is not counted; it does not come from Rust's allocator.

use arch::{ApInstructions, Apqn};
use cex::keys::HashKey;
use cex::reference::{ReferenceKey, mod_exp};
use cex::type50::{RsaRequest, SizeClass};
use machine::{Machine, PartitionConfig, Scratch};

const QUEUE: Apqn = Apqn::new(3, 6);
const REQUESTS: u64 = 10_000;

/// Sends `message` and checks the reply; whether that went as it should.
fn round(machine: &Machine, scratch: &mut Scratch, message: &[u8], expected: &[u8]) -> bool {
    let mut cpu = machine.host();
    let mut reply = [0; 144];
    let enqueued = cpu.nqap(QUEUE, 7, false, message);
    machine.run_one(QUEUE, scratch);
    let got = cpu.dqap(QUEUE, &mut reply);
    enqueued.to_gr1() == 0 && got.stored == 144 && reply[144 - expected.len()..] == *expected
}

#[test]
fn requests_with_kept_keys_allocate_nothing() {
    let config = PartitionConfig::parse_spec("card 3 14 A; dom 6").unwrap();
    let secret = HashKey::new(&[3; 16]);
    let machine = Machine::keeping_keys(&config, Box::new(|_| {}), secret).unwrap();
    let key = ReferenceKey::generate(1024).unwrap();
    let message = &key.random_message().unwrap()[..];
    let size = SizeClass::Bits1024;
    let crt = RsaRequest::Crt {
        size,
        key: key.crt(),
        message,
    };
    let mod_expo = |exponent| RsaRequest::ModExpo {
        size,
        exponent,
        modulus: &key.n,
        message,
    };
    let private = mod_exp(message, &key.d, &key.n).unwrap();
    let public = mod_exp(message, &key.e, &key.n).unwrap();
    for (name, request, expected) in [
        ("CRT", crt, &private),
        ("public mod-expo", mod_expo(&key.e), &public),
        ("private mod-expo", mod_expo(&key.d), &private),
    ] {
        let request = request.encode();
        let mut scratch = Scratch::new();
        // Imported, then prepared.
        let fresh = allocation_counter::measure(|| {
            for _ in 0..2 {
                assert!(round(&machine, &mut scratch, &request, expected), "{name}");
            }
        });
        let mut right = 0;
        let counted = allocation_counter::measure(|| {
            for _ in 0..REQUESTS {
                right += u64::from(round(&machine, &mut scratch, &request, expected));
            }
        });
        assert_eq!(right, REQUESTS, "{name}");
        assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
        if name == "CRT" {
            assert!(fresh.count_total > 0, "the test sees allocations");
        }
    }
}
