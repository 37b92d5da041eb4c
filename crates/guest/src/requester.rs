//! Requests under way: which queue, which reply, which retry (spec of Crypto Express, 1.6 and 7).
//!
//! One [`Requester::step`] looks at every queue with outstanding requests and then hands waiting
//! requests to queues. What a queue answers decides:
//!
//! | DQAP, NQAP | then |
//! |---|---|
//! | 00 | the reply is matched by its psmid; an unknown one is dropped |
//! | 02, 05 | the queue is left alone for this step |
//! | 10, queue empty although requests are outstanding | they got lost: all of them are sent again |
//! | 15, 16, 42 at NQAP | the request is invalid |
//! | any other | the queue is lost until the next scan, its requests go elsewhere |

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arch::instruction::Dequeued;
use arch::status::StatusFlags;
use arch::tapq::function;
use arch::{Apqn, CardMode, ResponseCode};
use bus::{Bus, Driver, QueueDriver};

use crate::reply::{Reply, read};
use crate::type50::Request;

/// How often a request is tried anew before it ends with [`RequestError::Io`].
pub const MOST_RETRIES: u32 = 10;

/// Linux's weights: the card or queue of the last try counts as that many requests.
const CARD_PENALTY: usize = 1000;
const QUEUE_PENALTY: usize = 10_000;
/// Without the 4096-bit functions a card takes 2048 bits.
const SHORT_OPERAND: usize = 256;
/// Room for the longest reply of an accelerator, and for what a faulty one may say instead.
const REPLY_BUFFER: usize = 12 * 1024;

/// A submitted request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// EINVAL: an operand is wrong. The reply code or response code says how.
    #[error("invalid request (code {0:02x})")]
    Invalid(u8),
    /// EIO: every retry failed.
    #[error("the adapters failed {MOST_RETRIES} times")]
    Io,
    /// EMSGSIZE: the reply does not have the length that it should have.
    #[error("reply of the wrong length")]
    ReplyLength,
    /// ENODEV: no usable queue takes a request of this size.
    #[error("no usable AP queue")]
    NoDevice,
    /// No reply in the time that the caller gave.
    #[error("no reply in time")]
    TimedOut,
}

impl From<crate::type50::OperandError> for RequestError {
    fn from(_: crate::type50::OperandError) -> Self {
        Self::Invalid(0)
    }
}

#[derive(Debug)]
struct Job {
    ticket: Ticket,
    request: Request,
    retries: u32,
    last: Option<Apqn>,
    /// One rescan was forced for it already.
    rescanned: bool,
    /// The queue has counted it: sending it again is the same request, a retry is another one.
    counted: bool,
}

/// All requests of a guest.
#[derive(Debug)]
pub struct Requester {
    waiting: VecDeque<Job>,
    /// By queue, then by psmid.
    outstanding: BTreeMap<Apqn, BTreeMap<u64, Job>>,
    done: BTreeMap<Ticket, Result<Vec<u8>, RequestError>>,
    /// Queues that refused, until the next scan.
    lost: BTreeSet<Apqn>,
    last_ticket: u64,
    last_psmid: u64,
    buffer: Vec<u8>,
}

impl Default for Requester {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            outstanding: BTreeMap::new(),
            done: BTreeMap::new(),
            lost: BTreeSet::new(),
            last_ticket: 0,
            last_psmid: 0,
            buffer: vec![0; REPLY_BUFFER],
        }
    }
}

/// What became of one look at a queue.
enum Look {
    /// It said something; look again.
    More,
    /// Nothing more at present.
    Enough,
}

impl Requester {
    /// Takes a request; [`take`](Self::take) gives its result after enough steps.
    pub fn submit(&mut self, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.push_back(Job {
            ticket,
            request,
            retries: 0,
            last: None,
            rescanned: false,
            counted: false,
        });
        ticket
    }

    /// The result of a request that has ended.
    pub fn take(&mut self, ticket: Ticket) -> Option<Result<Vec<u8>, RequestError>> {
        self.done.remove(&ticket)
    }

    /// Gives up a request: its result will not come any more, a late reply is dropped.
    pub fn forget(&mut self, ticket: Ticket) {
        self.done.remove(&ticket);
        self.waiting.retain(|job| job.ticket != ticket);
        for jobs in self.outstanding.values_mut() {
            jobs.retain(|_, job| job.ticket != ticket);
        }
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.outstanding.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Requests that a queue has and has not answered.
    #[must_use]
    pub fn outstanding(&self, apqn: Apqn) -> usize {
        self.outstanding.get(&apqn).map_or(0, BTreeMap::len)
    }

    /// After a scan: queues that refused are reset and tried again, requests of queues that are gone
    /// go elsewhere.
    pub fn scanned(&mut self, bus: &mut Bus, side: &mut dyn QueueDriver) {
        for apqn in std::mem::take(&mut self.lost) {
            // A queue that is gone needs no reset.
            let _gone = bus.reset_queue(apqn, side);
        }
        let gone: Vec<Apqn> = self
            .outstanding
            .keys()
            .copied()
            .filter(|apqn| !is_usable(bus, *apqn))
            .collect();
        for apqn in gone {
            self.flush(apqn);
        }
    }

    /// Reads replies and hands out waiting requests; whether anything moved. A request that no queue
    /// takes causes one scan, as in Linux.
    pub fn step(&mut self, bus: &mut Bus, side: &mut dyn QueueDriver) -> bool {
        let before = (self.done.len(), self.waiting.len());
        let queues: Vec<Apqn> = self.outstanding.keys().copied().collect();
        for apqn in queues {
            while let Look::More = self.look(apqn, bus, side) {}
        }
        self.outstanding.retain(|_, jobs| !jobs.is_empty());
        self.hand_out(bus, side);
        before != (self.done.len(), self.waiting.len())
    }

    /// One DQAP, if the queue has requests of ours.
    fn look(&mut self, apqn: Apqn, bus: &mut Bus, side: &mut dyn QueueDriver) -> Look {
        if self.outstanding(apqn) == 0 {
            return Look::Enough;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let dequeued = side.dqap(apqn, &mut buffer);
        let next = self.dequeued(apqn, &dequeued, &buffer, bus, side);
        self.buffer = buffer;
        next
    }

    fn dequeued(
        &mut self,
        apqn: Apqn,
        dequeued: &Dequeued,
        buffer: &[u8],
        bus: &mut Bus,
        side: &mut dyn QueueDriver,
    ) -> Look {
        match dequeued.status.code {
            ResponseCode::NORMAL => {
                let mut residual = dequeued.residual;
                let too_long = residual != 0;
                let mut psmid = dequeued.psmid;
                // The rest of a reply that is too long must leave the queue before the next one.
                while residual != 0 {
                    let rest = side.dqap(apqn, &mut [0; 4096]);
                    if rest.status.code != ResponseCode::NORMAL || rest.stored == 0 {
                        break;
                    }
                    (residual, psmid) = (rest.residual, rest.psmid);
                }
                let job = self
                    .outstanding
                    .get_mut(&apqn)
                    .and_then(|jobs| jobs.remove(&psmid));
                if let Some(job) = job {
                    let reply = if too_long {
                        Reply::BadLength
                    } else {
                        let stored = dequeued.stored.min(buffer.len());
                        read(&buffer[..stored], job.request.output)
                    };
                    if !self.finish(apqn, job, reply) {
                        // A queue that is gone cannot be taken offline, and need not be.
                        let _gone = bus.set_queue_online(apqn, false, side);
                    }
                }
                Look::More
            }
            ResponseCode::FULL_OR_NO_REPLY => {
                if dequeued.status.flags.contains(StatusFlags::EMPTY) {
                    self.send_again(apqn);
                }
                Look::Enough
            }
            ResponseCode::RESET_IN_PROGRESS | ResponseCode::BUSY => Look::Enough,
            _ => {
                self.lose(apqn);
                Look::Enough
            }
        }
    }

    /// Ends a request with its reply, or tries it anew. False when the queue answered what no
    /// accelerator answers.
    fn finish(&mut self, apqn: Apqn, job: Job, reply: Reply<'_>) -> bool {
        let ended = match reply {
            Reply::Result(result) => Ok(result.to_vec()),
            Reply::Invalid(code) => Err(RequestError::Invalid(code)),
            Reply::BadLength => Err(RequestError::ReplyLength),
            Reply::Again(_) | Reply::Unknown => {
                self.retry(job, apqn);
                return reply != Reply::Unknown;
            }
        };
        self.done.insert(job.ticket, ended);
        true
    }

    /// EAGAIN: try anew, on another queue if there is one.
    fn retry(&mut self, mut job: Job, apqn: Apqn) {
        job.last = Some(apqn);
        job.counted = false;
        job.retries += 1;
        if job.retries > MOST_RETRIES {
            self.done.insert(job.ticket, Err(RequestError::Io));
        } else {
            self.waiting.push_back(job);
        }
    }

    /// The queue lost its requests, in a reset that was not ours: they are sent again, which is no
    /// retry.
    fn send_again(&mut self, apqn: Apqn) {
        if let Some(jobs) = self.outstanding.remove(&apqn) {
            for job in jobs.into_values().rev() {
                self.waiting.push_front(job);
            }
        }
    }

    /// The queue refuses until the next scan.
    fn lose(&mut self, apqn: Apqn) {
        self.lost.insert(apqn);
        self.flush(apqn);
    }

    fn flush(&mut self, apqn: Apqn) {
        if let Some(jobs) = self.outstanding.remove(&apqn) {
            for job in jobs.into_values() {
                self.retry(job, apqn);
            }
        }
    }

    /// Hands waiting requests to queues, as many as these take.
    fn hand_out(&mut self, bus: &mut Bus, side: &mut dyn QueueDriver) {
        for _ in 0..self.waiting.len() {
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            self.hand_out_one(job, bus, side);
        }
    }

    fn hand_out_one(&mut self, mut job: Job, bus: &mut Bus, side: &mut dyn QueueDriver) {
        let Some(choice) = self.choose(&job, bus) else {
            if job.rescanned {
                self.done.insert(job.ticket, Err(RequestError::NoDevice));
            } else {
                job.rescanned = true;
                bus.scan(side);
                self.scanned(bus, side);
                self.waiting.push_back(job);
            }
            return;
        };
        let Some(apqn) = choice else {
            // Every queue that would take it is full.
            self.waiting.push_back(job);
            return;
        };
        self.last_psmid += 1;
        let psmid = self.last_psmid;
        let code = side.nqap(apqn, psmid, false, &job.request.message).code;
        match code {
            ResponseCode::NORMAL => {
                if !std::mem::replace(&mut job.counted, true) {
                    bus.count_request(apqn);
                }
                self.outstanding.entry(apqn).or_default().insert(psmid, job);
            }
            ResponseCode::FULL_OR_NO_REPLY
            | ResponseCode::RESET_IN_PROGRESS
            | ResponseCode::BUSY => self.waiting.push_back(job),
            ResponseCode::MESSAGE_TOO_BIG
            | ResponseCode::FACILITY_MISSING
            | ResponseCode::INVALID_DOMAIN => {
                self.done
                    .insert(job.ticket, Err(RequestError::Invalid(code.0)));
            }
            _ => {
                self.lose(apqn);
                self.retry(job, apqn);
            }
        }
    }

    /// The queue for a request. `None`: there is none; `Some(None)`: all are full.
    fn choose(&self, job: &Job, bus: &Bus) -> Option<Option<Apqn>> {
        let usable: Vec<Apqn> = bus
            .queues()
            .map(|(apqn, _)| apqn)
            .filter(|apqn| !self.lost.contains(apqn) && takes(bus, *apqn, job.request.output))
            .collect();
        if usable.is_empty() {
            return None;
        }
        let weight = |apqn: &Apqn| {
            let card = job.last.is_some_and(|last| last.apid == apqn.apid);
            let queue = job.last == Some(*apqn);
            self.outstanding(*apqn)
                + CARD_PENALTY * usize::from(card)
                + QUEUE_PENALTY * usize::from(queue)
        };
        let open = usable.into_iter().filter(|apqn| {
            let depth = bus
                .queue(*apqn)
                .map_or(1, |queue| queue.info.driver_depth());
            self.outstanding(*apqn) < usize::from(depth)
        });
        Some(open.min_by_key(|apqn| {
            let used = bus.queue(*apqn).map_or(0, |queue| queue.requests);
            (weight(apqn), used)
        }))
    }
}

/// Whether the default driver has the queue, online, on an online card.
fn is_usable(bus: &Bus, apqn: Apqn) -> bool {
    let queue = bus.queue(apqn);
    let card = bus.card(apqn.apid);
    queue.is_some_and(|queue| queue.driver == Some(Driver::Cex4Queue) && queue.is_online())
        && card.is_some_and(|card| card.bound && card.is_online())
}

/// Whether the queue takes RSA requests of `len` bytes.
fn takes(bus: &Bus, apqn: Apqn, len: usize) -> bool {
    let Some(card) = bus.card(apqn.apid) else {
        return false;
    };
    let long = function::MEX_4K | function::CRT_4K;
    let longest = if card.info.functions() & long == long {
        crate::type50::MAX_OPERAND
    } else {
        SHORT_OPERAND
    };
    is_usable(bus, apqn) && card.info.mode() == Some(CardMode::Accelerator) && len <= longest
}
