//! Which refusals of the daemon's log concern a queue or a mediated device.

use arch::Apqn;

use crate::control::Refusal;

/// Refusals that name the queue: in the file, in what was written, or in the reason.
pub(crate) fn concerning_queue(log: &[Refusal], apqn: Apqn) -> Vec<Refusal> {
    pick(log, &apqn.to_string())
}

/// Refusals of a write to the device's files, and those that name the device.
pub(crate) fn concerning_mdev(log: &[Refusal], uuid: &str) -> Vec<Refusal> {
    pick(log, uuid)
}

fn pick(log: &[Refusal], name: &str) -> Vec<Refusal> {
    let names = |text: &str| text.to_ascii_lowercase().contains(name);
    log.iter()
        .filter(|entry| names(&entry.what) || names(&entry.text) || names(&entry.reason))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(what: &str, text: &str, reason: &str) -> Refusal {
        Refusal {
            number: 1,
            time: 0,
            what: what.to_owned(),
            text: text.to_owned(),
            errno: "EBUSY".to_owned(),
            reason: reason.to_owned(),
            writer: None,
        }
    }

    #[test]
    fn a_refusal_concerns_what_it_names_anywhere() {
        let log = [
            refusal(
                "bus/ap/apmask",
                "+5",
                "mdev x keeps 1 queue(s), the first is 05.0004",
            ),
            refusal("bus/ap/drivers/vfio_ap/bind", "05.0047\n", "bound already"),
            refusal("devices/vfio_ap/matrix/0a-b/assign_adapter", "5", "why"),
            refusal("open", "0A-B", "busy"),
        ];
        assert_eq!(concerning_queue(&log, Apqn::new(5, 4)), log[..1]);
        assert_eq!(concerning_queue(&log, Apqn::new(5, 0x47)), log[1..2]);
        assert_eq!(concerning_mdev(&log, "0a-b"), log[2..]);
    }
}
