//! A frame of the TUN to the packets in it, with all checksums in place.

use crate::checksum::{finish, finish_nonzero, ones_sum};
use crate::packet::*;

/// What a frame holds: one packet, or segments of one flow.
pub enum Super<'a> {
    Nothing,
    One { packet: &'a [u8], complete: Option<(usize, usize)> },
    Segments(Segments<'a>),
}

pub struct Segments<'a> {
    packet: &'a [u8],
    start: usize,
    end: usize,
    size: usize,
    tcp: bool,
    header: Vec<u8>,
    header_sum: u64,
    base: u64,
}

pub fn parse(frame: &[u8]) -> Super<'_> {
    if frame.len() < VIRTIO + 20 {
        return Super::Nothing;
    }
    let native = |at: usize| usize::from(u16::from_ne_bytes([frame[at], frame[at + 1]]));
    let (flags, kind) = (frame[0], frame[1] & !GSO_ECN);
    let (size, start, offset) = (native(4), native(6), native(8));
    let packet = &frame[VIRTIO..];
    match kind {
        GSO_NONE => {
            let field = flags & NEEDS_CHECKSUM != 0 && start + offset + 2 <= packet.len();
            Super::One { packet, complete: field.then_some((start, offset)) }
        }
        GSO_TCPV4 | GSO_TCPV6 => Segments::tcp(packet, start, size).map_or(Super::Nothing, Super::Segments),
        GSO_UDP => Segments::udp(packet, start, size).map_or(Super::Nothing, Super::Segments),
        _ => Super::Nothing,
    }
}

impl Super<'_> {
    /// Lengths of all packets, in order.
    pub fn lengths(&self) -> Vec<usize> {
        match self {
            Super::Nothing => vec![],
            Super::One { packet, .. } => vec![packet.len()],
            Super::Segments(segments) => segments.lengths(),
        }
    }

    /// Write packet `index` to `out`, which has its length.
    pub fn write(&mut self, index: usize, out: &mut [u8]) {
        match self {
            Super::Nothing => {}
            Super::One { packet, complete } => {
                out.copy_from_slice(packet);
                if let Some((start, offset)) = *complete {
                    let field = finish_nonzero(ones_sum(&packet[start..]));
                    put16(out, start + offset, field);
                }
            }
            Super::Segments(segments) => segments.write(index, out),
        }
    }
}

fn shortest_ip_header(packet: &[u8]) -> Option<usize> {
    match packet[0] >> 4 {
        4 => Some(20),
        6 => Some(40),
        _ => None,
    }
}

impl<'a> Segments<'a> {
    fn tcp(packet: &'a [u8], start: usize, size: usize) -> Option<Self> {
        if size == 0 || start < shortest_ip_header(packet)? || start + 20 > packet.len() {
            return None;
        }
        let end = start + usize::from(packet[start + 12] >> 4) * 4;
        if end < start + 20 || end > packet.len() {
            return None;
        }
        let mut made = Self::new(packet, start, end, size, true);
        made.header[start + 4..start + 8].fill(0);
        made.header[start + 13] = 0;
        made.header[start + 16..start + 18].fill(0);
        made.base = pseudo(packet, TCP) + ones_sum(&made.header[start..end]);
        Some(made)
    }

    fn udp(packet: &'a [u8], start: usize, size: usize) -> Option<Self> {
        let end = start + 8;
        if size == 0 || start < shortest_ip_header(packet)? || end > packet.len() {
            return None;
        }
        let mut made = Self::new(packet, start, end, size, false);
        made.base = pseudo(packet, UDP) + ones_sum(&packet[start..start + 4]);
        Some(made)
    }

    fn new(packet: &'a [u8], start: usize, end: usize, size: usize, tcp: bool) -> Self {
        let mut header = packet[..end].to_vec();
        let mut header_sum = 0;
        if is_v4(packet) {
            header[2..6].fill(0);
            header[10..12].fill(0);
            header_sum = ones_sum(&header[..start]);
        }
        Segments { packet, start, end, size, tcp, header, header_sum, base: 0 }
    }

    fn payload(&self) -> &'a [u8] {
        &self.packet[self.end..]
    }

    fn lengths(&self) -> Vec<usize> {
        self.payload().chunks(self.size).map(|segment| self.end + segment.len()).collect()
    }

    fn write(&mut self, index: usize, out: &mut [u8]) {
        let at = index * self.size;
        let payload = self.payload();
        let segment = &payload[at..payload.len().min(at + self.size)];
        self.stamp(index, out.len());
        if self.tcp { self.stamp_tcp(index, at, segment) } else { self.stamp_udp(segment) }
        out[..self.end].copy_from_slice(&self.header);
        out[self.end..].copy_from_slice(segment);
    }

    fn stamp(&mut self, index: usize, length: usize) {
        if !is_v4(self.packet) {
            put16(&mut self.header, 4, (length - 40) as u16);
            return;
        }
        let identification = be16(self.packet, 4).wrapping_add(index as u16);
        put16(&mut self.header, 2, length as u16);
        put16(&mut self.header, 4, identification);
        let field = finish(self.header_sum + length as u64 + u64::from(identification));
        put16(&mut self.header, 10, field);
    }

    fn stamp_tcp(&mut self, index: usize, at: usize, segment: &[u8]) {
        let start = self.start;
        let last = at + self.size >= self.payload().len();
        let mut marks = self.packet[start + 13];
        if !last {
            marks &= !(FIN | PSH);
        }
        if index > 0 {
            marks &= !CWR;
        }
        let sequence = be32(self.packet, start + 4).wrapping_add(at as u32);
        put32(&mut self.header, start + 4, sequence);
        self.header[start + 13] = marks;
        let length = (self.end - start + segment.len()) as u64;
        let total = self.base + length + u64::from(sequence) + u64::from(marks) + ones_sum(segment);
        put16(&mut self.header, start + TCP_CHECKSUM, finish(total));
    }

    fn stamp_udp(&mut self, segment: &[u8]) {
        let length = 8 + segment.len();
        let total = self.base + 2 * length as u64 + ones_sum(segment);
        put16(&mut self.header, self.start + 4, length as u16);
        put16(&mut self.header, self.start + UDP_CHECKSUM, finish_nonzero(total));
    }
}
