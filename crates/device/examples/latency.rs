//! Measures one queue of an open device from a process of its own: NQAP of a request that needs no
//! cryptography, to the reply that DQAP gets, through rings and over the socket.
//!
//! ```text
//!   cargo run --release -p device --example latency -- RUN/mdev/UUID.sock 05.0004
//! ```

use std::time::{Duration, Instant};

use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, ResponseCode};
use device::{Client, ClientOptions, OpenRequest};

/// Every card answers it at once, by an error reply.
const MALFORMED: [u8; 8] = [0, 0x50, 0, 8, 0, 0, 0, 0];
const WARM_UP: usize = 2_000;
const REQUESTS: usize = 20_000;

type Error = Box<dyn std::error::Error>;

fn measure(socket: &std::path::Path, apqn: Apqn, rings: bool) -> Result<Vec<Duration>, Error> {
    let request = OpenRequest {
        vm: "latency".parse()?,
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let options = ClientOptions {
        rings,
        ..ClientOptions::default()
    };
    let mut client = Client::connect(socket, request, options)?;
    if client.uses_rings() != rings {
        return Err("the daemon has no rings".into());
    }
    let mut times = Vec::with_capacity(REQUESTS);
    let mut buffer = [0; 64];
    for number in 0..WARM_UP + REQUESTS {
        let start = Instant::now();
        let status = client.nqap(apqn, number as u64, false, &MALFORMED);
        if status.code != ResponseCode::NORMAL {
            return Err(format!("NQAP: {status:?}").into());
        }
        loop {
            let got = client.dqap(apqn, &mut buffer);
            match got.status.code {
                ResponseCode::NORMAL => break,
                ResponseCode::FULL_OR_NO_REPLY => std::hint::spin_loop(),
                _ => return Err(format!("DQAP: {:?}", got.status).into()),
            }
        }
        if number >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(apqn)) = (arguments.next(), arguments.next()) else {
        return Err("give the device's socket and a queue".into());
    };
    let apqn = apqn.parse().map_err(|_| "that is no queue")?;
    for (name, rings) in [("rings", true), ("socket", false)] {
        // The device may still be busy with the end of the former client.
        let mut tries = 0;
        let times = loop {
            match measure(socket.as_ref(), apqn, rings) {
                Err(error) if tries < 50 && error.to_string().contains("EBUSY") => {
                    std::thread::sleep(Duration::from_millis(20));
                    tries += 1;
                }
                measured => break measured?,
            }
        };
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        #[expect(clippy::print_stdout, reason = "this is what it is for")]
        {
            println!(
                "{name}: {REQUESTS} requests, median {:?}, p90 {:?}, p99 {:?}",
                at(50),
                at(90),
                at(99)
            );
        }
    }
    Ok(())
}
