//! What both directions need to know about a packet and about frames with virtio headers.

use crate::checksum::ones_sum;

pub const VIRTIO: usize = 10;
pub const NEEDS_CHECKSUM: u8 = 1;
pub const GSO_NONE: u8 = 0;
pub const GSO_TCPV4: u8 = 1;
pub const GSO_TCPV6: u8 = 4;
pub const GSO_UDP: u8 = 5;
pub const GSO_ECN: u8 = 0x80;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const TCP_CHECKSUM: usize = 16;
pub const UDP_CHECKSUM: usize = 6;
pub const FIN: u8 = 0x01;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const CWR: u8 = 0x80;

pub fn is_v4(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4
}

pub fn addresses(header: &[u8]) -> &[u8] {
    if is_v4(header) { &header[12..20] } else { &header[8..40] }
}

/// The pseudo-header's sum without the length.
pub fn pseudo(header: &[u8], protocol: u8) -> u64 {
    ones_sum(addresses(header)) + u64::from(protocol)
}

pub fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

pub fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

pub fn put16(data: &mut [u8], at: usize, value: u16) {
    data[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub fn put32(data: &mut [u8], at: usize, value: u32) {
    data[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
