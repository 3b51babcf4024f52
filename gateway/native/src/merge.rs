//! Packets to frames for the TUN: consecutive segments of one flow become one super-packet.

use std::collections::HashMap;

use crate::checksum::{finish, holds, ones_sum};
use crate::packet::*;

const MAX_SUPER_PACKET: usize = 65_000;
const MAX_SEGMENTS: usize = 64;

/// A packet that could be one segment of a super-packet.
struct Segment<'a> {
    key: Vec<u8>,
    start: usize,
    end: usize,
    sequence: u32,
    last: bool,
    payload: &'a [u8],
}

/// Packets that become one frame: consecutive segments of one flow, or a single packet.
pub struct Group<'a> {
    pub first: &'a [u8],
    head: Option<(usize, usize, u32)>,
    payloads: Vec<&'a [u8]>,
    size: usize,
    length: usize,
    closed: bool,
    pushed: bool,
}

pub fn merge<'a>(packets: &[&'a [u8]], udp: bool) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::with_capacity(4);
    let mut open: HashMap<Vec<u8>, usize> = HashMap::new();
    for packet in packets {
        let segment = if is_tcp(packet) {
            tcp_segment(packet)
        } else if udp {
            udp_segment(packet)
        } else {
            None
        };
        let Some(segment) = segment else {
            open.clear(); // it may belong to any of them, and must not overtake
            groups.push(Group::alone(packet));
            continue;
        };
        if let Some(at) = open.get(&segment.key)
            && groups[*at].take(&segment)
        {
            continue;
        }
        groups.push(Group::beginning(packet, &segment));
        open.insert(segment.key, groups.len() - 1);
    }
    groups
}

impl<'a> Group<'a> {
    fn alone(first: &'a [u8]) -> Self {
        Group { first, head: None, payloads: vec![], size: 0, length: 0, closed: true, pushed: false }
    }

    fn beginning(first: &'a [u8], segment: &Segment<'a>) -> Self {
        let size = segment.payload.len();
        let mut payloads = Vec::with_capacity(MAX_SEGMENTS);
        payloads.push(segment.payload);
        let head = Some((segment.start, segment.end, segment.sequence));
        Group { first, head, payloads, size, length: size, closed: segment.last, pushed: false }
    }

    /// Append the segment if it goes on exactly where the group ends.
    fn take(&mut self, segment: &Segment<'a>) -> bool {
        let Some((_, end, sequence)) = self.head else { return false };
        let more = segment.payload.len();
        if self.closed || more > self.size || self.payloads.len() >= MAX_SEGMENTS {
            return false;
        }
        let expected = if is_tcp(self.first) { sequence.wrapping_add(self.length as u32) } else { 0 };
        if segment.sequence != expected || end + self.length + more > MAX_SUPER_PACKET {
            return false;
        }
        self.payloads.push(segment.payload);
        self.length += more;
        self.closed = segment.last || more < self.size;
        self.pushed |= segment.last;
        true
    }

    /// Bytes of the frame.
    pub fn frame_len(&self) -> usize {
        match self.head {
            Some((_, end, _)) if self.payloads.len() > 1 => VIRTIO + end + self.length,
            _ => VIRTIO + self.first.len(),
        }
    }

    /// Write the frame to `out`, which has `frame_len` bytes, all zero.
    pub fn write(&self, out: &mut [u8]) {
        let Some((start, end, _)) = self.head.filter(|_| self.payloads.len() > 1) else {
            out[VIRTIO..].copy_from_slice(self.first);
            return;
        };
        let (virtio, packet) = out.split_at_mut(VIRTIO);
        let (header, body) = packet.split_at_mut(end);
        header.copy_from_slice(&self.first[..end]);
        let (v4, tcp, length) = (is_v4(self.first), is_tcp(self.first), end + self.length);
        if v4 {
            put16(header, 2, length as u16);
            put16(header, 10, 0);
            let field = finish(ones_sum(&header[..start]));
            put16(header, 10, field);
        } else {
            put16(header, 4, (length - 40) as u16);
        }
        let field = if tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
        let sum = pseudo(header, if tcp { TCP } else { UDP }) + (length - start) as u64;
        put16(header, start + field, (sum % 65535) as u16);
        if tcp {
            header[start + 13] |= if self.pushed { PSH } else { 0 };
        } else {
            put16(header, start + 4, (length - start) as u16);
        }
        virtio[0] = NEEDS_CHECKSUM;
        virtio[1] = if !tcp { GSO_UDP } else if v4 { GSO_TCPV4 } else { GSO_TCPV6 };
        for (at, value) in [(2, end), (4, self.size), (6, start), (8, field)] {
            virtio[at..at + 2].copy_from_slice(&(value as u16).to_ne_bytes());
        }
        let mut at = 0;
        for payload in &self.payloads {
            body[at..at + payload.len()].copy_from_slice(payload);
            at += payload.len();
        }
    }
}

fn is_tcp(packet: &[u8]) -> bool {
    (packet[0] == 0x45 && packet[9] == TCP) || (packet[0] >> 4 == 6 && packet[6] == TCP)
}

/// A whole IPv4 packet with a sound header, or an IPv6 one: what a split could have made.
fn whole(packet: &[u8], start: usize) -> bool {
    !is_v4(packet) || (packet[6] & 0x3F == 0 && packet[7] == 0 && holds(ones_sum(&packet[..start])))
}

fn sound(packet: &[u8], start: usize, protocol: u8) -> bool {
    holds(pseudo(packet, protocol) + (packet.len() - start) as u64 + ones_sum(&packet[start..]))
}

/// What must be alike in all packets of a group, as far as the IP header goes.
fn network_key(packet: &[u8], start: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(112);
    key.push(packet[0]);
    if is_v4(packet) {
        key.push(packet[1]);
        key.extend_from_slice(&packet[6..10]);
    } else {
        key.extend_from_slice(&packet[1..4]);
        key.extend_from_slice(&packet[6..8]);
    }
    key.extend_from_slice(addresses(packet));
    key.extend_from_slice(&packet[start..start + 4]);
    key
}

/// A data segment that carries no flag but ACK and PSH; anything else stays by itself.
fn tcp_segment(packet: &[u8]) -> Option<Segment<'_>> {
    let start = if is_v4(packet) { 20 } else { 40 };
    if packet.len() < start + 20 {
        return None;
    }
    let end = start + usize::from(packet[start + 12] >> 4) * 4;
    let flags = packet[start + 13];
    if flags & !PSH != ACK || end >= packet.len() || end < start + 20 {
        return None;
    }
    if !whole(packet, start) || !sound(packet, start, TCP) {
        return None;
    }
    let mut key = network_key(packet, start);
    key.extend_from_slice(&packet[start + 8..start + 13]);
    key.extend_from_slice(&packet[start + 14..start + 16]);
    key.extend_from_slice(&packet[start + 18..end]);
    let sequence = be32(packet, start + 4);
    Some(Segment { key, start, end, sequence, last: flags & PSH != 0, payload: &packet[end..] })
}

fn udp_segment(packet: &[u8]) -> Option<Segment<'_>> {
    let v4 = is_v4(packet);
    let start = if v4 { 20 } else { 40 };
    if if v4 { packet[0] != 0x45 || packet[9] != UDP } else { packet[6] != UDP } {
        return None;
    }
    if packet.len() <= start + 8 || usize::from(be16(packet, start + 4)) != packet.len() - start {
        return None;
    }
    if be16(packet, start + UDP_CHECKSUM) == 0 {
        return None; // without a checksum, a split would invent one
    }
    if !whole(packet, start) || !sound(packet, start, UDP) {
        return None;
    }
    let key = network_key(packet, start);
    Some(Segment { key, start, end: start + 8, sequence: 0, last: false, payload: &packet[start + 8..] })
}
