//! How fast the accelerator's operations are on one core, beside OpenSSL's own RSA.
//!
//! `cargo run --release -p cex --example rsa_speed`

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::error::Error;
use std::time::Duration;

use arch::{ApType, Apqi, CardMode};
use cex::crypto::PrivateKey;
use cex::type50::{CrtKey, RsaRequest, SizeClass};
use cex::{Card, Reply, Request};
use openssl::rsa::{Padding, Rsa};

const SPAN: Duration = Duration::from_millis(100);

/// CPU time of this thread: what else the machine does meets no number.
fn cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        t.tv_sec.unsigned_abs(),
        u32::try_from(t.tv_nsec).unwrap_or_default(),
    )
}

fn per_second(mut operation: impl FnMut()) -> f64 {
    let mut rates = [0.0; 5];
    for rate in &mut rates {
        let start = cpu();
        let mut count = 0u32;
        while cpu() - start < SPAN {
            for _ in 0..8 {
                operation();
            }
            count += 8;
        }
        *rate = f64::from(count) / (cpu() - start).as_secs_f64();
    }
    rates.sort_by(f64::total_cmp);
    rates[2]
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", openssl::version::version());
    let card = Card::new(ApType::CEX8, CardMode::Accelerator);
    let mut reply = Reply::new();
    let mut send = |message: &[u8]| {
        let request = Request {
            domain: Apqi(0),
            special: false,
            message,
        };
        card.process(&request, &mut reply);
        assert_eq!(reply.bytes()[1], 0x80);
    };
    println!(
        "bits   OpenSSL  CRT fresh (ratio)  prepared (ratio)   mod-expo d   mod-expo e   per second, medians of 5"
    );
    for (bits, size) in [
        (1024, SizeClass::Bits1024),
        (2048, SizeClass::Bits2048),
        (4096, SizeClass::Bits4096),
    ] {
        let rsa = Rsa::generate(bits)?;
        let missing = "a generated key has all its parts";
        let part = |part: Option<&openssl::bn::BigNumRef>| part.ok_or(missing).map(|p| p.to_vec());
        let [p, q] = [part(rsa.p())?, part(rsa.q())?];
        let [dp, dq, u] = [part(rsa.dmp1())?, part(rsa.dmq1())?, part(rsa.iqmp())?];
        let message = vec![0x5a; bits as usize / 8 - 1];
        let key = CrtKey {
            p: &p,
            q: &q,
            dp: &dp,
            dq: &dq,
            u: &u,
        };
        let message = &message[..];
        let crt = RsaRequest::Crt { size, key, message }.encode();
        let modulus = rsa.n().to_vec();
        let mod_expo = |exponent: &[u8]| {
            RsaRequest::ModExpo {
                size,
                exponent,
                modulus: &modulus,
                message,
            }
            .encode()
        };
        let [private, public] = [mod_expo(&rsa.d().to_vec()), mod_expo(&rsa.e().to_vec())];
        let mut padded = vec![0; bits as usize / 8];
        padded[1..].copy_from_slice(message);
        let mut out = vec![0; padded.len()];
        let own = per_second(|| {
            let done = rsa.private_decrypt(&padded, &mut out, Padding::NONE);
            assert_eq!(done.ok(), Some(out.len()));
        });
        let kept = PrivateKey::import(&key)?;
        let prepared = per_second(|| assert!(kept.apply(message, &mut out).is_ok()));
        let [crt, private, public] = [&crt, &private, &public].map(|m| per_second(|| send(m)));
        let [fresh_ratio, ratio] = [crt / own, prepared / own];
        println!(
            "{bits}  {own:8.0}  {crt:10.0} ({fresh_ratio:.2})  {prepared:9.0} ({ratio:.2})  \
             {private:11.0}  {public:11.0}"
        );
    }
    Ok(())
}
