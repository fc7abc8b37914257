//! Learning curves in the format of TensorBoard: records of protocol buffers, written during training.
//!
//! A record is the length (`u64`), its checksum, an `Event` and its checksum, little-endian; the checksum is CRC-32C,
//! masked. An event has a wall time, a step and named numbers. Curves need no other part of the format.
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A file of events.
#[derive(Debug)]
pub(crate) struct Events(std::fs::File);

impl Events {
    /// Creates a new file, named by [`file_name`].
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let mut events = Self(std::fs::File::options().create_new(true).append(true).open(path)?);
        events.write(0, &field(3, b"brain.Event:2"))?;
        Ok(events)
    }

    /// Adds a point of a curve.
    pub(crate) fn scalar(&mut self, tag: &str, step: u64, value: f64) -> io::Result<()> {
        let number = [vec![2 << 3 | 5], (value as f32).to_le_bytes().to_vec()].concat(); // field 2, four bytes
        let named = field(1, &[field(1, tag.as_bytes()), number].concat());
        self.write(step, &field(5, &named))
    }

    fn write(&mut self, step: u64, what: &[u8]) -> io::Result<()> {
        let time = [vec![1 << 3 | 1], now().to_le_bytes().to_vec()].concat(); // field 1, eight bytes
        let step = [vec![2 << 3], varint(step)].concat();
        // A single write, so that concurrent readers see whole records.
        self.0.write_all(&record(&[time, step, what.to_vec()].concat()))
    }
}

/// Returns the name of file `number` of a folder. TensorBoard reads all files of a folder as one, ordered by name.
pub(crate) fn file_name(number: usize) -> String {
    format!("events.out.tfevents.{number:010}.ra-rec")
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length, checksum(&length).as_slice(), event, checksum(event).as_slice()].concat()
}

/// Encodes a field of bytes with its number and length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Encodes seven bits per byte, the lowest first.
fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 127 {
        bytes.push(n as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// Computes CRC-32C bit by bit: there are only a few hundred bytes per minute.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_castagnoli_one() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA); // RFC 3720, B.4
    }

    #[test]
    fn a_file_reads_back_record_by_record() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tensorboard").join(file_name(1));
        let mut events = Events::create(&file).unwrap();
        events.scalar("align/loss", 300, 1.5).unwrap();
        assert!(Events::create(&file).is_err(), "never a second run's");
        let bytes = std::fs::read(file).unwrap();
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], checksum(&rest[..8]));
            let event = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], checksum(event));
            found.push(event);
            rest = &rest[16 + length..];
        }
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with(b"brain.Event:2"));
        // After the time come step 300 and a summary of one value with its tag and number.
        let want = [&[16, 172, 2, 42, 19, 10, 17, 10, 10][..], b"align/loss", &[21], &1.5f32.to_le_bytes()].concat();
        assert_eq!(found[1][9..], want);
    }
}
