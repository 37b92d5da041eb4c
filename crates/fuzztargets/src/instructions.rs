//! Programs of two guests on one machine, with hostile registers and messages, while an administrator
//! gives and takes queues and engines work.

use arch::registers::{CpuState, decode_dqap, decode_nqap, decode_pqap};
use arch::{
    AdapterMask, ApInstructions, Apcb, Apqn, AqicControl, ControlMask, CrycbFormat, Facilities,
    Instruction, Mask256, UsageMask,
};
use machine::{Machine, PartitionConfig, Scratch};

use crate::shadow::Shadow;

/// An accelerator, a CCA coprocessor, two usage domains; one adapter and one domain are beyond what a
/// small CRYCB can name.
const PARTITION: &str = "card 3 14 A; card 69 14 C; dom 6; dom 25";
/// Adapters and domains that masks and programs like to name: the partition's and their neighbours.
const APIDS: [u8; 4] = [3, 0x45, 4, 0xff];
const APQIS: [u8; 4] = [6, 0x19, 7, 0xff];
/// Longer programs are cut: only their length would make them slow.
const MAX_STEPS: usize = 300;
/// More than a card takes.
const BUFFER: usize = 8200;

/// Runs a program. Nothing that a guest executes shows in a queue that it does not have, no reply is
/// read by another guest or after the queue changed hands, no card works on what was not accepted.
///
/// # Panics
/// When one of these does not hold.
pub fn instructions(bytes: &[u8]) {
    let mut program = Program(bytes);
    let config = PartitionConfig::parse_spec(PARTITION).expect("the SPEC is valid");
    let machine = Machine::new(&config, Box::new(|_| {})).expect("the numbers are in range");
    let formats = [
        CrycbFormat::Format2,
        CrycbFormat::Format1,
        CrycbFormat::Format0,
    ];
    let choice = usize::from(program.byte());
    let formats = [formats[choice % 3], formats[choice / 3 % 3]];
    let mut shadow = Shadow::new(&machine, formats);
    for guest in shadow.guests {
        let attached = machine.attach_guest(guest.id, guest.format, Facilities::all());
        attached.expect("the machine has extended addressing");
    }
    let (mut scratch, mut buffer) = (Scratch::new(), vec![0; BUFFER]);
    for _ in 0..MAX_STEPS {
        if program.0.is_empty() {
            break;
        }
        let step = program.byte();
        match step % 8 {
            0..=4 => execute(step, &mut program, &machine, &mut shadow, &mut buffer),
            5 => {
                let apqn = program.apqn();
                machine.run_one(apqn, &mut scratch);
                shadow.look(&machine, |queue| queue == apqn, true);
            }
            6 => administer(step, &mut program, &machine, &mut shadow),
            _ => operate(step, &mut program, &machine, &mut shadow),
        }
    }
}

/// A guest's instruction: from registers as an honest VMM decodes them, or as a taken-over VMM likes.
fn execute(
    step: u8,
    program: &mut Program<'_>,
    machine: &Machine,
    shadow: &mut Shadow,
    buffer: &mut [u8],
) {
    let guest = usize::from(step >> 7);
    let kind = step % 8;
    let apqn = program.apqn();
    let psmid = shadow.name(guest, apqn);
    let instruction = if step & 0x40 == 0 {
        program.decoded(kind, apqn, psmid, shadow.guests[guest].format)
    } else {
        Some(program.raw(kind, apqn, psmid))
    };
    let Some(instruction) = instruction else {
        return;
    };
    let length = usize::from(program.word()) % (buffer.len() + 1);
    let buffer = match instruction {
        Instruction::Dqap { .. } => &mut buffer[..length],
        _ => &mut [],
    };
    let id = shadow.guests[guest].id;
    let outcome = machine.guest(id).execute(&instruction, buffer);
    shadow.executed(guest, &instruction, &outcome, buffer.len());
    let named = instruction
        .apqn()
        .filter(|apqn| shadow.guests[guest].apcb.contains(*apqn));
    shadow.look(machine, |queue| named == Some(queue), false);
}

/// The administrator gives a guest masks, or resets a queue.
fn administer(step: u8, program: &mut Program<'_>, machine: &Machine, shadow: &mut Shadow) {
    let guest = usize::from(step >> 7);
    if step & 0x40 == 0 {
        let apcb = program.apcb();
        let given = machine.set_masks(shadow.guests[guest].id, &apcb);
        shadow.gave(guest, &apcb, given.is_ok());
    } else {
        let apqn = program.apqn();
        let outcome = machine
            .host()
            .execute(&Instruction::Zapq { apqn, force: false }, &mut []);
        if outcome
            .status()
            .is_some_and(|status| status.code == arch::ResponseCode::NORMAL)
        {
            shadow.emptied(|queue| queue == apqn);
        }
    }
    // All may be empty now; nothing has reached a card.
    shadow.look(machine, |_| true, false);
}

/// The hardware console deconfigures or check-stops an adapter, or makes it well again.
fn operate(step: u8, program: &mut Program<'_>, machine: &Machine, shadow: &mut Shadow) {
    let apid = program.apqn().apid;
    let changed = match step >> 6 {
        0 => machine.configure(apid),
        1 => machine.deconfigure(apid),
        2 => machine.checkstop(apid),
        _ => machine.recover(apid),
    };
    // What was there already is refused, and then nothing is lost.
    if changed.is_ok() {
        shadow.look(machine, |queue| queue.apid == apid, false);
        shadow.emptied(|queue| {
            queue.apid == apid && machine.counters(queue).load == machine::QueueLoad::default()
        });
    }
    shadow.look(machine, |_| false, false);
}

/// The rest of the input; at its end it goes on with zeros.
struct Program<'b>(&'b [u8]);

impl<'b> Program<'b> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn double_word(&mut self) -> u64 {
        u64::from_be_bytes([(); 8].map(|()| self.byte()))
    }

    fn bytes(&mut self, length: usize) -> &'b [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn apqn(&mut self) -> Apqn {
        let choice = usize::from(self.byte());
        if choice & 0x80 == 0 {
            Apqn::new(APIDS[choice & 3], APQIS[choice >> 2 & 3])
        } else {
            Apqn::new(self.byte(), self.byte())
        }
    }

    fn mask(&mut self, likes: [u8; 4]) -> Mask256 {
        let choice = self.byte();
        if choice == 0xff {
            return Mask256::FULL;
        }
        let liked = (0..4_usize).filter(|bit| choice >> bit & 1 == 1);
        liked.map(|bit| likes[bit]).collect()
    }

    fn apcb(&mut self) -> Apcb {
        let (adapters, usage, control) = (self.mask(APIDS), self.mask(APQIS), self.mask(APQIS));
        Apcb {
            apm: AdapterMask(adapters),
            aqm: UsageMask(usage),
            adm: ControlMask(control),
        }
    }

    fn message(&mut self) -> &'b [u8] {
        /// Zeros, as many as a too long message has.
        const ZEROS: &[u8] = &[0; BUFFER];
        match self.word() {
            length @ 0x8000.. => &ZEROS[..usize::from(length & 0x3fff).min(BUFFER)],
            length => self.bytes(usize::from(length & 0x7ff)),
        }
    }

    /// What an honest VMM makes of the guest's registers; none if they are an exception.
    fn decoded(
        &mut self,
        kind: u8,
        apqn: Apqn,
        psmid: u64,
        format: CrycbFormat,
    ) -> Option<Instruction<'b>> {
        let upper = u64::from(self.word()) << 16;
        let gr0 = upper | u64::from(apqn.apid.0) << 8 | u64::from(apqn.apqi.0);
        let cpu = CpuState {
            problem_state: false,
            facilities: Facilities::all(),
            apxa: format == CrycbFormat::Format2,
        };
        match kind {
            0 => {
                let message = self.message();
                let operands = decode_nqap(gr0, (2, 4), message.len() as u64, &cpu).ok()?;
                Some(Instruction::Nqap {
                    apqn: operands.apqn,
                    psmid,
                    special: operands.special,
                    message,
                })
            }
            1 => {
                let apqn = decode_dqap(gr0, (2, 4), 1, &cpu).ok()?;
                Some(Instruction::Dqap { apqn })
            }
            _ => decode_pqap(gr0, self.double_word(), self.double_word(), &cpu).ok(),
        }
    }

    /// An instruction that nobody has checked.
    fn raw(&mut self, kind: u8, apqn: Apqn, psmid: u64) -> Instruction<'b> {
        let choice = self.byte();
        let (force, facilities, special) = (choice & 8 != 0, choice & 8 != 0, choice & 8 != 0);
        match (kind, choice % 6) {
            (0, _) => Instruction::Nqap {
                apqn,
                psmid,
                special,
                message: self.message(),
            },
            (1, _) => Instruction::Dqap { apqn },
            (_, 0) => Instruction::Tapq { apqn, facilities },
            (_, 1) => Instruction::Rapq { apqn, force },
            (_, 2) => Instruction::Zapq { apqn, force },
            (_, 3) => Instruction::Aqic {
                apqn,
                control: AqicControl(self.double_word()),
                nib: self.double_word(),
            },
            (_, 4) => Instruction::Qci,
            _ => Instruction::Qact {
                apqn,
                info: self.double_word(),
            },
        }
    }
}

/// The adapters that programs like to name are those of the partition.
#[cfg(test)]
mod tests {
    use arch::Apid;

    use super::*;

    #[test]
    fn the_liked_queues_exist() {
        let config = PartitionConfig::parse_spec(PARTITION).unwrap();
        let adapters: Vec<Apid> = config.adapters.keys().copied().collect();
        assert_eq!(adapters, [Apid(APIDS[0]), Apid(APIDS[1])]);
    }
}
