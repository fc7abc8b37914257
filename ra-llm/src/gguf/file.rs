//! GGUF, versions 2 and 3: metadata, tokenizer and tensors in one file or several parts.
//!
//! We have our own reader because no crate that we know reads all of it safely: this one trusts a count or a length
//! only as far as the file is long.
use crate::weights::{Entry, Format, Order, ggml_formats_read, ggml_name};
use crate::{LlmError, Result};
use ra_core::{Error, lfs_pointer, lfs_pointer_error};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

impl Value {
    fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

/// The metadata and tensor entries of a GGUF model in one file or several parts.
#[derive(Debug)]
pub(crate) struct Gguf {
    paths: Vec<PathBuf>,
    metadata: BTreeMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, Entry>,
}

/// Reads little-endian numbers and tracks how much of the file is left.
struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    left: u64,
}

type Checked<T> = std::result::Result<T, Error>;

impl Reader {
    fn corrupt(&self, problem: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.path, format!("damaged GGUF file: {problem}"))
    }

    fn bytes(&mut self, count: u64) -> Checked<Vec<u8>> {
        if count > self.left {
            return Err(self.corrupt(format!("it announces {count} bytes, but {} are left", self.left)));
        }
        let mut bytes = vec![0; count as usize];
        self.file.read_exact(&mut bytes).map_err(|e| Error::io(&self.path, "cannot read", e))?;
        self.left -= count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        bytes.try_into().map_err(|_| self.corrupt("it ends too early"))
    }

    fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a count of items that take at least `least` bytes each.
    fn count(&mut self, least: u64) -> Checked<usize> {
        let count = self.u64()?;
        if count.checked_mul(least).is_none_or(|bytes| bytes > self.left) {
            return Err(self.corrupt(format!("it announces {count} entries, but {} bytes are left", self.left)));
        }
        Ok(count as usize)
    }

    fn text(&mut self) -> Checked<String> {
        let length = self.u64()?;
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.corrupt("a text is not UTF-8"))
    }

    fn number(&mut self, kind: u32) -> Checked<f64> {
        Ok(match kind {
            0 => f64::from(self.array::<1>()?[0]),
            1 => f64::from(self.array::<1>()?[0].cast_signed()),
            2 => f64::from(u16::from_le_bytes(self.array()?)),
            3 => f64::from(i16::from_le_bytes(self.array()?)),
            4 => f64::from(self.u32()?),
            5 => f64::from(i32::from_le_bytes(self.array()?)),
            6 => f64::from(f32::from_le_bytes(self.array()?)),
            7 => f64::from(self.array::<1>()?[0] != 0),
            10 => self.u64()? as f64,
            11 => i64::from_le_bytes(self.array()?) as f64,
            12 => f64::from_le_bytes(self.array()?),
            other => return Err(self.corrupt(format!("a value has the unknown type {other}"))),
        })
    }

    fn value(&mut self) -> Checked<Value> {
        match self.u32()? {
            7 => Ok(Value::Bool(self.number(7)? != 0.0)),
            8 => self.text().map(Value::Text),
            9 => match self.u32()? {
                8 => {
                    let count = self.count(8)?;
                    (0..count).map(|_| self.text()).collect::<Checked<_>>().map(Value::Texts)
                }
                9 => Err(self.corrupt("lists of lists are not supported")),
                kind => {
                    let count = self.count(1)?;
                    (0..count).map(|_| self.number(kind)).collect::<Checked<_>>().map(Value::Numbers)
                }
            },
            kind => self.number(kind).map(Value::Number),
        }
    }
}

/// One file.
struct Part {
    path: PathBuf,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Entry>,
    /// The number of tensors in unsupported number formats, by type number.
    unread: BTreeMap<u32, usize>,
}

impl Part {
    /// Reads file `number` of a model.
    fn read(path: &Path, number: usize) -> Result<Self> {
        let fail = |e| Error::io(path, "cannot read", e);
        let file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut reader = Reader { file: BufReader::new(file), path: path.into(), left: length };
        check_start(path, reader.file.fill_buf().map_err(fail)?)?;
        reader.bytes(8)?;
        let (tensors, entries) = (reader.count(24)?, reader.count(12)?);
        let mut part =
            Self { path: path.into(), metadata: BTreeMap::new(), tensors: BTreeMap::new(), unread: BTreeMap::new() };
        for _ in 0..entries {
            let key = reader.text()?;
            part.metadata.insert(key, reader.value()?);
        }
        for _ in 0..tensors {
            let (name, dims) = (reader.text()?, reader.u32()?);
            if dims > 4 {
                return Err(reader.corrupt(format!("{name} has {dims} dimensions")).into());
            }
            // GGUF stores the fastest dimension first.
            let mut shape = (0..dims).map(|_| reader.u64().map(|n| n as usize)).collect::<Checked<Vec<_>>>()?;
            shape.reverse();
            let (kind, offset) = (reader.u32()?, reader.u64()?);
            let Some(format) = Format::of_gguf(kind) else {
                *part.unread.entry(kind).or_insert(0) += 1;
                continue;
            };
            let numbers = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
            let bytes = numbers.and_then(|n| format.bytes(n));
            let bytes = bytes
                .ok_or_else(|| reader.corrupt(format!("{name} is {shape:?}, which is not a whole number of blocks")))?;
            let entry = Entry { file: number, shape, format, offset, bytes, order: Order::Plain };
            if part.tensors.insert(name.clone(), entry).is_some() {
                return Err(reader.corrupt(format!("{name} occurs twice")).into());
            }
        }
        let align = part.metadata.get("general.alignment").and_then(Value::number).unwrap_or(32.0).clamp(1.0, 65536.0);
        let start = reader.file.stream_position().map_err(fail)?.next_multiple_of(align as u64);
        for (name, entry) in &mut part.tensors {
            let place = start.checked_add(entry.offset).and_then(|from| Some((from, from.checked_add(entry.bytes)?)));
            match place {
                Some((from, to)) if to <= length => entry.offset = from,
                Some((_, to)) => {
                    let problem = format!("{name} ends at byte {to}, but the file ends at {length}; download it again");
                    return Err(reader.corrupt(problem).into());
                }
                None => return Err(reader.corrupt(format!("{name} ends after the file does")).into()),
            }
        }
        Ok(part)
    }

    /// Checks that this is part `number` (from 0) of `parts`.
    fn check_place(&self, number: usize, parts: usize) -> Result<()> {
        let size = |key: &str| self.metadata.get(key).and_then(Value::number).map(|n| n as usize);
        let (own, of) = (size("split.no").unwrap_or(0), size("split.count").unwrap_or(1).max(1));
        if (own, of) == (number, parts) {
            return Ok(());
        }
        let problem = format!(
            "it is part {} of {of}, and was read as part {} of {parts}; parts are found by names that end in \
             -00001-of-{of:05}.gguf, or join them with `llama-gguf-split --merge`",
            own + 1,
            number + 1
        );
        Err(Error::corrupt(&self.path, problem).into())
    }
}

/// Checks the start of a file: format, byte order, version.
fn check_start(path: &Path, start: &[u8]) -> Result<()> {
    let refuse = |problem: String| Err(Error::corrupt(path, problem).into());
    if lfs_pointer(start) {
        return Err(lfs_pointer_error(path).into());
    }
    let Some((magic, rest)) = start.split_first_chunk::<4>() else {
        return refuse("not a GGUF file: it has fewer than 4 bytes".into());
    };
    match magic {
        b"GGUF" => {}
        b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
            let name: String = magic.iter().rev().map(|&byte| char::from(byte)).collect();
            return refuse(format!("it is in the old format {name}, which predates GGUF; use the model as GGUF"));
        }
        _ => return refuse("not a GGUF file".into()),
    }
    let Some((version, _)) = rest.split_first_chunk::<4>() else {
        return refuse("incomplete GGUF file: it ends after 4 bytes".into());
    };
    match (u32::from_le_bytes(*version), u32::from_be_bytes(*version)) {
        (2 | 3, _) => Ok(()),
        (_, version @ 1..=3) => refuse(format!(
            "big-endian GGUF, version {version} (supported: little-endian); convert it with `gguf-convert-endian`"
        )),
        (version, _) => refuse(format!("GGUF version {version} (supported: 2 and 3); convert the model again")),
    }
}

impl Gguf {
    /// Reads everything except the tensors' numbers, from one file or from all parts in order.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file, or its unsupported format.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut gguf = Self { paths: paths.to_vec(), metadata: BTreeMap::new(), tensors: BTreeMap::new() };
        let mut unread = BTreeMap::new();
        for (number, path) in paths.iter().enumerate() {
            let part = Part::read(path, number)?;
            part.check_place(number, paths.len())?;
            // The first part has the keys of the whole model.
            if number == 0 {
                gguf.metadata = part.metadata;
            }
            for (name, entry) in part.tensors {
                if gguf.tensors.insert(name.clone(), entry).is_some() {
                    return Err(Error::corrupt(path, format!("damaged GGUF file: {name} occurs twice")).into());
                }
            }
            for (kind, tensors) in part.unread {
                *unread.entry(kind).or_insert(0) += tensors;
            }
        }
        if !unread.is_empty() {
            let found = |(kind, tensors): (&u32, &usize)| format!("{} ({tensors} tensors)", ggml_name(*kind));
            let found = unread.iter().map(found).collect::<Vec<_>>().join(", ");
            let problem =
                format!("its weights are in {found}, which is not supported; use a file in {}", ggml_formats_read());
            return Err(Error::corrupt(gguf.path(), problem).into());
        }
        Ok(gguf)
    }

    /// The path of the file or of the first part.
    pub(crate) fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path)
    }

    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.metadata.get(key)?.number()
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key)? {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Option<&[String]> {
        match self.metadata.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    pub(crate) fn numbers(&self, key: &str) -> Option<&[f64]> {
        match self.metadata.get(key)? {
            Value::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// A required whole number.
    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        let fits = |n: &f64| (0.0..1e9).contains(n) && n.fract() == 0.0;
        let lacks = || LlmError::from(Error::corrupt(self.path(), format!("the key {key} is missing or not a size")));
        self.number(key).filter(fits).map(|n| n as usize).ok_or_else(lacks)
    }
}
