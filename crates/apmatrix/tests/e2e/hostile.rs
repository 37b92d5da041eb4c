//! Clients that break every rule: they lose their own connection, and nobody else notices.
//!
//! | module | the attack |
//! |---|---|
//! | `guest` | millions of random instructions and messages |
//! | `engines` | requests that are thrown away as soon as they are there |
//! | `commands` | floods of commands, guests that die or are stopped in the middle |
//! | `connections` | half-open connections and floods of them |
//! | `rings` | scribbling over shared memory, lying about counts, floods of doorbells, death with full rings |
//! | `alerts` | an eventfd for interruptions whose counter is full |
//! | `descriptors` | descriptors that make whoever touches them wait |
//!
//! `administration` measures what others notice, `honest` is the others, `vmm` is a VMM that nothing holds to the
//! protocol.

mod administration;
mod alerts;
mod commands;
mod connections;
mod descriptors;
mod engines;
mod guest;
mod honest;
mod rings;
mod vmm;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use apmatrix::control::{Request, ask};
use arch::{ApInstructions, Apqn, ResponseCode};
use device::{Client, ClientOptions};

use crate::instance::{A, Instance};
use crate::tier::Tier;

#[test]
fn nobody_waits_for_a_hostile_client() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5");
    instance.mdev(A, &[5], &[4]);
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    let control = instance.run_dir().join("control.sock");
    let connect = || UnixStream::connect(&socket).expect("it listens");

    // Garbage, a lie about the length, a message that never ends, silence: one connection each.
    let huge = [1u16.to_le_bytes(), 1u16.to_le_bytes(), [0xff; 2], [0xff; 2]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &huge] {
        let mut stream = connect();
        stream.write_all(bytes).ok();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        let mut answer = Vec::new();
        // Either an end of file or a reset: the connection is over.
        stream.read_to_end(&mut answer).ok();
    }
    let half: Vec<UnixStream> = (0..3)
        .map(|_| {
            let mut stream = connect();
            stream
                .write_all(&[0, 0, 1, 0])
                .expect("it takes four bytes");
            stream
        })
        .collect();
    // A flood of silent ones: what is above the limit waits in line.
    let silent: Vec<UnixStream> = (0..100).map(|_| connect()).collect();

    let start = Instant::now();
    instance.set("bus/ap/config_time", "60");
    assert!(ask(&control, &Request::Show).is_ok());
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "administration waited {:?}",
        start.elapsed()
    );
    drop((half, silent));

    // Others' places come back when they are gone, and the device works as ever.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut client = loop {
        match Client::connect(&socket, vmm::request("good"), ClientOptions::default()) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    let (status, _) = client.tapq(Apqn::new(5, 4), true);
    assert_eq!(status.code, ResponseCode::NORMAL);
    // What is outside the APCB does not exist for it, and a second VM is told that it is busy.
    let (status, _) = client.tapq(Apqn::new(5, 5), true);
    assert_eq!(status.code, ResponseCode::NOT_AVAILABLE);
    let second = Client::connect(&socket, vmm::request("second"), ClientOptions::default());
    assert!(second.is_err());
    let log = instance.verb(&["log"]);
    let log = String::from_utf8(log.stdout).expect("text");
    assert!(
        log.contains("EBUSY") && log.contains("refused second"),
        "{log}"
    );
}

/// One VM has one mediated device; the second is refused (spec 5.1).
#[test]
fn a_vm_opens_one_device_only() {
    if !Tier::Mount.is_there() {
        return;
    }
    let instance = Instance::start();
    instance.mdev(A, &[], &[]);
    instance.mdev(crate::instance::B, &[], &[]);
    let open = |mdev: &str, vm: &str| {
        let socket = instance.run_dir().join(format!("mdev/{mdev}.sock"));
        Client::connect(&socket, vmm::request(vm), ClientOptions::default())
    };
    let first = open(A, "vm1").expect("it opens");
    let refused = open(crate::instance::B, "vm1").expect_err("the VM has a device");
    assert!(refused.to_string().contains("EPERM"), "{refused}");
    let other = open(crate::instance::B, "vm2").expect("another VM");
    drop((first, other));
}
