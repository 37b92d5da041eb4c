//! Connections that never become sessions.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::administration::Scene;
use super::vmm::{Ends, Vmm, socket, version};
use crate::instance::A;
use crate::tier::Tier;

/// Threads and descriptors that a daemon under attack may have more than before: a few connections with
/// a thread and five descriptors each.
const MORE_THREADS: u64 = 16;
const MORE_DESCRIPTORS: usize = 64;

#[test]
fn half_open_connections_are_given_up() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    let silent: Vec<Vmm> = (0..4).map(|_| Vmm::connect(&socket)).collect();
    thread::scope(|scope| {
        // A byte now and then: each is news, and the whole is never there.
        let slow = scope.spawn(|| {
            let mut vmm = Vmm::connect(&socket);
            let bytes = version("slow");
            let mut last = bytes[..bytes.len() - 1].iter().cycle();
            while vmm
                .stream
                .write_all(&[*last.next().expect("a cycle")])
                .is_ok()
            {
                thread::sleep(Duration::from_millis(100));
            }
        });
        scene.goes_on("half-open connections");
        for mut vmm in silent {
            let mut rest = Vec::new();
            vmm.stream
                .read_to_end(&mut rest)
                .expect("an end, not a time-out");
            assert!(rest.is_empty());
        }
        slow.join().expect("it is given up");
    });
    drop(Vmm::open(&socket, "later"));
}

#[test]
fn thousands_of_connections_take_a_few_threads() {
    if !Tier::Mount.is_there() {
        return;
    }
    let scene = Scene::new();
    let socket = socket(&scene.instance, A);
    let descriptors = || {
        let path = format!("/proc/{}/fd", scene.instance.pid());
        std::fs::read_dir(path).expect("the daemon runs").count()
    };
    let (threads, files) = (scene.status("Threads"), descriptors());
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let flood = |and_opens: bool| {
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut stream) = UnixStream::connect(&socket) else {
                continue;
            };
            if and_opens {
                // And never looks at the answer.
                stream.write_all(&version("flood")).ok();
            }
            made.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (mut most_threads, mut most_files) = (0, 0);
    thread::scope(|scope| {
        let ends = Ends(&stop);
        scope.spawn(|| flood(false));
        scope.spawn(|| flood(true));
        scene.goes_on("a flood of connections");
        while made.load(Ordering::Relaxed) < 5000 {
            most_threads = most_threads.max(scene.status("Threads"));
            most_files = most_files.max(descriptors());
        }
        drop(ends);
    });
    println!("{made:?} connections, at most {most_threads} threads and {most_files} descriptors");
    assert!(
        most_threads <= threads + MORE_THREADS,
        "{most_threads} threads"
    );
    assert!(
        most_files <= files + MORE_DESCRIPTORS,
        "{most_files} descriptors"
    );
    drop(Vmm::open(&socket, "later"));
}
