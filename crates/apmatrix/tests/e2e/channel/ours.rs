//! The suite's steps by `device::Client`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use arch::{
    ApInstructions, Apqn, CrycbFormat, Facilities, Instruction, Mask256, Outcome, ResponseCode,
};
use device::message::{Command, HEADER_LEN};
use device::{Client, ClientError, ClientOptions, DmaRange, IrqIndex, OpenRequest};
use rustix::event::{EventfdFlags, eventfd};

use super::{LONG, Vmm};
use crate::instance::Instance;

/// Clients and eventfds by their names.
pub(super) struct Clients {
    sockets: PathBuf,
    rings: bool,
    clients: BTreeMap<String, Client>,
    generations: BTreeMap<String, u64>,
    eventfds: BTreeMap<String, OwnedFd>,
}

type Answer = Result<String, ClientError>;

fn number(word: &str) -> u64 {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    }
    .expect("a number")
}

/// A number that fits its field.
fn small<T: TryFrom<u64>>(word: &str) -> T {
    T::try_from(number(word)).ok().expect("it fits")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16))
        .collect::<Result<_, _>>()
        .expect("hex digits")
}

fn members(mask: Mask256) -> String {
    let numbers: Vec<String> = mask.iter().map(|number| number.to_string()).collect();
    if numbers.is_empty() {
        "-".to_owned()
    } else {
        numbers.join(" ")
    }
}

fn new_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd")
}

impl Clients {
    /// Clients that go through rings, or have a socket only.
    pub(super) fn new(instance: &Instance, rings: bool) -> Self {
        Self {
            sockets: instance.run_dir().join("mdev"),
            rings,
            clients: BTreeMap::new(),
            generations: BTreeMap::new(),
            eventfds: BTreeMap::new(),
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).expect("the client is open")
    }

    fn socket(&self, mdev: &str) -> PathBuf {
        self.sockets.join(format!("{mdev}.sock"))
    }

    fn open(&mut self, name: &str, mdev: &str, vm: &str) -> Answer {
        let request = OpenRequest {
            vm: vm.parse().expect("an identity"),
            crycb_format: CrycbFormat::Format2,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let options = ClientOptions {
            reset: LONG,
            rings: self.rings,
            ..ClientOptions::default()
        };
        let client = Client::connect(&self.socket(mdev), request, options)?;
        assert_eq!(client.uses_rings(), self.rings);
        let grant = client.grant();
        let format = match grant.crycb_format {
            CrycbFormat::Format0 => 0,
            CrycbFormat::Format1 => 1,
            CrycbFormat::Format2 => 2,
        };
        let mut facilities = String::from("ap");
        for (facility, name) in [
            (Facilities::APFT, " apft"),
            (Facilities::APQCI, " apqci"),
            (Facilities::APQI, " apqi"),
        ] {
            if grant.facilities.contains(facility) {
                facilities += name;
            }
        }
        let apxa = if grant.apxa { ", apxa" } else { "" };
        self.clients.insert(name.to_owned(), client);
        Ok(format!("format {format}, {facilities}{apxa}"))
    }

    /// Opens, unless the device is still busy with its last client's end.
    fn open_when_free(&mut self, name: &str, mdev: &str, vm: &str) -> Answer {
        let start = Instant::now();
        loop {
            match self.open(name, mdev, vm) {
                Err(ClientError::Refused(arch::Errno::EBUSY)) if start.elapsed() < LONG => {}
                answer => return answer,
            }
        }
    }

    /// One message on a connection of its own, which the types of our client cannot express: its errno,
    /// and whether the connection ends.
    fn alone(&self, mdev: &str, command: u16, payload: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket(mdev)).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a socket");
        let mut message = Vec::new();
        for field in [1, command] {
            message.extend(field.to_le_bytes());
        }
        let size = u32::try_from(HEADER_LEN + payload.len()).expect("it is short");
        for field in [size, 0, 0] {
            message.extend(field.to_le_bytes());
        }
        message.extend(payload);
        stream.write_all(&message).expect("it takes the message");
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).expect("it answers");
        let errno = i32::from_le_bytes(header[12..].try_into().expect("four bytes"));
        let mut rest = Vec::new();
        let closed = errno != 0 && stream.read_to_end(&mut rest).is_ok() && rest.is_empty();
        super::name(errno) + if closed { ", closed" } else { "" }
    }

    fn version(&self, mdev: &str, json: &str) -> String {
        let payload = [&[0, 0, 1, 0], json.as_bytes(), &[0]].concat();
        let answer = self.alone(mdev, Command::Version.raw(), &payload);
        answer.trim_end_matches(", closed").to_owned()
    }

    fn set_irqs(&mut self, name: &str, words: &[&str]) -> Answer {
        let [argsz, flags, index, start, count, what @ ..] = words else {
            panic!("set-irqs {words:?}")
        };
        let mut payload = Vec::new();
        for word in [argsz, flags, index, start, count] {
            payload.extend(small::<u32>(word).to_le_bytes());
        }
        let usual = (*argsz, *flags, *start, *count) == ("20", "0x24", "0", "1");
        let irq = IrqIndex::from_raw(small(index));
        let pair = [new_eventfd(), new_eventfd()];
        let (pipe, _) = std::io::pipe().expect("a pipe");
        let eventfd = match what {
            ["eventfd", eventfd_name] => {
                let entry = self.eventfds.entry((*eventfd_name).to_owned());
                let eventfd = entry.or_insert_with(new_eventfd);
                Some(eventfd.try_clone().expect("a descriptor"))
            }
            _ => None,
        };
        let descriptors: Vec<BorrowedFd<'_>> = match what {
            ["pipe"] => vec![pipe.as_fd()],
            ["two"] => pair.iter().map(AsFd::as_fd).collect(),
            _ => eventfd.as_ref().map(AsFd::as_fd).into_iter().collect(),
        };
        let client = self.clients.get_mut(name).expect("the client is open");
        match (irq.filter(|_| usual), what) {
            (Some(irq), ["eventfd", _] | ["none"]) => {
                client.set_irq(irq, eventfd)?;
            }
            _ => drop(client.command(Command::DeviceSetIrqs.raw(), &payload, &descriptors)?),
        }
        Ok("ok".to_owned())
    }

    /// What an eventfd has counted since it was read last.
    fn read(&self, eventfd: &str) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.eventfds[eventfd], &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    fn await_count(&self, eventfd: &str, wanted: u64) -> String {
        let (start, mut count) = (Instant::now(), 0);
        while count < wanted && start.elapsed() < LONG {
            std::thread::sleep(std::time::Duration::from_millis(1));
            count += self.read(eventfd);
        }
        count.to_string()
    }

    fn apcb(&mut self, name: &str) -> Answer {
        let client = self.client(name);
        let view = client.apcb()?;
        let reply = client.command(Command::ApGetApcb.raw(), &[], &[])?;
        let (apm, aqm, adm) = (view.apcb.apm.0, view.apcb.aqm.0, view.apcb.adm.0);
        Ok(format!(
            "apm {}, aqm {}, adm {}, format {}",
            members(apm),
            members(aqm),
            members(adm),
            reply[8]
        ))
    }

    fn generation(&mut self, name: &str) -> Answer {
        let now = self.client(name).apcb()?.generation;
        Ok(match self.generations.insert(name.to_owned(), now) {
            None => "first",
            Some(before) if before < now => "grew",
            Some(before) if before == now => "same",
            Some(_) => "fell",
        }
        .to_owned())
    }

    fn get_info(&mut self, name: &str, argsz: u32) -> Answer {
        let client = self.client(name);
        let reply = if argsz == 16 {
            let info = client.get_info()?;
            [info.flags.get(), info.regions.get(), info.irqs.get()]
        } else {
            let mut payload = vec![0; 16.max(argsz as usize)];
            payload[..4].copy_from_slice(&argsz.to_le_bytes());
            let reply = client.command(Command::DeviceGetInfo.raw(), &payload, &[])?;
            [4, 8, 12].map(|at| u32::from_le_bytes(reply[at..at + 4].try_into().expect("4")))
        };
        let [flags, regions, irqs] = reply;
        Ok(format!("flags {flags:#x}, regions {regions}, irqs {irqs}"))
    }

    fn get_irq_info(&mut self, name: &str, argsz: u32, index: u32) -> Answer {
        let client = self.client(name);
        if argsz != 16 {
            let payload = [argsz, 0, index, 0].map(u32::to_le_bytes).concat();
            client.command(Command::DeviceGetIrqInfo.raw(), &payload, &[])?;
        }
        let info = client.get_irq_info(index)?;
        let (flags, count) = (info.flags.get(), info.count.get());
        let index = info.index.get();
        Ok(format!("flags {flags:#x}, index {index}, count {count}"))
    }

    fn execute(&mut self, name: &str, instruction: &Instruction<'_>, capacity: usize) -> String {
        let mut buffer = vec![0; capacity];
        match self.client(name).execute(instruction, &mut buffer) {
            Outcome::Exception(exception) => format!("exception {}", exception.code()),
            outcome => format!("{:02x}", outcome.status().expect("a status").code.0),
        }
    }

    fn await_reply(&mut self, name: &str, apqn: Apqn, capacity: usize) -> String {
        let (start, mut buffer) = (Instant::now(), vec![0; capacity]);
        while start.elapsed() < LONG {
            let reply = self.client(name).dqap(apqn, &mut buffer);
            if reply.status.code == ResponseCode::NORMAL {
                return format!("psmid {:#x}", reply.psmid);
            }
        }
        "no reply".to_owned()
    }

    fn map(&mut self, name: &str, words: &[&str]) -> Answer {
        let [argsz, flags, address, length] = words else {
            panic!("map {words:?}")
        };
        let (flags, address, length) = (number(flags), number(address), number(length));
        let client = self.client(name);
        if *argsz == "32" && flags < 4 {
            client.dma_map(DmaRange {
                address,
                length,
                readable: flags & 1 != 0,
                writable: flags & 2 != 0,
            })?;
        } else {
            let argsz: u32 = small(argsz);
            let head = u64::from(argsz) | flags << 32;
            let mut payload = [head, 0, address, length].map(u64::to_le_bytes).concat();
            payload.resize(payload.len().max(argsz as usize), 0);
            client.command(Command::DmaMap.raw(), &payload, &[])?;
        }
        Ok("ok".to_owned())
    }

    fn unmap(&mut self, name: &str, words: &[&str]) -> Answer {
        let [argsz, flags, address, length] = words else {
            panic!("unmap {words:?}")
        };
        let (address, length) = (number(address), number(length));
        let client = self.client(name);
        if (*argsz, *flags) == ("24", "0") {
            client.dma_unmap(DmaRange {
                address,
                length,
                readable: false,
                writable: false,
            })?;
        } else {
            let head = number(argsz) | number(flags) << 32;
            let payload = [head, address, length].map(u64::to_le_bytes).concat();
            client.command(Command::DmaUnmap.raw(), &payload, &[])?;
        }
        Ok(format!("{address:#x} {length:#x}"))
    }

    fn answer(&mut self, step: &str) -> Answer {
        let words: Vec<&str> = step.split(' ').collect();
        let name = words[0];
        let apqn = |word: &str| -> Apqn { word.parse().expect("a queue") };
        Ok(match words[1..] {
            ["version", mdev, ..] => {
                let json = step.splitn(4, ' ').nth(3).expect("a text");
                self.version(mdev, json)
            }
            ["early", mdev, command, payload] => self.alone(mdev, small(command), &bytes(payload)),
            ["open", mdev, vm] => return self.open(name, mdev, vm),
            ["until-free", mdev, vm] => return self.open_when_free(name, mdev, vm),
            ["close"] => {
                self.clients.remove(name).expect("the client is open");
                "ok".to_owned()
            }
            ["get-info", argsz] => return self.get_info(name, small(argsz)),
            ["get-irq-info", argsz, index] => {
                return self.get_irq_info(name, small(argsz), small(index));
            }
            ["set-irqs", ref rest @ ..] => return self.set_irqs(name, rest),
            // Whatever was signalled before this round trip is counted after it.
            ["count", eventfd] => {
                self.client(name).apcb()?;
                self.read(eventfd).to_string()
            }
            ["read", eventfd] => self.read(eventfd).to_string(),
            ["await", eventfd, wanted] => self.await_count(eventfd, number(wanted)),
            ["apcb"] => return self.apcb(name),
            ["generation"] => return self.generation(name),
            ["qci"] => {
                let block = self.client(name).qci().expect("the facility is there");
                let (apm, aqm) = (members(block.apm.0), members(block.aqm.0));
                format!("apm {apm}, aqm {aqm}, adm {}", members(block.adm.0))
            }
            ["reset"] => {
                self.client(name).reset()?;
                "ok".to_owned()
            }
            ["command", command, payload] => {
                let reply = self
                    .client(name)
                    .command(small(command), &bytes(payload), &[])?;
                format!("ok, {} bytes", reply.len())
            }
            ["map", ref rest @ ..] => return self.map(name, rest),
            ["unmap", ref rest @ ..] => return self.unmap(name, rest),
            ["tapq", queue] => {
                let apqn = apqn(queue);
                let facilities = true;
                self.execute(name, &Instruction::Tapq { apqn, facilities }, 0)
            }
            ["zapq", queue] => {
                let apqn = apqn(queue);
                let force = false;
                self.execute(name, &Instruction::Zapq { apqn, force }, 0)
            }
            ["nqap", queue, psmid, message] => {
                let nqap = Instruction::Nqap {
                    apqn: apqn(queue),
                    psmid: number(psmid),
                    special: false,
                    message: &bytes(message),
                };
                self.execute(name, &nqap, 0)
            }
            ["dqap", queue, capacity] => {
                let apqn = apqn(queue);
                self.execute(name, &Instruction::Dqap { apqn }, small(capacity))
            }
            ["await-reply", queue, capacity] => {
                self.await_reply(name, apqn(queue), small(capacity))
            }
            ["aqic", queue, control, nib] => {
                let aqic = Instruction::Aqic {
                    apqn: apqn(queue),
                    control: arch::AqicControl(number(control)),
                    nib: number(nib),
                };
                self.execute(name, &aqic, 0)
            }
            _ => panic!("no such step: {step}"),
        })
    }
}

impl Vmm for Clients {
    fn step(&mut self, step: &str) -> String {
        match self.answer(step) {
            Ok(answer) => answer,
            Err(ClientError::Refused(errno)) => errno.name().to_owned(),
            Err(error) => error.to_string(),
        }
    }
}
