//! Whose turn it is: start-time fair queueing by measured cost, between guests first and then between the
//! queues of a guest.
//!
//! ```text
//!              guests, least time first                 queues of each, least time first
//!              +-------------------------+
//!   now = 700  | guest 3  time 700  -----+------------> [ 05.0004 time 20 | 05.0047 time 90 ]
//!              | guest 1  time 810  -----+------------> [ 06.0004 time 40 ]
//!              | host     time 950  -----+------------> ...
//!              +-------------------------+
//!   next:  guest 3, its queue 05.0004; now = 700
//!   done:  the request took 300: guest 3 has time 1000, the queue 320
//! ```
//! Whoever has got least goes first, and what a turn has cost is known when it is over: 4096-bit requests,
//! eight queues and requests that a reset threw away count as what they took. Three rules make it fair:
//!
//! - *Now* is the time of the last guest that was chosen. Who comes back after a rest begins now: a rest
//!   is no credit. So before a guest that comes back is chosen, every other guest is chosen once at
//!   most.
//! - A guest that comes back sooner keeps the time that it has got, however often it comes and goes.
//! - When there is nothing to do at all, now becomes the latest time of all: nothing is owed any more.
//!
//! Two guests that always have work get the same, up to what one turn per engine costs. Times are
//! nanoseconds of CPU; 64 bits are enough for 584 years.
//!
//! A turn allocates nothing: accounts are made when a guest has work for the first time, heaps keep their
//! room. Accounts of guests that rest and owe nothing are forgotten when there are many.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use arch::Apqn;
use machine::GuestId;

/// Who pays for a turn: a guest, or the host.
type Owner = Option<GuestId>;

/// Accounts above which those that owe nothing are forgotten.
const MANY_ACCOUNTS: usize = 64;

/// A queue whose turn it is. It is to be given back with what the turn cost.
#[derive(Debug)]
#[must_use = "a turn is over when its cost is told"]
pub(crate) struct Turn {
    apqn: Apqn,
    owner: Owner,
}

impl Turn {
    /// The queue.
    pub(crate) const fn apqn(&self) -> Apqn {
        self.apqn
    }
}

/// A number that is smaller for those that stand in a heap for longer, to part equal times.
#[derive(Debug, Default)]
struct Stamps(u64);

impl Stamps {
    const fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Members by time. A time that has grown since its member was put in is found out when it is taken out.
type Order<M> = BinaryHeap<Reverse<(u64, u64, M)>>;

/// What one owner has got.
#[derive(Debug, Default)]
struct Account {
    /// Nanoseconds that it has got, counted from some past "now".
    time: u64,
    /// The time of the queue that was chosen last.
    now: u64,
    /// What each of its queues has got.
    queues: BTreeMap<Apqn, u64>,
    /// Its queues that have work.
    waiting: Order<Apqn>,
    /// Its turns that are not over.
    running: u32,
}

impl Account {
    /// The queue with the least time; the account has one that waits.
    fn choose(&mut self, stamps: &mut Stamps) -> Option<Apqn> {
        loop {
            let Reverse((entered, _, apqn)) = self.waiting.pop()?;
            let time = self.queues.entry(apqn).or_default();
            if *time > entered {
                self.waiting.push(Reverse((*time, stamps.next(), apqn)));
                continue;
            }
            *time = entered;
            self.now = self.now.max(entered);
            return Some(apqn);
        }
    }

    fn rests(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

/// The queues that wait for a turn, and what their owners have got.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    accounts: BTreeMap<Owner, Account>,
    /// The owners that have waiting queues.
    waiting: Order<Owner>,
    stamps: Stamps,
    now: u64,
    /// No account has a later time.
    latest: u64,
    /// Turns that are not over.
    running: u32,
    /// How many accounts there may be before they are looked through.
    limit: usize,
}

impl Schedule {
    /// A queue of `owner` has work. It does not wait for a turn already.
    pub(super) fn add(&mut self, apqn: Apqn, owner: Owner) {
        if !self.accounts.contains_key(&owner) {
            self.make_room();
        }
        let account = self.accounts.entry(owner).or_default();
        if account.waiting.is_empty() {
            account.time = account.time.max(self.now);
            let entry = (account.time, self.stamps.next(), owner);
            self.waiting.push(Reverse(entry));
        }
        let time = account.queues.get(&apqn).map_or(0, |time| *time);
        let entry = (time.max(account.now), self.stamps.next(), apqn);
        account.waiting.push(Reverse(entry));
    }

    /// The queue whose turn it is, if any waits.
    pub(super) fn next(&mut self) -> Option<Turn> {
        loop {
            let Reverse((entered, _, owner)) = self.waiting.pop()?;
            let Some(account) = self.accounts.get_mut(&owner) else {
                continue;
            };
            if account.time > entered {
                let entry = (account.time, self.stamps.next(), owner);
                self.waiting.push(Reverse(entry));
                continue;
            }
            let Some(apqn) = account.choose(&mut self.stamps) else {
                continue;
            };
            self.now = self.now.max(entered);
            if !account.waiting.is_empty() {
                let entry = (account.time, self.stamps.next(), owner);
                self.waiting.push(Reverse(entry));
            }
            account.running += 1;
            self.running += 1;
            return Some(Turn { apqn, owner });
        }
    }

    /// A turn is over and has cost this much.
    pub(super) fn done(&mut self, turn: &Turn, cost: Duration) {
        let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        if let Some(account) = self.accounts.get_mut(&turn.owner) {
            account.time = account.time.saturating_add(cost);
            account.running = account.running.saturating_sub(1);
            if let Some(time) = account.queues.get_mut(&turn.apqn) {
                *time = time.saturating_add(cost);
            }
            self.latest = self.latest.max(account.time);
        }
        self.running = self.running.saturating_sub(1);
        if self.running == 0 && self.waiting.is_empty() {
            self.now = self.latest;
        }
    }

    /// A guest may come and go without end, each time under another number.
    fn make_room(&mut self) {
        if self.accounts.len() >= self.limit.max(MANY_ACCOUNTS) {
            let now = self.now;
            self.accounts
                .retain(|_, account| !account.rests() || account.time > now);
            self.limit = 2 * self.accounts.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// A guest that always has work: so many queues, each request costs so much.
    #[derive(Clone, Copy, Debug)]
    struct Flood {
        queues: u8,
        microseconds: u64,
    }

    fn flood() -> impl Strategy<Value = Flood> {
        (1u8..=8, 50u64..=5_000).prop_map(|(queues, microseconds)| Flood {
            queues,
            microseconds,
        })
    }

    const fn guest(number: u8) -> Owner {
        Some(GuestId(number as u64))
    }

    /// Engines in simulated time: each queue waits again as soon as it is taken, as a full one does.
    struct Engines {
        schedule: Schedule,
        clock: u64,
        /// End and turn of what each engine does.
        busy: Vec<(u64, Turn)>,
        engines: usize,
    }

    impl Engines {
        fn of(engines: usize, guests: &[Flood]) -> Self {
            let mut schedule = Schedule::default();
            for (number, flood) in (0u8..).zip(guests) {
                for queue in 0..flood.queues {
                    schedule.add(Apqn::new(number, queue), guest(number));
                }
            }
            Self {
                schedule,
                clock: 0,
                busy: Vec::new(),
                engines,
            }
        }

        /// Occupies idle engines, ends the turn that ends first; its guest and its cost.
        fn step(&mut self, cost: impl Fn(Apqn) -> u64) -> (Apqn, u64) {
            while self.busy.len() < self.engines
                && let Some(turn) = self.schedule.next()
            {
                self.schedule.add(turn.apqn, turn.owner);
                self.busy.push((self.clock + cost(turn.apqn), turn));
            }
            let first = (0..self.busy.len()).min_by_key(|at| self.busy[*at].0);
            let (end, turn) = self.busy.swap_remove(first.expect("there is always work"));
            self.clock = end;
            let cost = cost(turn.apqn);
            self.schedule.done(&turn, Duration::from_micros(cost));
            (turn.apqn, cost)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Guests share equally whatever they ask for, and the queues of each do.
        #[test]
        fn shares_are_equal_within_five_percent(
            engines in 1usize..=4,
            guests in prop::collection::vec(flood(), 2..6),
        ) {
            let longest = guests.iter().map(|flood| flood.microseconds).max().unwrap_or(0);
            let cost = |apqn: Apqn| guests[usize::from(apqn.apid.0)].microseconds;
            let mut simulated = Engines::of(engines, &guests);
            let (mut got, mut queues) = (vec![0; guests.len()], BTreeMap::new());
            // An engine's worth of the longest request is the most that two guests can differ by; with
            // a hundred times that for each queue it is a small part.
            let total = longest * 100 * engines as u64 * 8 * guests.len() as u64;
            let mut sum = 0;
            while sum < total {
                let (apqn, cost) = simulated.step(cost);
                got[usize::from(apqn.apid.0)] += cost;
                *queues.entry(apqn).or_insert(0) += cost;
                sum += cost;
            }
            let fair = sum / guests.len() as u64;
            for share in &got {
                prop_assert!(share.abs_diff(fair) * 20 <= fair, "{got:?} of {sum}");
            }
            for (apqn, share) in &queues {
                let flood = guests[usize::from(apqn.apid.0)];
                let fair = got[usize::from(apqn.apid.0)] / u64::from(flood.queues);
                prop_assert!(share.abs_diff(fair) * 20 <= fair, "{apqn} {queues:?}");
            }
        }

        /// Before a guest that comes to others it does not know gets its turn, each of them has one at
        /// most; with everybody's cost unknown until it is over.
        #[test]
        fn a_newcomer_waits_for_one_turn_of_each_other(
            engines in 1usize..=4,
            guests in prop::collection::vec(flood(), 1..6),
            before in 0usize..500,
        ) {
            let cost = |apqn: Apqn| match guests.get(usize::from(apqn.apid.0)) {
                Some(flood) => flood.microseconds,
                None => 1,
            };
            let mut simulated = Engines::of(engines, &guests);
            for _ in 0..before {
                simulated.step(cost);
            }
            let newcomer = Apqn::new(200, 0);
            simulated.schedule.add(newcomer, guest(200));
            let running = simulated.busy.len();
            let mut seen = Vec::new();
            loop {
                let (apqn, _) = simulated.step(cost);
                if apqn == newcomer {
                    break;
                }
                seen.push(apqn.apid);
                // Those that ran when it came, those that ran beside it, one of each other.
                prop_assert!(seen.len() <= running + engines + guests.len(), "{seen:?}");
            }
        }

        /// A guest that asks now and then gets no more than one that always asks.
        #[test]
        fn a_rest_is_no_credit(rests in prop::collection::vec(0u64..50, 20..60)) {
            let mut schedule = Schedule::default();
            let (busy, lazy) = (Apqn::new(1, 0), Apqn::new(2, 0));
            schedule.add(busy, guest(1));
            let millisecond = Duration::from_millis(1);
            for rest in rests {
                for _ in 0..rest {
                    let turn = schedule.next().expect("it waits");
                    schedule.add(turn.apqn, turn.owner);
                    schedule.done(&turn, millisecond);
                }
                // However long it rested, from here on they alternate.
                schedule.add(lazy, guest(2));
                let mut turns = VecDeque::new();
                for _ in 0..10 {
                    let turn = schedule.next().expect("both wait");
                    schedule.add(turn.apqn, turn.owner);
                    schedule.done(&turn, millisecond);
                    turns.push_back(turn.apqn);
                }
                let lazies = turns.iter().filter(|apqn| **apqn == lazy).count();
                prop_assert!((4..=6).contains(&lazies), "{turns:?}");
                // It goes again: its next turn finds it without work.
                let mut last = schedule.next().expect("both wait");
                while last.apqn != lazy {
                    schedule.add(last.apqn, last.owner);
                    schedule.done(&last, millisecond);
                    last = schedule.next().expect("both wait");
                }
                schedule.done(&last, Duration::ZERO);
            }
        }

        /// Every queue that was added is chosen exactly once, whoever owns it.
        #[test]
        fn nothing_is_lost_or_doubled(
            added in prop::collection::btree_set((0u8..20, any::<u8>()), 0..200),
            costs in prop::collection::vec(0u64..1_000, 200),
        ) {
            let mut schedule = Schedule::default();
            for (apid, apqi) in &added {
                schedule.add(Apqn::new(*apid, *apqi), guest(apqi % 5));
            }
            let mut chosen = BTreeSet::new();
            for cost in costs {
                let Some(turn) = schedule.next() else { break };
                prop_assert!(chosen.insert((turn.apqn.apid.0, turn.apqn.apqi.0)));
                schedule.done(&turn, Duration::from_nanos(cost));
            }
            prop_assert_eq!(chosen, added);
            prop_assert!(schedule.next().is_none());
        }
    }

    #[test]
    fn guests_without_end_leave_a_bounded_number_of_accounts() {
        let mut schedule = Schedule::default();
        let steady = Apqn::new(1, 1);
        schedule.add(steady, None);
        for number in 0..100_000 {
            schedule.add(Apqn::new(2, 2), Some(GuestId(number)));
            for _ in 0..2 {
                let turn = schedule.next().expect("two wait");
                if turn.apqn == steady {
                    schedule.add(steady, None);
                }
                schedule.done(&turn, Duration::from_micros(300));
            }
            assert!(schedule.accounts.len() <= 2 * MANY_ACCOUNTS);
        }
    }
}
