//! Random sequences against an independent model, with shrinking, and random bytes into every file.
//!
//! `PROPTEST_CASES` sets how many sequences are tried; 2,000 without it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::collections::BTreeSet;

use arch::{Apcb, Apqn, Errno, Mask256};
use common::model::{Axis, Kind, MAX, Model, Op, Set, Side};
use common::{Fake, boot};
use matrix::{BootConfig, Command, Host, HostError, MdevUuid, Usage, VmId};
use proptest::prelude::*;
use sysfs::{Node, Session};

const UUIDS: [&str; 3] = [
    "62177883-f1bb-47f0-914d-32a22e3a8804",
    "cef03c3c-903d-4ecc-9a83-40694cb8aee4",
    "83c32df7-d052-4b21-9a0f-1d2c3e4f5a6b",
];
const CREATE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough/create";

fn name() -> impl Strategy<Value = u8> {
    0..3u8
}

/// Mostly within the limit.
fn number() -> impl Strategy<Value = u8> {
    prop_oneof![12 => 0..=MAX, 1 => Just(MAX + 1)]
}

/// Which driver: mostly `vfio_ap`.
fn vfio() -> impl Strategy<Value = bool> {
    prop_oneof![4 => Just(true), 1 => Just(false)]
}

/// A host that has most numbers, so that a change loses and gains few.
fn host() -> impl Strategy<Value = [Set; 3]> {
    // A subsequence never rejects: a set of a minimum size does, and a long run has only so many rejects.
    let all: Vec<u8> = (0..=MAX).collect();
    let most =
        || proptest::sample::subsequence(all.clone(), 2..=all.len()).prop_map(Set::from_iter);
    [most(), most(), most()]
}

/// How sequences start: with a few mdevs, and mostly with queues that are not the host's.
fn prelude() -> impl Strategy<Value = Vec<Op>> {
    let create = vec![Op::Create(0), Op::Create(1)];
    let masks = [Axis::Adapters, Axis::Domains].map(|axis| Op::MaskValue(axis, Set::new()));
    prop_oneof![
        3 => Just([create.clone(), masks.to_vec()].concat()),
        1 => Just(create),
        1 => Just(Vec::new()),
    ]
}

fn set_up_to(max: u8) -> impl Strategy<Value = Set> {
    proptest::collection::btree_set(0..=max, 0..4)
}

fn set() -> impl Strategy<Value = Set> {
    set_up_to(MAX)
}

fn sets() -> impl Strategy<Value = [Set; 3]> {
    // Mostly within the limits, so that something is left to refuse for other reasons.
    let any = [set_up_to(MAX + 1), set_up_to(MAX + 1), set_up_to(MAX + 1)];
    prop_oneof![2 => [set(), set(), set()], 1 => any]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => Just(Kind::Adapter), 4 => Just(Kind::Domain), 1 => Just(Kind::Control)]
}

fn axis() -> impl Strategy<Value = Axis> {
    prop_oneof![Just(Axis::Adapters), Just(Axis::Domains)]
}

fn op() -> impl Strategy<Value = Op> {
    let queue = || (vfio(), number(), number());
    prop_oneof![
        3 => name().prop_map(Op::Create),
        1 => name().prop_map(Op::Remove),
        9 => (name(), kind(), number()).prop_map(|(m, k, n)| Op::Assign(m, k, n)),
        4 => (name(), kind(), number()).prop_map(|(m, k, n)| Op::Unassign(m, k, n)),
        3 => (name(), sets()).prop_map(|(m, s)| Op::Configure(m, s)),
        4 => (axis(), proptest::collection::vec((any::<bool>(), number()), 1..4))
            .prop_map(|(a, t)| Op::Mask(a, t)),
        2 => (axis(), set()).prop_map(|(a, s)| Op::MaskValue(a, s)),
        2 => queue().prop_map(|(v, a, d)| Op::Bind(v, a, d)),
        5 => queue().prop_map(|(v, a, d)| Op::Unbind(v, a, d)),
        1 => (number(), number()).prop_map(|(a, d)| Op::Probe(a, d)),
        1 => any::<bool>().prop_map(Op::Autoprobe),
        3 => host().prop_map(Op::Host),
        1 => Just(Op::Rescan),
        2 => (name(), 0..2u8).prop_map(|(m, v)| Op::Open(m, v)),
        2 => name().prop_map(Op::Close),
        1 => name().prop_map(Op::Reset),
    ]
}

fn spec(host: &[Set; 3]) -> String {
    let items = |word: &str, set: &Set, rest: &str| -> String {
        set.iter().map(|n| format!("{word} {n}{rest}; ")).collect()
    };
    let limits = format!("na {MAX}; nd {MAX}");
    items("card", &host[0], " 14 A")
        + &items("dom", &host[1], "")
        + &items("cdom", &host[2], "")
        + &limits
}

fn mask_text(set: &Set) -> String {
    set.iter().copied().collect::<Mask256>().to_string()
}

fn uuid(name: u8) -> MdevUuid {
    UUIDS[usize::from(name)].parse().unwrap()
}

fn mdev_path(name: u8, file: &str) -> String {
    format!("devices/vfio_ap/matrix/{}/{file}", UUIDS[usize::from(name)])
}

const fn file(kind: Kind) -> &'static str {
    match kind {
        Kind::Adapter => "adapter",
        Kind::Domain => "domain",
        Kind::Control => "control_domain",
    }
}

/// The same operation on the host.
fn perform(session: &mut Session<Fake>, op: &Op) -> Result<(), Errno> {
    let mut write = |path: &str, text: &str| {
        session
            .write(path, text.as_bytes())
            .map(|_| ())
            .map_err(|error| error.errno())
    };
    let driver = |vfio: bool, verb| {
        format!(
            "bus/ap/drivers/{}/{verb}",
            if vfio { "vfio_ap" } else { "cex4queue" }
        )
    };
    let queue = |a: u8, d: u8| Apqn::new(a, d).to_string();
    let mask = |axis: Axis| match axis {
        Axis::Adapters => "bus/ap/apmask",
        Axis::Domains => "bus/ap/aqmask",
    };
    match op {
        Op::Create(name) => write(CREATE, UUIDS[usize::from(*name)]),
        Op::Remove(name) => write(&mdev_path(*name, "remove"), "1\n"),
        Op::Assign(name, kind, n) => write(
            &mdev_path(*name, &format!("assign_{}", file(*kind))),
            &format!("{n}\n"),
        ),
        Op::Unassign(name, kind, n) => write(
            &mdev_path(*name, &format!("unassign_{}", file(*kind))),
            &format!("{n:#x}"),
        ),
        Op::Configure(name, sets) => {
            let text: Vec<String> = sets.iter().map(mask_text).collect();
            write(&mdev_path(*name, "ap_config"), &text.join(","))
        }
        Op::Mask(axis, terms) => {
            let term = |(set, n): &(bool, u8)| format!("{}{n},", if *set { '+' } else { '-' });
            write(mask(*axis), &terms.iter().map(term).collect::<String>())
        }
        Op::MaskValue(axis, set) => write(mask(*axis), &mask_text(set)),
        Op::Bind(vfio, a, d) => write(&driver(*vfio, "bind"), &queue(*a, *d)),
        Op::Unbind(vfio, a, d) => write(&driver(*vfio, "unbind"), &queue(*a, *d)),
        Op::Probe(a, d) => write("bus/ap/drivers_probe", &queue(*a, *d)),
        Op::Autoprobe(on) => write("bus/ap/drivers_autoprobe", if *on { "1" } else { "0" }),
        Op::Rescan => write("bus/ap/scans", "x"),
        Op::Host(host) => {
            session.platform.hardware.replace(&spec(host)).unwrap();
            apply(session, Command::HardwareChanged)
        }
        Op::Open(name, vm) => {
            let vm = Some(VmId(vm.to_string().into()));
            apply(
                session,
                Command::Open {
                    mdev: uuid(*name),
                    vm,
                },
            )
        }
        Op::Close(name) => apply(session, Command::Close(uuid(*name))),
        Op::Reset(name) => apply(session, Command::ResetDevice(uuid(*name))),
    }
}

fn apply(session: &mut Session<Fake>, command: Command) -> Result<(), Errno> {
    session
        .apply(command)
        .map(|_| ())
        .map_err(|error: HostError| error.errno())
}

/// Everything that the model knows, compared with the host.
fn compare(session: &mut Session<Fake>, model: &Model) {
    let matrix = session.host.matrix();
    let bus = session.host.bus();
    assert_eq!(bus.apmask().0, model.apmask.iter().copied().collect());
    assert_eq!(bus.aqmask().0, model.aqmask.iter().copied().collect());
    let driver = |side: Option<Side>| {
        side.map(|side| match side {
            Side::Host => bus::Driver::Cex4Queue,
            Side::Vfio => bus::Driver::Plugged,
        })
    };
    let queues: Vec<_> = bus
        .queues()
        .map(|(apqn, queue)| (apqn, queue.driver))
        .collect();
    let expected: Vec<_> = model
        .queues
        .iter()
        .map(|((a, d), side)| (Apqn::new(*a, *d), driver(*side)))
        .collect();
    assert_eq!(queues, expected);
    assert_eq!(matrix.mdevs().count(), model.mdevs.len());
    for (name, expected) in &model.mdevs {
        let mdev = matrix.mdev(uuid(*name)).unwrap();
        let parts = |apcb: &Apcb| {
            [apcb.apm.0, apcb.aqm.0, apcb.adm.0].map(|mask| mask.iter().collect::<Set>())
        };
        assert_eq!(parts(&mdev.matrix), expected.matrix, "matrix of {name}");
        assert_eq!(parts(&mdev.view), expected.view, "view of {name}");
    }
    invariants(session, model);
}

/// What must hold whatever happened.
fn invariants(session: &Session<Fake>, model: &Model) {
    let matrix = session.host.matrix();
    let mut assigned = BTreeSet::new();
    for (uuid, mdev) in matrix.mdevs() {
        for apqn in mdev.matrix.queues() {
            assert!(assigned.insert(apqn), "{apqn} is in two matrices");
            assert_eq!(matrix.owner(apqn), Some(uuid));
        }
        let host = matrix.config();
        assert!(mdev.view.apm.0.is_subset(&(mdev.matrix.apm & host.apm).0));
        assert!(mdev.view.aqm.0.is_subset(&(mdev.matrix.aqm & host.aqm).0));
        assert!(mdev.view.adm.0.is_subset(&(mdev.matrix.adm & host.adm).0));
        for apqn in mdev.view.queues() {
            let queue = session.host.bus().queue(apqn).unwrap();
            assert_eq!(
                queue.driver,
                Some(bus::Driver::Plugged),
                "{apqn} is visible"
            );
        }
        let given = session.platform.guests.get(&uuid);
        let open = mdev.guest().map(|_| &mdev.view);
        assert_eq!(given, open, "masks of the guest of {uuid}");
    }
    for apid in 0..=u8::MAX {
        for apqi in 0..=MAX + 1 {
            let apqn = Apqn::new(apid, apqi);
            assert_eq!(
                matrix.owner(apqn).is_some(),
                assigned.contains(&apqn),
                "{apqn}"
            );
        }
    }
    assert_eq!(
        session.platform.guests.len(),
        model
            .mdevs
            .values()
            .filter(|m| m.vm.is_some() && !m.removing)
            .count()
    );
}

/// What is saved comes back: the same host, with every guest gone.
fn saved_and_restored(mut session: Session<Fake>) {
    let saved = session.host.save();
    let config = BootConfig::default();
    let restored = Host::restore(&config, saved.clone(), &mut session.platform).unwrap();
    assert_eq!(restored.save(), saved);
    let open: Vec<MdevUuid> = session
        .host
        .matrix()
        .mdevs()
        .filter(|(_, mdev)| mdev.usage != Usage::Idle)
        .map(|(uuid, _)| uuid)
        .collect();
    if open.is_empty() {
        assert!(restored == session.host, "what was saved is not all");
    }
    for uuid in open {
        assert_eq!(restored.matrix().mdev(uuid).unwrap().usage, Usage::Idle);
    }
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        default.cases
    } else {
        2000
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    /// The host does what the model does, a refused operation changes nothing, and the accepted ones
    /// alone lead to the same host.
    #[test]
    fn the_host_is_its_model(
        host in host(),
        prelude in prelude(),
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut session = boot(&spec(&host));
        let mut model = Model::boot(host.clone());
        let mut accepted = Vec::new();
        for op in prelude.iter().chain(&ops) {
            let before = session.clone();
            let answer = perform(&mut session, op);
            assert_eq!(answer, model.perform(op), "{op:?}");
            if answer.is_ok() {
                accepted.push(op);
            } else {
                assert!(session.host == before.host, "a refused {op:?} changed the host");
                assert_eq!(session.platform.guests, before.platform.guests);
            }
            compare(&mut session, &model);
        }
        let mut replay = boot(&spec(&host));
        for op in accepted {
            assert_eq!(perform(&mut replay, op), Ok(()), "replay of {op:?}");
        }
        assert!(replay.host == session.host, "a replay leads elsewhere");
        saved_and_restored(session);
    }
}

proptest! {
    /// Whatever is written to whatever file: an answer, never a panic, and no change when refused.
    #[test]
    fn any_bytes_can_be_written_anywhere(
        writes in proptest::collection::vec((any::<prop::sample::Index>(), text()), 1..20),
    ) {
        let mut session = boot("card 3 14 A; card 4 14 P; card 5 14 C; dom 6; cdom 6; na 5; nd 6");
        for name in 0..2 {
            perform(&mut session, &Op::Create(name)).unwrap();
        }
        for (index, text) in writes {
            let files = writable(&session);
            let before = session.host.clone();
            if session.write(index.get::<String>(&files), &text).is_err() {
                assert!(session.host == before);
            }
        }
    }
}

/// Bytes, often nearly right.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        "[-+0-9a-fx, \n]{0,12}".prop_map(String::into_bytes),
        "(0x)?[0-9a-f]{0,66}(,(0x)?[0-9a-f]{0,66}){0,3}\n?".prop_map(String::into_bytes),
        "0[345]\\.000[56]\n?".prop_map(String::into_bytes),
        Just(b"vfio_ap\n".to_vec()),
    ]
}

fn writable(session: &Session<Fake>) -> Vec<String> {
    let tree = session.tree();
    let mut files = Vec::new();
    let mut directories = vec![(String::new(), Node::ROOT)];
    while let Some((path, node)) = directories.pop() {
        for entry in tree.list(node).unwrap() {
            let path = format!("{path}/{}", entry.name);
            match entry.kind {
                sysfs::Kind::Directory => directories.push((path, entry.node)),
                sysfs::Kind::File if tree.mode(entry.node).unwrap() & 0o222 != 0 => {
                    files.push(path);
                }
                sysfs::Kind::File | sysfs::Kind::Link => {}
            }
        }
    }
    files.sort();
    files
}
