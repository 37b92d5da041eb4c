//! The life of a guest's queues, in a real Linux guest: the daemon, the guest and QEMU start, stop and
//! die while requests are going on.

mod daemon;

mod starts;
mod vmm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use apmatrix::launch::GuestConsole;
use apmatrix::launch::vectors::VectorFile;
use apmatrix::workload;
use arch::{ApInstructions, CrycbFormat, Facilities};
use device::{Client, ClientError, ClientOptions, OpenRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{A, Instance};
use crate::linux_guest::{COMMAND, run};
use crate::monitor;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// A daemon with a mediated device of two adapters and two domains.
fn instance() -> Instance {
    let instance = Instance::start();
    instance.set("bus/ap/apmask", "-5,-6");
    instance.mdev(A, &[5, 6], &[4, 0x47]);
    instance
}

/// Its queues.
const QUEUES: &str = "05.0004\n05.0047\n06.0004\n06.0047\n";

/// Requests with their answers.
fn requests(bits: u32, count: usize) -> Vec<u8> {
    let mut file = VectorFile::new();
    workload::add_class(&mut file, bits, count).expect("OpenSSL makes keys");
    file.to_bytes()
}

fn monitor_socket(instance: &Instance) -> PathBuf {
    instance.dir().join("monitor")
}

/// A guest of [`A`] with a monitor.
fn launch(instance: &Instance, files: Vec<(&str, Vec<u8>)>) -> apmatrix::launch::Launch {
    let mut launch = crate::linux_guest::launch(instance, A, files);
    launch.extra_arguments = monitor::arguments(&monitor_socket(instance)).into();
    launch
}

/// What QEMU's process gets from outside.
fn signal(guest: &mut GuestConsole, signal: Signal) {
    let pid = i32::try_from(guest.process_id()).expect("process ids are small");
    kill(Pid::from_raw(pid), signal).expect("QEMU runs");
}

fn power_off(guest: GuestConsole) {
    let ended = guest.power_off(COMMAND).expect("the guest powers off");
    assert!(ended.success(), "{ended}");
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Another VMM opens the device.
fn open(instance: &Instance) -> Result<Client, ClientError> {
    let request = OpenRequest {
        vm: "another".parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    };
    let socket = instance.run_dir().join(format!("mdev/{A}.sock"));
    Client::connect(&socket, request, ClientOptions::default())
}

/// Whether a guest holds the device.
fn is_held(instance: &Instance) -> bool {
    let status = "devices/ap/card05/05.0004/status";
    // A daemon that is just starting has no tree yet.
    std::fs::read_to_string(instance.sys(status)).is_ok_and(|status| status == "in use\n")
}

/// The first queue of the device is there and empty, and nothing comes out of it.
fn assert_empty(client: &mut Client) {
    let apqn = arch::Apqn::new(5, 4);
    let (status, _) = client.tapq(apqn, true);
    assert_eq!(
        status,
        arch::QueueStatus::new(arch::ResponseCode::NORMAL, arch::status::StatusFlags::EMPTY)
    );
    let got = client.dqap(apqn, &mut [0; 4096]);
    assert_eq!(got.status.code, arch::ResponseCode::FULL_OR_NO_REPLY);
}

/// The guest scans its bus; the queues that it has afterwards.
fn scan(guest: &mut GuestConsole) -> String {
    run(
        guest,
        "n=$(cat /sys/bus/ap/scans); echo 1 > /sys/bus/ap/scans; \
         until [ $(cat /sys/bus/ap/scans) -gt $n ]; do sleep 0.02; done",
    );
    run(guest, "cd /sys/bus/ap/devices; ls -1d *.* || true; cd /")
}

/// A load in the guest: processes that send one request after the other, each until one is refused or
/// answered wrongly.
struct Load;

impl Load {
    /// Starts it on the guest's file `/extra/load`.
    fn start(guest: &mut GuestConsole, requesters: u32) -> Self {
        run(
            guest,
            &format!(
                "rm -f /tmp/end /tmp/code; \
                 ( (apclient bench /extra/load --until /tmp/end --requesters {requesters} \
                 > /tmp/load 2>&1; echo $? > /tmp/code) & )"
            ),
        );
        Self
    }

    /// Waits until cards have computed `more` requests beyond those of the daemon's life so far.
    fn goes_on(&self, instance: &Instance, more: u64) {
        let before = instance.requests();
        eventually("requests", || instance.requests() >= before + more);
    }

    /// Ends it. No request was refused, no answer was wrong.
    fn end(self, guest: &mut GuestConsole) {
        let said = run(
            guest,
            "touch /tmp/end; until [ -s /tmp/code ]; do sleep 0.1; done; cat /tmp/load /tmp/code",
        );
        assert!(
            said.starts_with("ops ") && said.ends_with("\n0\n"),
            "{said}"
        );
        println!("{said}");
    }
}

/// Sends slow requests and leaves them behind in the queues.
fn leave_requests(instance: &Instance, guest: &mut GuestConsole) {
    let before = instance.requests();
    run(guest, "(apclient hold /extra/slow 8 > /dev/null 2>&1 &)");
    eventually("a request", || instance.requests() > before);
}

/// All requests of the guest's file `/extra/load` are answered rightly and its kernel has nothing to
/// say about replies that it did not expect.
fn assert_works(guest: &mut GuestConsole) {
    let said = run(guest, "apclient run /extra/load --requesters 4");
    assert!(said.contains(" failed 0\n"), "{said}");
    let log = run(guest, "dmesg | grep -ci psmid || true");
    assert_eq!(log.trim(), "0", "the guest's kernel complains");
}

/// The device can be opened, as soon as the daemon has noticed, and its queue is as new.
fn assert_free(instance: &Instance) {
    let mut client = None;
    eventually("the device is free", || {
        client = open(instance).ok();
        client.is_some()
    });
    assert_empty(&mut client.expect("it is open"));
}
