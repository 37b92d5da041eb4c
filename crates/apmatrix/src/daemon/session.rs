//! A mediated device's channel, seen from the daemon: opening, executing, closing.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arch::{
    ApInstructions, Apcb, Apqn, CrycbFormat, Errno, Facilities, Instruction, Outcome, QciFlags,
    ResponseCode,
};
use device::{
    Alert, ApcbView, DeviceBackend, DeviceSession, DmaRange, DmaTable, Grant, OpenRequest,
    PeerEventfd, RingServer, Wakeup,
};
use machine::{GuestCpu, GuestId, Interrupts, Machine};
use matrix::{MdevUuid, VmId};

use super::Desk;
use super::control::Event;
use super::link::SessionLink;
use super::recorders::Recorded;
use super::rings::SessionRings;

/// Facilities that a guest can have.
const OFFERED: Facilities = Facilities::APQCI
    .union(Facilities::APFT)
    .union(Facilities::APQI);

/// Opens one mediated device for whoever connects.
#[derive(Debug)]
pub(crate) struct MdevBackend {
    desk: Desk,
    mdev: MdevUuid,
}

impl MdevBackend {
    /// The backend of `mdev`.
    pub(crate) fn new(desk: Desk, mdev: MdevUuid) -> Self {
        Self { desk, mdev }
    }
}

/// A guest that holds a mediated device.
#[derive(Debug)]
pub(crate) struct MdevSession {
    desk: Desk,
    mdev: MdevUuid,
    cpu: GuestCpu<Arc<Machine>>,
    link: Arc<SessionLink>,
    grant: Grant,
    /// The addresses that the guest has.
    dma: DmaTable,
    recorded: Recorded,
}

impl DeviceBackend for MdevBackend {
    type Session = MdevSession;

    fn open(&self, request: &OpenRequest) -> Result<MdevSession, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let guest = GuestId(NEXT.fetch_add(1, Ordering::Relaxed));
        let machine = &self.desk.machine;
        let apxa = machine.config().apxa();
        let format = match request.crycb_format {
            CrycbFormat::Format2 if !apxa => CrycbFormat::Format1,
            format => format,
        };
        let facilities = request.facilities & OFFERED & machine.facilities();
        machine
            .attach_guest(guest, format, facilities)
            .map_err(|_| Errno::EINVAL)?;
        let opened = SessionLink::new()
            .map_err(|_| Errno::ENOMEM)
            .and_then(|link| {
                let link = Arc::new(link);
                let open = |answer| Event::Open {
                    mdev: self.mdev,
                    vm: VmId(request.vm.as_str().into()),
                    guest,
                    link: Arc::clone(&link),
                    answer,
                };
                self.desk.ask_control(open)?;
                Ok(link)
            });
        let link = opened.inspect_err(|errno| {
            tracing::info!(mdev = %self.mdev, "open refused: {errno}");
            machine.detach_guest(guest);
        })?;
        self.desk.alerts.enter(guest, &link);
        self.desk.recorders.enter(self.mdev, guest, machine);
        Ok(MdevSession {
            desk: self.desk.clone(),
            mdev: self.mdev,
            cpu: machine.guest_shared(guest),
            link,
            dma: DmaTable::default(),
            grant: Grant {
                facilities,
                crycb_format: format,
                apxa: apxa && format == CrycbFormat::Format2,
            },
            recorded: Recorded::default(),
        })
    }
}

impl DeviceSession for MdevSession {
    fn grant(&self) -> Grant {
        self.grant
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        let (cpu, dma) = (&mut self.cpu, &self.dma);
        let interrupts = self.grant.facilities.contains(Facilities::APQI);
        self.recorded.run(
            &self.desk.recorders,
            self.mdev,
            (instruction, reply),
            |instruction, reply| match instruction {
                Instruction::Aqic { apqn, control, nib }
                    if interrupts && control.enables() && !has_notification_byte(dma, *nib) =>
                {
                    invalid_address(cpu, *apqn)
                }
                _ => cpu.execute(instruction, reply),
            },
        )
    }

    fn apcb(&self) -> ApcbView {
        let machine = &self.desk.machine;
        let apcb = machine.masks(self.cpu.id()).unwrap_or(Apcb::EMPTY);
        let mut qci = machine.config().qci_block();
        qci.flags.remove(QciFlags::APSB);
        (qci.apm, qci.aqm, qci.adm) = (apcb.apm, apcb.aqm, apcb.adm);
        ApcbView {
            generation: self.link.generation(),
            apcb,
            qci,
        }
    }

    /// Always answered by the doorbell: the session thread sees other rings meanwhile.
    fn reset(&mut self) -> Option<Result<(), Errno>> {
        let link = Arc::clone(&self.link);
        self.desk.tell_control(Event::Reset {
            mdev: self.mdev,
            guest: self.cpu.id(),
            answer: Box::new(move |result| link.reset_ended(result)),
        });
        None
    }

    fn dma_map(&mut self, range: DmaRange) -> Result<(), Errno> {
        self.dma.map(range)
    }

    fn dma_unmap(&mut self, range: DmaRange) -> Result<(), Errno> {
        self.dma.unmap(range)?;
        let dma = &self.dma;
        self.cpu.disable_interrupts(|nib| dma.find(nib).is_none());
        Ok(())
    }

    fn set_rings(&mut self, rings: &Arc<RingServer>) -> Result<(), Errno> {
        let ports = Arc::new(SessionRings(Arc::clone(rings)));
        self.link.set_rings(rings);
        // A guest that is not attached any more is going to be told so.
        self.desk.machine.set_ports(self.cpu.id(), Some(ports));
        Ok(())
    }

    fn rung(&mut self) {
        if let Some(rings) = self.link.rings() {
            self.desk.polling.rung(rings);
        }
    }

    fn set_alert(&mut self, eventfd: Option<PeerEventfd>) {
        self.link.set_eventfd(eventfd);
    }

    fn next_alert(&mut self) -> Option<Alert> {
        // What was disabled, reset or taken from the guest meanwhile interrupts it no more.
        loop {
            let (apqn, replies) = self.link.next_alert()?;
            if let Some(Interrupts { isc, nib }) = self.cpu.interrupts(apqn) {
                return Some(Alert {
                    apqn,
                    isc,
                    nib,
                    replies,
                });
            }
        }
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.fd())
    }

    fn woken(&mut self) -> Wakeup {
        self.link.take()
    }
}

/// Whether the guest has the memory for a notification byte there (spec 6.3).
fn has_notification_byte(dma: &DmaTable, nib: u64) -> bool {
    let page = dma.find(nib);
    nib != 0 && page.is_some_and(|range| range.readable && range.writable)
}

/// What AQIC answers to a bad address: 06, unless there is no such queue.
fn invalid_address(cpu: &mut GuestCpu<Arc<Machine>>, apqn: Apqn) -> Outcome {
    let facilities = false;
    let test = Instruction::Tapq { apqn, facilities };
    match cpu.execute(&test, &mut []) {
        Outcome::Tapq { mut status, .. } => {
            if status.queue_exists() {
                status.code = ResponseCode::INVALID_ADDRESS;
            }
            Outcome::Status(status)
        }
        exception => exception,
    }
}

impl Drop for MdevSession {
    fn drop(&mut self) {
        self.desk.alerts.leave(self.cpu.id());
        // A reset that hangs keeps the link; the guest's descriptor ends with the session.
        self.link.set_eventfd(None);
        self.desk.recorders.leave(self.mdev, self.cpu.id());
        let (mdev, guest) = (self.mdev, self.cpu.id());
        // After this the device can be opened again, so wait for control to have closed it.
        let closed = self.desk.ask_control(|answer| Event::Close {
            mdev,
            guest,
            answer,
        });
        self.desk.machine.detach_guest(guest);
        if let Err(errno) = closed {
            tracing::debug!(%mdev, "close: {errno}");
        }
    }
}
