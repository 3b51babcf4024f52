//! The Internet checksum (RFC 1071), computed in the machine's byte order and turned round at the end.

/// Sum as 16-bit big-endian words modulo 65535; an odd last byte is padded with zero.
pub fn ones_sum(data: &[u8]) -> u64 {
    let (mut low, mut high) = (0u64, 0u64);
    let mut blocks = data.chunks_exact(8);
    for block in &mut blocks {
        let word = u64::from_le_bytes(block.try_into().expect("eight bytes"));
        low += word & 0xFFFF_FFFF;
        high += word >> 32;
    }
    let mut total = low % 65535 + high % 65535;
    let mut pairs = blocks.remainder().chunks_exact(2);
    for pair in &mut pairs {
        total += u64::from(u16::from_le_bytes([pair[0], pair[1]]));
    }
    if let [odd] = pairs.remainder() {
        total += u64::from(*odd);
    }
    (total % 65535 * 256) % 65535 // RFC 1071 section 2(B): the sum does not mind in which order bytes are read
}

/// The checksum field for a sum of words, the field itself counted as zero.
pub fn finish(total: u64) -> u16 {
    !((total % 65535) as u16)
}

/// The field as UDP and the kernel's offload want it: zero means "no checksum", so it is written as all ones.
pub fn finish_nonzero(total: u64) -> u16 {
    match finish(total) {
        0 => 0xFFFF,
        field => field,
    }
}

pub fn holds(total: u64) -> bool {
    total % 65535 == 0
}
