//! The demo with embedded guests: no root, no FUSE, no QEMU.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arch::{CrycbFormat, Facilities};
use cex::reference::{ReferenceKey, mod_exp};
use device::{Client, ClientOptions, OpenRequest};
use guest::{Guest, ModExpo};

use super::stage::{MDEVS, Stage};
use crate::workload;

/// How long the guest may take to hear of a change.
const SOON: Duration = Duration::from_secs(3);
/// RSA requests of each kind and guest.
const ROUNDS: usize = 10;

/// Two embedded guests over real sockets, RSA in both, and a hot unplug.
///
/// # Errors
/// What went otherwise than it should.
pub(crate) fn embedded(out: &mut dyn Write) -> Result<()> {
    let start = Instant::now();
    let key = ReferenceKey::generate(2048).context("OpenSSL cannot make a key")?;
    let mut stage = Stage::open(out)?;
    stage.give_each_guest_an_adapter()?;

    stage.say(
        "Two embedded guests open the devices, each over its socket, and scan their AP bus:",
    )?;
    let mut guests = Vec::new();
    for mdev in MDEVS {
        let guest = connect(&stage, mdev)?;
        let seen: Vec<String> = guest
            .devices()
            .into_iter()
            .filter(|d| d.contains('.'))
            .collect();
        let given = stage.read(&format!("devices/vfio_ap/matrix/{mdev}/guest_matrix"))?;
        ensure!(
            seen.join(" ") == given,
            "the guest sees {seen:?} instead of {given}"
        );
        stage.say(&format!("  the guest of {mdev} sees {given}"))?;
        guests.push(guest);
    }
    for (number, guest) in guests.iter_mut().enumerate() {
        let before = stage.requests()?;
        for _ in 0..ROUNDS {
            check_rsa(guest, &key)?;
        }
        let reached = stage.requests()? - before;
        ensure!(
            reached == 2 * ROUNDS as u64,
            "{reached} requests reached the card"
        );
        stage.say(&format!(
            "  guest {}: {reached} RSA-2048 requests through its card, all equal to OpenSSL's",
            number + 1
        ))?;
    }
    stage.unplug_first()?;
    let before = stage.requests()?;
    let first = guests.first_mut().context("there are two guests")?;
    ensure!(is_told(first), "the guest was not told of the change");
    let message = key.random_message()?;
    let refused = first.mod_expo(&ModExpo {
        message: &message,
        exponent: &key.e,
        modulus: &key.n,
    });
    let error = refused
        .err()
        .context("a request succeeded on an unplugged queue")?;
    ensure!(
        stage.requests()? == before,
        "a request reached the unplugged card"
    );
    stage.say(&format!(
        "  the guest is told; its next request fails ({error}) and reaches no card"
    ))?;
    let second = guests.last_mut().context("there are two guests")?;
    check_rsa(second, &key)?;
    stage.say("  the second guest works on")?;
    stage.say(&format!("Done in {:.1} s.", start.elapsed().as_secs_f64()))
}

fn connect(stage: &Stage<'_>, mdev: &str) -> Result<Guest<Client>> {
    let request = OpenRequest {
        vm: format!("embedded-{mdev}").parse()?,
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    Guest::connect(&stage.socket(mdev), request, ClientOptions::default())
        .with_context(|| format!("cannot open {mdev}"))
}

/// Whether the guest hears of a change of its configuration. Its session's thread tells it soon after
/// the write returned; the queues are gone by then already.
fn is_told(guest: &mut Guest<Client>) -> bool {
    let start = Instant::now();
    while !guest.follow_changes() {
        if start.elapsed() > SOON {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// One mod-expo and one CRT request, compared with OpenSSL.
fn check_rsa(guest: &mut Guest<Client>, key: &ReferenceKey) -> Result<()> {
    let message = key.random_message()?;
    let answer = guest.mod_expo(&ModExpo {
        message: &message,
        exponent: &key.e,
        modulus: &key.n,
    })?;
    ensure!(
        answer == mod_exp(&message, &key.e, &key.n)?,
        "a mod-expo differs from OpenSSL's"
    );
    ensure!(
        guest.crt(&workload::private(key, &message))? == key.private(&message)?,
        "a CRT differs from OpenSSL's"
    );
    Ok(())
}
