//! The container of recordings: pcap-ng with link type USER0, written block by block.
//!
//! Wireshark, tshark and editcap open it as it is. A file that ends anywhere is whole up to its last
//! complete block.

use std::time::Duration;

use zeroize::Zeroizing;

use super::event::Secrets;

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
pub(super) const STATISTICS: u32 = 5;
pub(super) const PACKET: u32 = 6;
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
pub(super) const LINK_USER0: u16 = 147;
pub(super) const IF_NAME: u16 = 2;
pub(super) const IF_DESCRIPTION: u16 = 3;
pub(super) const IF_TSRESOL: u16 = 9;
/// Of a packet: what was lost since the packet before.
pub(super) const EPB_DROPCOUNT: u16 = 4;
const SHB_USERAPPL: u16 = 4;
const ISB_IFRECV: u16 = 4;
pub(super) const ISB_IFDROP: u16 = 5;
/// Time stamps count nanoseconds.
pub(super) const NANOSECONDS: u8 = 9;
/// How the interface of a recording describes itself, and what follows.
pub(super) const DESCRIPTION: &str = "AP instructions of a mediated device, secrets ";
pub(super) const INCLUDED: &str = "included";
const REDACTED: &str = "redacted";

/// Makes the blocks of one recording.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    packets: u64,
    dropped: u64,
}

impl Writer {
    /// The blocks in front of the packets.
    pub(crate) fn head(mdev: &str, secrets: Secrets) -> Vec<u8> {
        let mut section = Vec::new();
        section.extend(BYTE_ORDER.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        section.extend(u64::MAX.to_le_bytes());
        let program = concat!("apmatrix ", env!("CARGO_PKG_VERSION"));
        option(&mut section, SHB_USERAPPL, program.as_bytes());
        end_of_options(&mut section);
        let mut interface = Vec::new();
        interface.extend(LINK_USER0.to_le_bytes());
        interface.extend([0; 6]);
        option(&mut interface, IF_NAME, mdev.as_bytes());
        let of_secrets = match secrets {
            Secrets::Included => INCLUDED,
            Secrets::Redacted => REDACTED,
        };
        let description = format!("{DESCRIPTION}{of_secrets}");
        option(&mut interface, IF_DESCRIPTION, description.as_bytes());
        option(&mut interface, IF_TSRESOL, &[NANOSECONDS]);
        end_of_options(&mut interface);
        let mut head = block(SECTION, &section);
        head.extend(block(INTERFACE, &interface));
        head
    }

    /// The block of one packet. `dropped` counts all that were lost since the beginning.
    pub(crate) fn packet(
        &mut self,
        at: Duration,
        dropped: u64,
        packet: &[u8],
    ) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new(Vec::with_capacity(packet.len() + 48));
        body.extend([0; 4]);
        time(&mut body, at);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        body.extend(length.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(packet);
        pad(&mut body);
        let lost = dropped - self.dropped;
        if lost > 0 {
            option(&mut body, EPB_DROPCOUNT, &lost.to_le_bytes());
            end_of_options(&mut body);
        }
        (self.packets, self.dropped) = (self.packets + 1, dropped);
        Zeroizing::new(block(PACKET, &body))
    }

    /// The block behind the packets: how many there are and how many were lost in all.
    pub(crate) fn tail(&self, at: Duration, dropped: u64) -> Vec<u8> {
        let mut body = vec![0; 4];
        time(&mut body, at);
        option(&mut body, ISB_IFRECV, &self.packets.to_le_bytes());
        option(&mut body, ISB_IFDROP, &dropped.to_le_bytes());
        end_of_options(&mut body);
        block(STATISTICS, &body)
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend(kind.to_le_bytes());
    block.extend(length.to_le_bytes());
    block.extend(body);
    block.extend(length.to_le_bytes());
    block
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// High and low half of the nanoseconds since 1970.
fn time(body: &mut Vec<u8>, at: Duration) {
    let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let [a, b, c, d, e, f, g, h] = nanoseconds.to_le_bytes();
    body.extend([e, f, g, h, a, b, c, d]);
}
