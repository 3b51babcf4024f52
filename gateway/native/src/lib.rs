//! `seal` and `open_`: bytes in, bytes out, the interpreter's lock released meanwhile. They decide nothing.
//! The reference is `gateway/wireguard/transforms/reference.py`; both give the same bytes.

#[forbid(unsafe_code)]
mod checksum;
#[forbid(unsafe_code)]
mod merge;
#[forbid(unsafe_code)]
mod packet;
#[forbid(unsafe_code)]
mod split;

use std::slice;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const HEADER: usize = 16;
const TAG: usize = 16;
const PADDING: usize = 16;
const TRANSPORT: u32 = 4;

/// One direction's transport key.
#[pyclass(frozen)]
struct Key(LessSafeKey);

#[pymethods]
impl Key {
    #[new]
    fn new(secret: &[u8]) -> PyResult<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, secret);
        key.map(|key| Key(LessSafeKey::new(key))).map_err(|_| PyValueError::new_err("a key has 32 bytes"))
    }
}

fn nonce(counter: &[u8]) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(counter);
    Nonce::assume_unique_for_key(bytes)
}

/// A borrowed view of anything with the buffer protocol.
struct View(PyBuffer<u8>);

impl View {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::get(object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyValueError::new_err("the buffer must be contiguous"));
        }
        Ok(View(buffer))
    }

    fn bytes(&self) -> &[u8] {
        // The buffer is contiguous and held; the one caller of these functions changes it only between calls.
        unsafe { slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}

fn padded(length: usize, mtu: usize) -> usize {
    length + ((PADDING - length % PADDING) % PADDING).min(mtu.saturating_sub(length))
}

/// Split, pad and encrypt a frame. Gives (train, segment, count).
#[pyfunction]
fn seal<'py>(
    py: Python<'py>,
    key: &Key,
    receiver: u32,
    counter: u64,
    frame: &Bound<'py, PyAny>,
    mtu: usize,
) -> PyResult<(Bound<'py, PyBytes>, usize, usize)> {
    let view = View::of(frame)?;
    let mut parsed = split::parse(view.bytes());
    let lengths = parsed.lengths();
    let sizes: Vec<usize> = lengths.iter().map(|length| HEADER + padded(*length, mtu) + TAG).collect();
    let train = PyBytes::new_with(py, sizes.iter().sum(), |out| {
        py.detach(|| {
            let mut rest = out;
            for (index, (length, size)) in lengths.iter().zip(&sizes).enumerate() {
                let (datagram, more) = rest.split_at_mut(*size);
                rest = more;
                parsed.write(index, &mut datagram[HEADER..HEADER + length]);
                encrypt(&key.0, receiver, counter + index as u64, datagram);
            }
        });
        Ok(())
    })?;
    Ok((train, sizes.first().copied().unwrap_or(0), sizes.len()))
}

fn encrypt(key: &LessSafeKey, receiver: u32, counter: u64, datagram: &mut [u8]) {
    let (header, body) = datagram.split_at_mut(HEADER);
    let (text, tag) = body.split_at_mut(body.len() - TAG);
    header[..4].copy_from_slice(&TRANSPORT.to_le_bytes());
    header[4..8].copy_from_slice(&receiver.to_le_bytes());
    header[8..].copy_from_slice(&counter.to_le_bytes());
    let made = key.seal_in_place_separate_tag(nonce(&header[8..]), Aad::empty(), text);
    tag.copy_from_slice(made.expect("a datagram is shorter than the cipher's limit").as_ref());
}

/// Decrypt, trim and merge a train. Gives (authentic, [(first packet, [frame])], keepalives, malformed).
#[pyfunction]
fn open_<'py>(
    py: Python<'py>,
    key: &Key,
    train: &Bound<'py, PyAny>,
    segment: usize,
    udp: bool,
) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>, usize, usize)> {
    let view = View::of(train)?;
    if segment == 0 {
        return Err(PyValueError::new_err("a segment has at least one byte"));
    }
    let mut copy = view.bytes().to_vec();
    let mut authentic: Vec<bool> = Vec::with_capacity(64);
    let mut packets: Vec<&[u8]> = Vec::with_capacity(64);
    let (mut keepalives, mut malformed) = (0, 0);
    let groups = py.detach(|| {
        for datagram in copy.chunks_mut(segment) {
            let Some(plaintext) = decrypt(&key.0, datagram) else {
                authentic.push(false);
                continue;
            };
            authentic.push(true);
            match stated_length(plaintext) {
                _ if plaintext.is_empty() => keepalives += 1,
                Some(length) => packets.push(&plaintext[..length]),
                None => malformed += 1,
            }
        }
        merge::merge(&packets, udp)
    });
    let frames = PyList::empty(py);
    for group in &groups {
        let frame = PyBytes::new_with(py, group.frame_len(), |out| {
            group.write(out);
            Ok(())
        })?;
        let parts = PyList::new(py, [frame])?;
        frames.append((PyBytes::new(py, group.first), parts))?;
    }
    Ok((PyList::new(py, &authentic)?, frames, keepalives, malformed))
}

fn decrypt<'a>(key: &LessSafeKey, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
    if datagram.len() < HEADER + TAG {
        return None;
    }
    let (header, body) = datagram.split_at_mut(HEADER);
    key.open_in_place(nonce(&header[8..HEADER]), Aad::empty(), body).ok().map(|plaintext| &*plaintext)
}

/// The length that the IP header states, or None when it cannot be true.
fn stated_length(packet: &[u8]) -> Option<usize> {
    if packet.len() < 20 {
        return None;
    }
    let (smallest, length) = match packet[0] >> 4 {
        4 => (20, usize::from(packet::be16(packet, 2))),
        6 => (40, 40 + usize::from(packet::be16(packet, 4))),
        _ => return None,
    };
    (smallest <= length && length <= packet.len()).then_some(length)
}

#[pymodule]
fn _transforms(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Key>()?;
    module.add_function(wrap_pyfunction!(seal, module)?)?;
    module.add_function(wrap_pyfunction!(open_, module)?)
}
