//! A VMM that nothing holds to the protocol.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arch::{CrycbFormat, Facilities, Instruction};
use device::OpenRequest;
use device::exec::encode_request;
use device::message::{Command, HEADER_LEN, Header, MINOR, SetIrqs, SetIrqsFlags, VersionHead};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use zerocopy::{FromBytes, IntoBytes};

use crate::instance::Instance;

/// How long anything may take that only the machine's load delays.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a VM asks for when it opens a device.
pub(super) fn request(vm: &str) -> OpenRequest {
    OpenRequest {
        vm: vm.parse().expect("an identity"),
        crycb_format: CrycbFormat::Format2,
        facilities: Facilities::APFT | Facilities::APQCI,
    }
}

/// The socket of a mediated device.
pub(super) fn socket(instance: &Instance, mdev: &str) -> PathBuf {
    instance.run_dir().join(format!("mdev/{mdev}.sock"))
}

/// Ends an attack, also when the test fails: its threads look at the flag.
pub(super) struct Ends<'a>(pub(super) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection to a mediated device's socket.
pub(super) struct Vmm {
    pub(super) stream: UnixStream,
}

impl Vmm {
    /// Connected, not open.
    pub(super) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("it listens");
        let patience = Some(PATIENCE);
        stream.set_read_timeout(patience).expect("a socket");
        stream.set_write_timeout(patience).expect("a socket");
        Self { stream }
    }

    /// Open, as soon as the device is free.
    pub(super) fn open(socket: &Path, vm: &str) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut vmm = Self::connect(socket);
            vmm.send(&version(vm));
            match vmm.receive() {
                Some((header, _)) if header.error.get() == 0 => return vmm,
                refused => assert!(Instant::now() < deadline, "{refused:?}"),
            }
            std::thread::yield_now();
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is read");
    }

    /// Sends bytes with descriptors; how many bytes were taken, none when the connection is over.
    pub(super) fn pass(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Option<usize> {
        let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        let slices = [std::io::IoSlice::new(bytes)];
        rustix::net::sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL).ok()
    }

    /// The next message, or none at the end of the connection.
    pub(super) fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.stream.read_exact(&mut header).ok()?;
        let (header, _) = Header::read_from_prefix(&header).expect("its length");
        let mut payload = vec![0; header.payload_len(1 << 20).expect("a daemon does not lie")];
        self.stream.read_exact(&mut payload).ok()?;
        Some((header, payload))
    }

    /// Sends a command; the errno of its reply, 0 for success.
    pub(super) fn errno(&mut self, bytes: &[u8]) -> u32 {
        self.send(bytes);
        let (header, _) = self.receive().expect("it answers");
        header.error.get()
    }
}

/// A command as a message.
pub(super) fn message(command: Command, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    let header = Header::command(1, command, length);
    [header.as_bytes(), payload].concat()
}

/// VERSION of this VM.
pub(super) fn version(vm: &str) -> Vec<u8> {
    let head = VersionHead {
        minor: MINOR.into(),
        ..VersionHead::default()
    };
    let text = request(vm).to_json();
    let payload = [head.as_bytes(), text.as_bytes(), &[0]].concat();
    message(Command::Version, &payload)
}

/// An instruction as a message; `capacity` is the length of DQAP's buffer.
pub(super) fn exec(instruction: &Instruction<'_>, capacity: u32) -> Vec<u8> {
    let (request, data) = encode_request(instruction, capacity);
    message(Command::ApExec, &[request.as_bytes(), data].concat())
}

/// `SET_IRQS` for an index; the eventfd travels beside it.
pub(super) fn set_irqs(index: u32) -> Vec<u8> {
    let command = SetIrqs {
        argsz: SetIrqs::SIZE.into(),
        flags: (SetIrqsFlags::EVENTFD | SetIrqsFlags::TRIGGER)
            .bits()
            .into(),
        index: index.into(),
        start: 0.into(),
        count: 1.into(),
    };
    message(Command::DeviceSetIrqs, command.as_bytes())
}
