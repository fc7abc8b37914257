//! A file of rows that only grows: what frozen work gave, kept from run to run.
//!
//! A record is the number of tokens and of values (`u32` each), a checksum (`u64`), the tokens (`u32`) and the values
//! (`f32`), little-endian. A run that is killed leaves at most one torn record, at the end, and it is cut off when the file
//! is opened. Rows are read where they stand, so that the operating system decides how much of the file is in memory.
use ra_core::{Error, Result, splitmix64};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The first bytes of a file: its kind and version.
const MAGIC: &[u8; 8] = b"RATEXT2\n";
/// They are followed by the fingerprint of what made the rows.
const START: usize = MAGIC.len() + 8;
const HEAD: usize = 16;

/// Where a row's values stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    at: u64,
    values: usize,
}

/// An open file of rows. The first to open it may append; others read what was there.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: Mutex<File>,
    owner: bool,
}

/// The tokens of a text and where its row stands.
pub(crate) type Index = Vec<(Box<[u32]>, Place)>;

impl Store {
    /// Opens or makes the file; gives it with what it holds. `maker` says what rows depend on beside their text.
    pub(crate) fn open(path: &Path, maker: &str) -> Result<(Self, Index)> {
        let fail = |e| Error::io(path, "cannot be used as a text cache", e);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let owner = match file.try_lock() {
            Ok(()) => true,
            Err(std::fs::TryLockError::WouldBlock) => false,
            Err(std::fs::TryLockError::Error(e)) => return Err(fail(e)),
        };
        let size = file.metadata().map_err(fail)?.len();
        let maker = maker.bytes().fold(1, |hash, byte| splitmix64(hash ^ u64::from(byte))).to_le_bytes();
        let start = [&MAGIC[..], &maker].concat();
        if size < START as u64 {
            if !owner {
                return Ok((Self { path: path.into(), file: Mutex::new(file), owner }, Index::new()));
            }
            file.set_len(0).map_err(fail)?;
            file.write_all(&start).map_err(fail)?;
        }
        file.rewind().map_err(fail)?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut found = [0; START];
        reader.read_exact(&mut found).map_err(fail)?;
        if found[..] != start {
            let problem =
                "not a text cache of this version, language model and layer; delete it, it will be made again";
            return Err(Error::corrupt(path, problem));
        }
        let (mut index, mut end) = (Index::new(), START as u64);
        while let Some((tokens, values)) = record(&mut reader, size.saturating_sub(end)).map_err(fail)? {
            let at = end + (HEAD + 4 * tokens.len()) as u64;
            index.push((tokens, Place { at, values }));
            end = at + 4 * values as u64;
        }
        // What follows the last whole record was torn by a kill, or is being written by the owner.
        if owner {
            file.set_len(end).map_err(fail)?;
        }
        Ok((Self { path: path.into(), file: Mutex::new(file), owner }, index))
    }

    /// Whether rows may be appended.
    pub(crate) fn is_owner(&self) -> bool {
        self.owner
    }

    /// Appends rows by one write.
    pub(crate) fn append<'a>(&self, rows: impl Iterator<Item = (&'a [u32], &'a [f32])>) -> Result<Vec<Place>> {
        let fail = |e| Error::io(&self.path, "cannot be written (is the disk full?)", e);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let start = file.seek(SeekFrom::End(0)).map_err(fail)?;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for (tokens, values) in rows {
            let body: Vec<u8> = tokens
                .iter()
                .flat_map(|t| t.to_le_bytes())
                .chain(values.iter().flat_map(|v| v.to_le_bytes()))
                .collect();
            bytes.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(values.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&checksum(tokens.len(), &body).to_le_bytes());
            let at = start + (bytes.len() + 4 * tokens.len()) as u64;
            places.push(Place { at, values: values.len() });
            bytes.extend_from_slice(&body);
        }
        if let Err(error) = file.write_all(&bytes) {
            // What was torn would hide all that follows it.
            let _ = file.set_len(start);
            return Err(fail(error));
        }
        Ok(places)
    }

    /// Reads a row.
    pub(crate) fn read(&self, place: Place) -> Result<Vec<f32>> {
        let fail = |e| Error::io(&self.path, "cannot be read", e);
        let mut bytes = vec![0; 4 * place.values];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(place.at)).map_err(fail)?;
        file.read_exact(&mut bytes).map_err(fail)?;
        Ok(words(&bytes).map(f32::from_bits).collect())
    }
}

/// The next whole record: its tokens and the number of its values. `left` bounds what a damaged head may ask for.
fn record(reader: &mut impl Read, left: u64) -> std::io::Result<Option<(Box<[u32]>, usize)>> {
    let mut head = [0; HEAD];
    let mut body = Vec::new();
    let whole = reader.read_exact(&mut head).and_then(|()| {
        let [tokens, values]: [u64; 2] = [0, 4].map(|at| words(&head[at..at + 4]).map(u64::from).sum());
        if HEAD as u64 + 4 * (tokens + values) > left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        body.resize(4 * (tokens + values) as usize, 0);
        reader.read_exact(&mut body).map(|()| (tokens as usize, values as usize))
    });
    match whole {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
        Ok((tokens, _)) if checksum(tokens, &body).to_le_bytes() != head[8..] => Ok(None),
        Ok((tokens, values)) => Ok(Some((words(&body[..4 * tokens]).collect(), values))),
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Never that of zeros alone: a hole in a file is no record.
fn checksum(tokens: usize, bytes: &[u8]) -> u64 {
    let start = splitmix64((tokens as u64) << 32 | bytes.len() as u64);
    words(bytes).fold(start, |sum, word| splitmix64(sum ^ u64::from(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<(Store, Index)> {
        Store::open(path, "model")
    }

    fn texts(index: &Index) -> Vec<Vec<u32>> {
        index.iter().map(|(tokens, _)| tokens.to_vec()).collect()
    }

    #[test]
    fn rows_come_back_and_a_torn_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.rows");
        let (store, index) = open(&path).unwrap();
        assert!(index.is_empty());
        let rows: [(&[u32], &[f32]); 2] = [(&[1, 2], &[0.5, -1.5, 3.0]), (&[9], &[7.0])];
        store.append(rows.into_iter()).unwrap();
        let (second, seen) = open(&path).unwrap();
        assert!(store.is_owner() && !second.is_owner(), "two writers would tear it");
        assert_eq!(second.read(seen[1].1).unwrap(), [7.0]);
        drop((store, second));

        let whole = std::fs::read(&path).unwrap();
        for lost in 0..=whole.len() {
            std::fs::write(&path, &whole[..whole.len() - lost]).unwrap();
            let (store, index) = open(&path).unwrap();
            let kept = if lost == 0 { 2 } else { usize::from(lost <= HEAD + 8) };
            assert_eq!(texts(&index), rows[..kept].iter().map(|r| r.0.to_vec()).collect::<Vec<_>>(), "{lost} lost");
            // It goes on where it was cut.
            let place = store.append([(&[4u32, 4][..], &[2.5f32][..])].into_iter()).unwrap()[0];
            assert_eq!(store.read(place).unwrap(), [2.5]);
            drop(store);
            let (store, index) = open(&path).unwrap();
            assert_eq!(index.len(), kept + 1);
            if kept > 0 {
                assert_eq!(store.read(index[0].1).unwrap(), rows[0].1);
            }
        }
        let mut flipped = whole.clone();
        flipped[START + HEAD + 9] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert!(open(&path).unwrap().1.is_empty(), "a flipped bit");
        flipped[START..START + 4].fill(255);
        std::fs::write(&path, &flipped).unwrap();
        assert!(open(&path).unwrap().1.is_empty(), "a head that asks for the world");
        std::fs::write(&path, [&whole[..START], &[0; 64]].concat()).unwrap();
        assert!(open(&path).unwrap().1.is_empty(), "a hole of zeros");
        std::fs::write(&path, &whole).unwrap();
        assert!(super::Store::open(&path, "another model").unwrap_err().to_string().contains("text.rows"));
        std::fs::write(&path, b"something else altogether").unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("text.rows"));
    }
}
