//! Serves a pretended adapter on a socket: `echo_card SOCKET ADAPTERS DOMAINS`, numbers separated by
//! commas. Enough for a Linux guest to show the card; its replies are no cryptography.
#![expect(
    clippy::print_stdout,
    reason = "a developer's program that tells what it does"
)]

mod card;

use std::error::Error;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use card::Card;

fn numbers(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    text.split(',').map(str::parse).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, adapters, domains] = args.as_slice() else {
        return Err("usage: echo_card SOCKET ADAPTERS DOMAINS".into());
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let card = Arc::new(Card::new(&numbers(adapters)?, &numbers(domains)?));
    println!("echo_card: serving on {path}");
    for stream in listener.incoming() {
        let stream = stream?;
        let card = Arc::clone(&card);
        std::thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || {
                let end = device::serve(stream, &*card, &device::Limits::default());
                let counters = &card.counters;
                println!(
                    "echo_card: {end}; instructions {} requests {} resets {}",
                    counters.instructions.load(Ordering::Relaxed),
                    counters.requests.load(Ordering::Relaxed),
                    counters.resets.load(Ordering::Relaxed),
                );
            })?;
    }
    Ok(())
}
