//! What a request through a ring allocates, on both sides of the channel: nothing. Guest and engine are the
//! test's thread, which is the one whose allocations are counted; between them are a real session, its
//! socket, its shared memory and its doorbell. What OpenSSL takes for itself is not counted.

use std::os::unix::net::UnixListener;

use arch::instruction::Dequeued;
use arch::{
    ApInstructions, Apcb, Apqn, CrycbFormat, Errno, Facilities, Instruction, Outcome, ResponseCode,
};
use cex::keys::HashKey;
use cex::reference::ReferenceKey;
use device::{
    ApcbView, Client, ClientOptions, DeviceBackend, DeviceSession, Grant, Limits, OpenRequest,
    RingServer,
};
use machine::{GuestCpu, GuestId, PartitionConfig};

use super::super::rings::SessionRings;
use super::*;
use crate::workload;

const QUEUE: Apqn = Apqn::new(3, 6);
const GUEST: GuestId = GuestId(1);
const REQUESTS: u64 = 10_000;
const GRANT: Grant = Grant {
    facilities: Facilities::APFT.union(Facilities::APQCI),
    crycb_format: CrycbFormat::Format2,
    apxa: true,
};

/// A machine with one guest.
#[derive(Clone, Debug)]
struct Device {
    machine: Arc<Machine>,
    ready: Ready,
    polling: Polling,
}

#[derive(Debug)]
struct Session {
    device: Device,
    cpu: GuestCpu<Arc<Machine>>,
    rings: Option<Arc<RingServer>>,
}

impl Device {
    fn new() -> Self {
        let config = PartitionConfig::parse_spec("card 3 14 A; dom 6").unwrap();
        let (ready, secret) = (Ready::default(), HashKey::new(&[3; 16]));
        let doorbell = ready.clone();
        let ring = Box::new(move |apqn| doorbell.ring(apqn));
        let machine = Arc::new(Machine::keeping_keys(&config, ring, secret).unwrap());
        machine
            .attach_guest(GUEST, GRANT.crycb_format, GRANT.facilities)
            .unwrap();
        machine.set_masks(GUEST, &masks()).unwrap();
        Self {
            machine,
            polling: Polling::new(ready.clone()),
            ready,
        }
    }

    /// A client that has opened the device, over a socket that nobody else finds any more.
    fn open(&self) -> Client {
        let name = format!("apmatrix-allocations-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let device = self.clone();
        let serve = move || {
            let (stream, _) = listener.accept().unwrap();
            device::serve(stream, &device, &Limits::default())
        };
        thread::Builder::new().spawn(serve).unwrap();
        let request = OpenRequest {
            vm: "allocations".parse().unwrap(),
            crycb_format: GRANT.crycb_format,
            facilities: GRANT.facilities,
        };
        let client = Client::connect(&path, request, ClientOptions::default());
        std::fs::remove_file(path).unwrap();
        client.unwrap()
    }
}

fn masks() -> Apcb {
    let mut apcb = Apcb::EMPTY;
    apcb.apm.0.insert(QUEUE.apid.0);
    apcb.aqm.0.insert(QUEUE.apqi.0);
    apcb
}

impl DeviceBackend for Device {
    type Session = Session;

    fn open(&self, _: &OpenRequest) -> Result<Session, Errno> {
        Ok(Session {
            device: self.clone(),
            cpu: self.machine.guest_shared(GUEST),
            rings: None,
        })
    }
}

impl DeviceSession for Session {
    fn grant(&self) -> Grant {
        GRANT
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.cpu.execute(instruction, reply)
    }

    fn apcb(&self) -> ApcbView {
        ApcbView {
            generation: 1,
            apcb: masks(),
            qci: self.device.machine.config().qci_block(),
        }
    }

    fn reset(&mut self) -> Option<Result<(), Errno>> {
        Some(Ok(()))
    }

    fn set_rings(&mut self, rings: &Arc<RingServer>) -> Result<(), Errno> {
        let ports = Arc::new(SessionRings(Arc::clone(rings)));
        self.device.machine.set_ports(GUEST, Some(ports));
        self.rings = Some(Arc::clone(rings));
        Ok(())
    }

    fn rung(&mut self) {
        if let Some(rings) = &self.rings {
            self.device.polling.rung(rings);
        }
    }
}

/// The guest enqueues, the engine has a turn, the guest dequeues.
fn round(
    client: &mut Client,
    engine: &mut Engine<'_>,
    request: &[u8],
    reply: &mut [u8],
) -> Dequeued {
    let status = client.nqap(QUEUE, 7, false, request);
    assert_eq!(status.code, ResponseCode::NORMAL);
    engine.turn();
    client.dqap(QUEUE, reply)
}

#[test]
fn requests_through_a_ring_allocate_nothing() {
    let device = Device::new();
    let mut client = device.open();
    assert!(client.uses_rings());
    let alerts = Alerts::default();
    let timer = FaultTimer::start(&device.machine, &alerts).unwrap();
    let mut engine = Engine {
        machine: &device.machine,
        ready: &device.ready,
        lookout: device.polling.lookout(2),
        alerts: &alerts,
        timer: &timer,
        broken: &|apid| panic!("{apid} failed"),
        scratch: Scratch::new(),
        clock: CpuClock::start(),
    };
    let key = ReferenceKey::generate(1024).unwrap();
    let message = &key.random_message().unwrap()[..];
    // The second is refused by the card at once, so that engines poll.
    let signed = workload::private(&key, message).encode().unwrap().message;
    let refused = [0, 0x50, 0, 8, 0, 0, 0, 0];
    for (name, request) in [("CRT", &signed[..]), ("refused", &refused)] {
        let mut reply = [0; 1024];
        let first = allocation_counter::measure(|| {
            for _ in 0..2 {
                round(&mut client, &mut engine, request, &mut reply);
            }
        });
        assert!(
            name != "CRT" || first.count_total > 0,
            "the test sees allocations"
        );
        let mut expected = [0; 1024];
        let got = round(&mut client, &mut engine, request, &mut expected);
        assert_eq!((got.psmid, got.residual), (7, 0));
        let mut right = 0;
        let counted = allocation_counter::measure(|| {
            for _ in 0..REQUESTS {
                let again = round(&mut client, &mut engine, request, &mut reply);
                right += u64::from(again == got && reply == expected);
            }
        });
        assert_eq!(right, REQUESTS, "{name}");
        assert_eq!(counted.count_total, 0, "{name}: {counted:?}");
    }
}
