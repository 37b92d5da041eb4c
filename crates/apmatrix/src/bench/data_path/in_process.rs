//! RSA through a queue on one core, against OpenSSL on the same core.

use anyhow::Result;

use super::Sizes;
use crate::bench::one_core::side_by_side;
use crate::bench::openssl::OpensslProgram;
use crate::bench::rounds::Rounds;
use crate::bench::rsa::{KnownCrt, OneEngine, linked_openssl_rate};
use crate::bench::scoreboard::Scoreboard;

/// The same key again and again, to `openssl speed`.
const REPEATED: f64 = 0.95;
/// A key of its own for each request, to `openssl speed` with one key.
const FRESH: f64 = 0.45;
/// 4096 bits, to the better one of the host's OpenSSL and the one that is linked.
const LONG: f64 = 0.95;

const RATE: &str = "RSA-2048 CRT, repeated key, in-process queue";
const OPENSSL_ROWS: &[&str] = &[
    "RSA-2048 CRT, openssl speed",
    "RSA-2048 CRT, repeated key to openssl speed",
    "RSA-2048 CRT, fresh key to openssl speed",
    "RSA-4096 CRT to the best library",
];

/// Prints its rows.
pub(super) fn run(board: &mut Scoreboard<'_>, sizes: Sizes) -> Result<()> {
    let openssl = OpensslProgram::find();
    let openssl = openssl.as_ref();
    let program = match openssl {
        Some(openssl) => openssl.version()?,
        None => "not there".to_owned(),
    };
    board.say(&format!("openssl of the host: {program}"))?;
    let measured = measure(sizes, openssl)?;
    let [repeated, fresh, speed] = measured.short.medians();
    board.report(RATE, repeated, "/s")?;
    board.report("RSA-2048 CRT, fresh key, in-process queue", fresh, "/s")?;
    let [long, linked, program] = measured.long.medians();
    board.report("RSA-4096 CRT, repeated key, in-process queue", long, "/s")?;
    board.report("RSA-4096 CRT, the OpenSSL that is linked", linked, "/s")?;
    if openssl.is_none() {
        return board.skip(OPENSSL_ROWS, "there is no openssl program on the path");
    }
    let [speed_row, repeated_row, fresh_row, long_row] = [0, 1, 2, 3].map(|at| OPENSSL_ROWS[at]);
    board.report(speed_row, speed, "/s")?;
    board.report("RSA-4096 CRT, openssl speed", program, "/s")?;
    let ratio = measured.short.of(|[repeated, _, speed]| repeated / speed);
    board.judge_from(repeated_row, ratio, "x", REPEATED)?;
    let ratio = measured.short.of(|[_, fresh, speed]| fresh / speed);
    board.judge_from(fresh_row, ratio, "x", FRESH)?;
    let ratio = measured.long.of(|[long, a, b]| long / a.max(*b));
    board.judge_from(long_row, ratio, "x", LONG)
}

/// Rates per second.
struct Measured {
    /// 2048 bits: repeated key, fresh keys, `openssl speed`.
    short: Rounds<3>,
    /// 4096 bits: repeated key, linked OpenSSL, `openssl speed`.
    long: Rounds<3>,
}

fn measure(sizes: Sizes, openssl: Option<&OpensslProgram>) -> Result<Measured> {
    let (mut one, mut other) = (OneEngine::new()?, OneEngine::new()?);
    let repeated = [KnownCrt::generate(2048)?];
    let long = [KnownCrt::generate(4096)?];
    let fresh = (0..sizes.fresh_keys).map(|_| KnownCrt::generate(2048));
    let fresh: Vec<KnownCrt> = fresh.collect::<Result<_>>()?;
    let speed = |bits| match openssl {
        Some(openssl) => openssl.private_rate(bits, sizes.openssl_seconds),
        None => Ok(f64::NAN),
    };
    let mut measured = Measured {
        short: Rounds::default(),
        long: Rounds::default(),
    };
    for _ in 0..sizes.rounds {
        measured.short.add(side_by_side([
            Box::new(|| one.rate(&repeated, sizes.rate)),
            Box::new(|| other.rate(&fresh, sizes.rate)),
            Box::new(|| speed(2048)),
        ])?);
        measured.long.add(side_by_side([
            Box::new(|| one.rate(&long, sizes.rate)),
            Box::new(|| linked_openssl_rate(4096, sizes.rate)),
            Box::new(|| speed(4096)),
        ])?);
    }
    Ok(measured)
}
