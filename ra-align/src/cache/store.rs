//! Append-only files of rows, which keep the results of frozen work from run to run.
//!
//! A record is the number of tokens and of bytes (`u32` each), a checksum (`u64`), the tokens (`u32`) and the bytes of
//! the row, little-endian. A killed run leaves at most one torn record, at the end; the next run that appends to the
//! file cuts it off. Rows are read in place, so the operating system decides how much of the file is in memory.
use ra_core::{Error, Result, splitmix64};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The first bytes of a file: its kind and version.
const MAGIC: &[u8; 8] = b"RATEXT3\n";
/// The length of the file's head: `MAGIC`, then the fingerprint of the maker of the rows.
const START: usize = MAGIC.len() + 8;
const HEAD: usize = 16;

/// The position of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    file: usize,
    at: u64,
    size: usize,
}

/// Open files of rows: one to append to, and those of other runs, of which the rows found at opening are read.
/// Concurrent runs therefore neither wait for each other nor lose what they computed.
#[derive(Debug)]
pub(crate) struct Store {
    files: Vec<(PathBuf, Mutex<File>)>,
    /// The index of the file to append to, whose lock nobody else holds.
    own: usize,
}

/// The tokens of each text and the position of its row.
pub(crate) type Index = Vec<(Box<[u32]>, Place)>;

impl Store {
    /// Opens `path` and the files that concurrent runs left next to it (`.1`, `.2` and so on before its extension),
    /// creates a new one if all are in use, and returns them with their contents. `maker` names what rows depend on
    /// besides their text.
    pub(crate) fn open(path: &Path, maker: &str) -> Result<(Self, Index)> {
        let fail = |e| Error::io(path, "cannot be used as a text cache", e);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        let maker = maker.bytes().fold(1, |hash, byte| splitmix64(hash ^ u64::from(byte))).to_le_bytes();
        let start = [&MAGIC[..], &maker].concat();
        let (mut files, mut own, mut index) = (Vec::new(), None, Index::new());
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        for number in 0.. {
            let path = if number == 0 { path.into() } else { path.with_extension(format!("{number}.{extension}")) };
            if own.is_some() && !path.exists() {
                break;
            }
            let fail = |e| Error::io(&path, "cannot be used as a text cache", e);
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
            let mine = own.is_none()
                && match file.try_lock() {
                    Ok(()) => true,
                    Err(TryLockError::WouldBlock) => false,
                    Err(TryLockError::Error(e)) => return Err(fail(e)),
                };
            index.extend(read_index(&path, &mut file, &start, mine, number)?);
            own = own.or(mine.then_some(number));
            files.push((path, Mutex::new(file)));
        }
        Ok((Self { files, own: own.unwrap_or_default() }, index))
    }

    /// Appends rows in a single write.
    pub(crate) fn append<'a>(&self, rows: impl Iterator<Item = (&'a [u32], &'a [u8])>) -> Result<Vec<Place>> {
        let (path, file) = &self.files[self.own];
        let fail = |e| Error::io(path, "cannot be written (is the disk full or the folder read-only?)", e);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let start = file.seek(SeekFrom::End(0)).map_err(fail)?;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for (tokens, row) in rows {
            let body: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).chain(row.iter().copied()).collect();
            bytes.extend_from_slice(&(tokens.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(row.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&checksum(tokens.len(), &body).to_le_bytes());
            let at = start + (bytes.len() + 4 * tokens.len()) as u64;
            places.push(Place { file: self.own, at, size: row.len() });
            bytes.extend_from_slice(&body);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ra_core::point(format_args!("append {name}"));
        if let Err(error) = file.write_all(&bytes) {
            // A torn record would hide all records after it.
            let _ = file.set_len(start);
            return Err(fail(error));
        }
        ra_core::point(format_args!("appended {name}"));
        Ok(places)
    }

    /// Reads a row.
    pub(crate) fn read(&self, place: Place) -> Result<Vec<u8>> {
        let (path, file) = &self.files[place.file];
        let fail = |e| Error::io(path, "cannot be read", e);
        let mut bytes = vec![0; place.size];
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(place.at)).map_err(fail)?;
        file.read_exact(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}

/// Reads the contents of a file. An `own` file gets its head if it is new, and loses a torn record after the last whole
/// one; the end of another run's file may still be being written.
fn read_index(path: &Path, file: &mut File, start: &[u8], own: bool, number: usize) -> Result<Index> {
    let fail = |e| Error::io(path, "cannot be used as a text cache", e);
    let size = file.metadata().map_err(fail)?.len();
    if size < START as u64 {
        // The torn head of a cache, or a few bytes that are not ours.
        let mut found = Vec::new();
        (&*file).take(START as u64).read_to_end(&mut found).map_err(fail)?;
        if !start.starts_with(&found) {
            return Err(not_ours(path));
        }
        if own {
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(start)).map_err(fail)?;
        }
        return Ok(Index::new());
    }
    let mut reader = BufReader::with_capacity(1 << 20, &*file);
    let mut found = [0; START];
    reader.read_exact(&mut found).map_err(fail)?;
    if found[..] != *start {
        return Err(not_ours(path));
    }
    let (mut index, mut end) = (Index::new(), START as u64);
    while let Some((tokens, size)) = record(&mut reader, size.saturating_sub(end)).map_err(fail)? {
        let at = end + (HEAD + 4 * tokens.len()) as u64;
        index.push((tokens, Place { file: number, at, size }));
        end = at + size as u64;
    }
    if own {
        file.set_len(end).map_err(fail)?;
    }
    Ok(index)
}

fn not_ours(path: &Path) -> Error {
    Error::corrupt(path, "not a text cache of this version, language model and layer; delete it, and it is made again")
}

/// Reads the next whole record: its tokens and the number of its bytes. `left` bounds what a damaged head may request.
fn record(reader: &mut impl Read, left: u64) -> std::io::Result<Option<(Box<[u32]>, usize)>> {
    let mut head = [0; HEAD];
    let mut body = Vec::new();
    let whole = reader.read_exact(&mut head).and_then(|()| {
        let [tokens, size]: [u64; 2] = [0, 4].map(|at| words(&head[at..at + 4]).map(u64::from).sum());
        if HEAD as u64 + 4 * tokens + size > left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        body.resize((4 * tokens + size) as usize, 0);
        reader.read_exact(&mut body).map(|()| (tokens as usize, size as usize))
    });
    match whole {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
        Ok((tokens, _)) if checksum(tokens, &body).to_le_bytes() != head[8..] => Ok(None),
        Ok((tokens, size)) => Ok(Some((words(&body[..4 * tokens]).collect(), size))),
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Returns a checksum that zeros alone never have, so a hole in a file is not a record.
fn checksum(tokens: usize, bytes: &[u8]) -> u64 {
    let start = splitmix64((tokens as u64) << 32 | bytes.len() as u64);
    let whole = words(bytes).fold(start, |sum, word| splitmix64(sum ^ u64::from(word)));
    bytes.chunks_exact(4).remainder().iter().fold(whole, |sum, byte| splitmix64(sum ^ u64::from(*byte)))
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
        let rows: [(&[u32], &[u8]); 2] = [(&[1, 2], &[5, 1, 3, 8, 9]), (&[9], &[7, 6, 5])];
        store.append(rows.into_iter()).unwrap();
        drop(store);

        let whole = std::fs::read(&path).unwrap();
        for lost in 0..=whole.len() {
            std::fs::write(&path, &whole[..whole.len() - lost]).unwrap();
            let (store, index) = open(&path).unwrap();
            let kept = if lost == 0 { 2 } else { usize::from(lost <= HEAD + 7) };
            assert_eq!(texts(&index), rows[..kept].iter().map(|r| r.0.to_vec()).collect::<Vec<_>>(), "{lost} lost");
            // Appending continues at the cut.
            let place = store.append([(&[4u32, 4][..], &[25u8][..])].into_iter()).unwrap()[0];
            assert_eq!(store.read(place).unwrap(), [25]);
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
        for foreign in [&b"something else altogether"[..], b"short"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(open(&path).unwrap_err().to_string().contains("text.rows"));
            assert_eq!(std::fs::read(&path).unwrap(), foreign, "it stays as it is");
        }
    }

    #[test]
    fn stores_at_once_have_a_file_each_and_the_next_one_reads_them_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.rows");
        let row = |token: u32| (vec![token], vec![token as u8 + 10]);
        let append = |store: &Store, (tokens, values): (Vec<u32>, Vec<u8>)| {
            store.append([(&tokens[..], &values[..])].into_iter()).unwrap()[0]
        };
        let (first, _) = open(&path).unwrap();
        append(&first, row(1));
        let (second, seen) = open(&path).unwrap();
        assert_eq!(second.read(seen[0].1).unwrap(), [11], "what the first has written so far");
        let place = append(&second, row(2));
        append(&first, row(3));
        assert_eq!(second.read(place).unwrap(), [12]);
        drop((first, second));
        // The first file is free again and is appended to; the rows of the second are read in place.
        let (third, all) = open(&path).unwrap();
        assert_eq!(texts(&all), [[1], [3], [2]]);
        let values: Vec<u8> = all.iter().map(|(_, place)| third.read(*place).unwrap()[0]).collect();
        assert_eq!(values, [11, 13, 12]);
        append(&third, row(4));
        drop(third);
        assert_eq!(texts(&open(&path).unwrap().1), [[1], [3], [4], [2]]);
        assert_eq!(dir.path().read_dir().unwrap().count(), 2);
    }
}
