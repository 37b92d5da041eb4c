//! A pretended machine for tests of the channel: a few accelerator queues without cryptography.
//! NQAP of a type 50 request puts a type 80 reply into the queue whose result is the message field
//! of the request.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arch::instruction::Dequeued;
use arch::status::StatusFlags;
use arch::{
    AdapterMask, ApType, Apcb, Apqn, ControlMask, Errno, Facilities, HwInfo, Instruction, Mask256,
    Outcome, QciBlock, QciFlags, QueueStatus, ResponseCode, UsageMask,
};
use device::{
    ApcbView, DeviceBackend, DeviceSession, DmaRange, Grant, IrqIndex, OpenRequest, Wakeup,
};

/// GR2 of the pretended CEX8A: queue depth 8.
pub(crate) const INFO: HwInfo = HwInfo::new(0x6a80_0000, ApType::CEX8, 0, 0, 8);
const DEPTH: usize = 8;

/// What tests look at and change from outside.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Successful opens.
    pub(crate) opens: AtomicU64,
    /// Ends of sessions.
    pub(crate) closes: AtomicU64,
    /// Resets by command.
    pub(crate) resets: AtomicU64,
    /// Not 0: resets take time, until a wake-up ends them.
    pub(crate) slow_resets: AtomicU64,
    /// Requests enqueued.
    pub(crate) requests: AtomicU64,
    /// Instructions executed.
    pub(crate) instructions: AtomicU64,
    /// Registrations and removals of eventfds.
    pub(crate) irqs: AtomicU64,
    /// Ranges mapped minus ranges unmapped.
    pub(crate) maps: AtomicU64,
}

/// One pretended mediated device.
#[derive(Debug)]
pub(crate) struct Card {
    apcb: Apcb,
    open: Arc<Mutex<bool>>,
    /// See [`Counters`].
    pub(crate) counters: Arc<Counters>,
    wake: Option<OwnedFd>,
    wakeup: Arc<Mutex<Wakeup>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with the lock")
}

impl Card {
    /// A device with the queues `adapters` x `domains`.
    pub(crate) fn new(adapters: &[u8], domains: &[u8]) -> Self {
        let mask = |numbers: &[u8]| numbers.iter().copied().collect::<Mask256>();
        Self {
            apcb: Apcb {
                apm: AdapterMask(mask(adapters)),
                aqm: UsageMask(mask(domains)),
                adm: ControlMask(mask(domains)),
            },
            open: Arc::default(),
            counters: Arc::default(),
            wake: rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).ok(),
            wakeup: Arc::default(),
        }
    }

    /// Makes the open session do `wakeup`.
    #[allow(
        dead_code,
        reason = "only some of the programs that share this file need it"
    )]
    pub(crate) fn wake(&self, wakeup: Wakeup) {
        *lock(&self.wakeup) = wakeup;
        if let Some(wake) = &self.wake {
            rustix::io::write(wake, &1u64.to_ne_bytes()).expect("the counter has room");
        }
    }
}

impl DeviceBackend for Card {
    type Session = OpenCard;

    fn open(&self, request: &OpenRequest) -> Result<OpenCard, Errno> {
        let mut open = lock(&self.open);
        if *open {
            return Err(Errno::EBUSY);
        }
        *open = true;
        self.counters.opens.fetch_add(1, Ordering::Relaxed);
        Ok(OpenCard {
            apcb: self.apcb,
            facilities: request.facilities
                & (Facilities::APFT | Facilities::APQCI | Facilities::APQI),
            enabled: BTreeSet::new(),
            queues: self
                .apcb
                .queues()
                .map(|apqn| (apqn, VecDeque::new()))
                .collect(),
            open: Arc::clone(&self.open),
            counters: Arc::clone(&self.counters),
            wake: self.wake.as_ref().and_then(|wake| wake.try_clone().ok()),
            wakeup: Arc::clone(&self.wakeup),
        })
    }
}

type Replies = VecDeque<(u64, Vec<u8>)>;

/// An open [`Card`].
#[derive(Debug)]
pub(crate) struct OpenCard {
    apcb: Apcb,
    facilities: Facilities,
    /// Queues whose interruptions are enabled; no reply of theirs interrupts.
    enabled: BTreeSet<Apqn>,
    queues: Vec<(Apqn, Replies)>,
    open: Arc<Mutex<bool>>,
    counters: Arc<Counters>,
    wake: Option<OwnedFd>,
    wakeup: Arc<Mutex<Wakeup>>,
}

impl OpenCard {
    fn qci(&self) -> QciBlock {
        QciBlock {
            flags: QciFlags::APSC | QciFlags::APXA | QciFlags::QACT,
            na: 255,
            nd: 255,
            apm: self.apcb.apm,
            aqm: self.apcb.aqm,
            adm: self.apcb.adm,
        }
    }
}

impl Drop for OpenCard {
    fn drop(&mut self) {
        self.counters.closes.fetch_add(1, Ordering::Relaxed);
        *lock(&self.open) = false;
    }
}

/// A type 80 reply with the last 128, 256 or 512 bytes of the request as result.
fn type_80(request: &[u8]) -> Vec<u8> {
    let field = match request.len() {
        0..=464 => 128,
        465..=912 => 256,
        _ => 512,
    };
    let mut reply = vec![0; 16];
    reply[1] = 0x80;
    let total = u16::try_from(16 + field).expect("528 at most");
    reply[2..4].copy_from_slice(&total.to_be_bytes());
    let start = request.len().saturating_sub(field);
    let result = &request[start..];
    reply.resize(16 + field - result.len(), 0);
    reply.extend(result);
    reply
}

fn status(code: ResponseCode, queue: &Replies) -> QueueStatus {
    let mut flags = StatusFlags::empty();
    flags.set(StatusFlags::EMPTY, queue.is_empty());
    flags.set(StatusFlags::REPLIES, !queue.is_empty());
    flags.set(StatusFlags::FULL, queue.len() > DEPTH);
    QueueStatus::new(code, flags)
}

impl DeviceSession for OpenCard {
    fn grant(&self) -> Grant {
        Grant {
            facilities: self.facilities,
            crycb_format: arch::CrycbFormat::Format2,
            apxa: true,
        }
    }

    fn execute(&mut self, instruction: &Instruction<'_>, reply: &mut [u8]) -> Outcome {
        self.counters.instructions.fetch_add(1, Ordering::Relaxed);
        let qci = self.qci();
        let Some(apqn) = instruction.apqn() else {
            return Outcome::Qci(qci);
        };
        let Some((_, queue)) = self.queues.iter_mut().find(|(known, _)| *known == apqn) else {
            return Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE);
        };
        match instruction {
            Instruction::Tapq { .. } => {
                let mut status = status(ResponseCode::NORMAL, queue);
                let enabled = self.enabled.contains(&apqn);
                status.flags.set(StatusFlags::INTERRUPTS, enabled);
                Outcome::Tapq { status, info: INFO }
            }
            Instruction::Aqic { control, .. } if self.facilities.contains(Facilities::APQI) => {
                let changed = if control.enables() {
                    self.enabled.insert(apqn)
                } else {
                    self.enabled.remove(&apqn)
                };
                let code = if changed {
                    ResponseCode::NORMAL
                } else {
                    ResponseCode::OTHERWISE_CHANGED
                };
                Outcome::Status(status(code, queue))
            }
            Instruction::Rapq { .. } | Instruction::Zapq { .. } => {
                queue.clear();
                self.enabled.remove(&apqn);
                Outcome::Status(status(ResponseCode::NORMAL, queue))
            }
            Instruction::Nqap { psmid, message, .. } => {
                let code = if queue.len() > DEPTH {
                    ResponseCode::FULL_OR_NO_REPLY
                } else {
                    self.counters.requests.fetch_add(1, Ordering::Relaxed);
                    queue.push_back((*psmid, type_80(message)));
                    ResponseCode::NORMAL
                };
                Outcome::Status(status(code, queue))
            }
            Instruction::Dqap { .. } => {
                let Some((psmid, mut bytes)) = queue.pop_front() else {
                    let nothing = status(ResponseCode::FULL_OR_NO_REPLY, queue);
                    return Outcome::Dqap(Dequeued::nothing(nothing));
                };
                let stored = bytes.len().min(reply.len());
                reply[..stored].copy_from_slice(&bytes[..stored]);
                let rest = bytes.split_off(stored);
                let residual = rest.len();
                if residual != 0 {
                    queue.push_front((psmid, rest));
                }
                Outcome::Dqap(Dequeued {
                    status: status(ResponseCode::NORMAL, queue),
                    psmid,
                    stored,
                    residual,
                })
            }
            Instruction::Aqic { .. } | Instruction::Qact { .. } | Instruction::Qci => {
                Outcome::refused(instruction, ResponseCode::NOT_AVAILABLE)
            }
        }
    }

    fn apcb(&self) -> ApcbView {
        ApcbView {
            generation: 1,
            apcb: self.apcb,
            qci: self.qci(),
        }
    }

    fn reset(&mut self) -> Option<Result<(), Errno>> {
        self.counters.resets.fetch_add(1, Ordering::Relaxed);
        for (_, queue) in &mut self.queues {
            queue.clear();
        }
        self.enabled.clear();
        (self.counters.slow_resets.load(Ordering::Relaxed) == 0).then_some(Ok(()))
    }

    fn irq_registered(&mut self, _index: IrqIndex, _registered: bool) {
        self.counters.irqs.fetch_add(1, Ordering::Relaxed);
    }

    fn dma_map(&mut self, _range: DmaRange) -> Result<(), Errno> {
        self.counters.maps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn dma_unmap(&mut self, _range: DmaRange) -> Result<(), Errno> {
        self.counters.maps.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.wake.as_ref().map(AsFd::as_fd)
    }

    fn woken(&mut self) -> Wakeup {
        if let Some(wake) = &self.wake {
            let _emptied = rustix::io::read(wake, &mut [0; 8]);
        }
        std::mem::take(&mut *lock(&self.wakeup))
    }
}
