//! Checks that an Arrow file is as long as it claims, because its reader allocates whatever the file asks for.
use arrow::ipc::{root_as_footer, root_as_message};
use std::io::{Read, Seek, SeekFrom};

const MAGIC: &[u8; 6] = b"ARROW1";

/// The longest accepted metadata of a batch; a thousand columns take 1 % of it.
const LONGEST: u64 = 1 << 26;

/// The highest accepted compression ratio of a buffer.
const UNPACKED: i64 = 1 << 16;

/// The kind of an Arrow file, which decides the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A footer locates the batches.
    Footed,
    /// The batches follow each other.
    Streamed {
        /// Whether the end marker is present.
        ends: bool,
    },
}

/// The result of reading, or a description of the first thing in the file that cannot be read.
type Checked<T> = std::io::Result<Result<T, String>>;

/// Evaluates to the value of `expression`, or returns the problem it found.
macro_rules! sound {
    ($expression:expr) => {
        match $expression {
            Ok(value) => value,
            Err(problem) => return Ok(Err(problem)),
        }
    };
}

/// Checks every message that a reader would read for data that the file does not contain.
pub(crate) fn check(file: &mut (impl Read + Seek)) -> Checked<Kind> {
    let length = file.seek(SeekFrom::End(0))?;
    if at::<6>(file, 0, length)? == Some(*MAGIC) {
        return Ok(footer(file, length)?.map(|()| Kind::Footed));
    }
    let (mut place, mut ends) = (0, false);
    while let Some(mut size) = at::<4>(file, place, length)?.map(i32::from_le_bytes) {
        let mut from = place + 4;
        if size == -1 {
            let Some(next) = at::<4>(file, from, length)?.map(i32::from_le_bytes) else { break };
            (size, from) = (next, from + 4);
        }
        if size == 0 {
            ends = true;
            break;
        }
        let Some(bytes) = piece(file, from, size.into(), length)? else {
            return Ok(Err(format!("a message of {size} bytes at byte {from}")));
        };
        let body = from + bytes.len() as u64;
        place = body + sound!(message(file, &bytes, body, None, length)?);
    }
    Ok(Ok(Kind::Streamed { ends }))
}

/// Checks the footer and the blocks it points to, each of which is a message.
fn footer(file: &mut (impl Read + Seek), length: u64) -> Checked<()> {
    let end = length.saturating_sub(10);
    let size = at::<4>(file, end, length)?.map_or(-1, i32::from_le_bytes);
    let bytes = match end.checked_sub(u64::try_from(size).unwrap_or(u64::MAX)) {
        Some(from) => piece(file, from, size.into(), length)?,
        None => None,
    };
    let Some(bytes) = bytes else { return Ok(Err(format!("a footer of {size} bytes"))) };
    let Ok(footer) = root_as_footer(&bytes) else { return Ok(Err("no footer".into())) };
    let blocks = footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
    for block in blocks {
        let (from, size) = (u64::try_from(block.offset()).unwrap_or(u64::MAX), block.metaDataLength());
        let Some(bytes) = piece(file, from, size.into(), length)? else {
            return Ok(Err(format!("a message of {size} bytes at byte {from}")));
        };
        let skipped = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
        let described = bytes.get(skipped..).unwrap_or_default();
        sound!(message(file, described, from + bytes.len() as u64, Some(block.bodyLength()), length)?);
    }
    Ok(Ok(()))
}

/// Returns where the body of a message ends. The body starts at byte `body` and has the length that the footer states,
/// or else the message itself.
fn message(file: &mut (impl Read + Seek), described: &[u8], body: u64, said: Option<i64>, length: u64) -> Checked<u64> {
    let Ok(message) = root_as_message(described) else { return Ok(Err(format!("no message before byte {body}"))) };
    let size = said.unwrap_or(message.bodyLength());
    let Some(end) = u64::try_from(size).ok().filter(|&n| body.checked_add(n).is_some_and(|end| end <= length)) else {
        return Ok(Err(format!("a batch of {size} bytes at byte {body}")));
    };
    let batch = message.header_as_record_batch().or(message.header_as_dictionary_batch().and_then(|d| d.data()));
    let packed = batch.is_some_and(|batch| batch.compression().is_some());
    // A row takes at least one bit in every column except a column of nulls.
    let most = size.max(8).saturating_mul(if packed { UNPACKED } else { 8 });
    let nodes = batch.and_then(|batch| batch.nodes()).into_iter().flatten().map(|node| node.length());
    let rows = batch.map(|batch| batch.length()).into_iter().chain(nodes);
    if let Some(rows) = rows.into_iter().find(|rows| !(0..=most).contains(rows)) {
        return Ok(Err(format!("{rows} rows in {size} bytes")));
    }
    for buffer in batch.and_then(|batch| batch.buffers()).into_iter().flatten() {
        let (offset, own) = (buffer.offset(), buffer.length());
        let fits = offset >= 0 && own >= 0 && offset.checked_add(own).is_some_and(|end| end <= size);
        let unpacked = match packed && fits && own > 8 {
            true => at::<8>(file, body + offset as u64, length)?.map_or(0, i64::from_le_bytes),
            false => 0,
        };
        if !fits || unpacked > own.saturating_mul(UNPACKED) {
            return Ok(Err(format!("a buffer of {} bytes at byte {body}", own.max(unpacked))));
        }
    }
    Ok(Ok(end))
}

fn at<const N: usize>(file: &mut (impl Read + Seek), from: u64, length: u64) -> std::io::Result<Option<[u8; N]>> {
    Ok(piece(file, from, N as i64, length)?.and_then(|bytes| bytes.try_into().ok()))
}

/// Returns `size` bytes starting at `from`, if the file has that many.
fn piece(file: &mut (impl Read + Seek), from: u64, size: i64, length: u64) -> std::io::Result<Option<Vec<u8>>> {
    let Ok(size) = u64::try_from(size) else { return Ok(None) };
    if size > LONGEST || from.checked_add(size).is_none_or(|end| end > length) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
