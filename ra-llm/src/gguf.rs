//! GGUF, versions 2 and 3: one file with metadata, tokenizer and tensors.
//!
//! Read by our own code because no crate at hand reads all of it within bounds: a count or a length in the file is
//! believed only as far as the file is long.
use crate::format::Format;
use crate::weights::{Entry, Order};
use crate::{LlmError, Result};
use ra_core::Error;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
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

/// What a GGUF file says of itself.
#[derive(Debug)]
pub(crate) struct Gguf {
    path: PathBuf,
    metadata: BTreeMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, Entry>,
    pub(crate) problems: Vec<String>,
}

/// Reads little-endian numbers while counting what is left of the file.
struct Reader {
    file: BufReader<File>,
    path: PathBuf,
    left: u64,
}

type Checked<T> = std::result::Result<T, Error>;

impl Reader {
    fn corrupt(&self, problem: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.path, format!("not a whole GGUF file: {problem}"))
    }

    fn bytes(&mut self, count: u64) -> Checked<Vec<u8>> {
        if count > self.left {
            return Err(self.corrupt(format!("{count} bytes are announced where {} are left", self.left)));
        }
        let mut bytes = vec![0; count as usize];
        self.file.read_exact(&mut bytes).map_err(|e| Error::io(&self.path, "cannot read", e))?;
        self.left -= count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        bytes.try_into().map_err(|_| self.corrupt("it ends"))
    }

    fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, least: u64) -> Checked<usize> {
        let count = self.u64()?;
        if count.checked_mul(least).is_none_or(|bytes| bytes > self.left) {
            return Err(self.corrupt(format!("{count} entries are announced where {} bytes are left", self.left)));
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

impl Gguf {
    /// Reads everything but the tensors' numbers.
    ///
    /// # Errors
    /// Names the path and what is wrong with the file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |e| Error::io(path, "cannot read", e);
        let file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut reader = Reader { file: BufReader::new(file), path: path.into(), left: length };
        if &reader.array::<4>()? != b"GGUF" {
            return Err(Error::corrupt(path, "not a GGUF file").into());
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(
                Error::corrupt(path, format!("GGUF version {version} (supported: 2 and 3, little-endian)")).into()
            );
        }
        let (tensors, entries) = (reader.count(24)?, reader.count(12)?);
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let key = reader.text()?;
            metadata.insert(key, reader.value()?);
        }
        let mut gguf = Self { path: path.into(), metadata, tensors: BTreeMap::new(), problems: Vec::new() };
        for _ in 0..tensors {
            let (name, dims) = (reader.text()?, reader.u32()?);
            if dims > 4 {
                return Err(reader.corrupt(format!("{name} has {dims} dimensions")).into());
            }
            // The fastest dimension comes first.
            let mut shape = (0..dims).map(|_| reader.u64().map(|n| n as usize)).collect::<Checked<Vec<_>>>()?;
            shape.reverse();
            let (kind, offset) = (reader.u32()?, reader.u64()?);
            let Some(format) = Format::of_gguf(kind) else {
                gguf.problems.push(format!("{name} has the unsupported number format {kind}"));
                continue;
            };
            let numbers = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
            let bytes = numbers.and_then(|n| format.bytes(n));
            let bytes =
                bytes.ok_or_else(|| reader.corrupt(format!("{name} is {shape:?}, which is no whole blocks")))?;
            let entry = Entry { file: 0, shape, format, offset, bytes, order: Order::Plain };
            if gguf.tensors.insert(name.clone(), entry).is_some() {
                return Err(reader.corrupt(format!("{name} is there twice")).into());
            }
        }
        let align = gguf.number("general.alignment").unwrap_or(32.0).clamp(1.0, 65536.0) as u64;
        let start = reader.file.stream_position().map_err(fail)?.next_multiple_of(align);
        for (name, entry) in &mut gguf.tensors {
            let offset = start.checked_add(entry.offset);
            match offset.filter(|o| o.checked_add(entry.bytes).is_some_and(|end| end <= length)) {
                Some(offset) => entry.offset = offset,
                None => return Err(reader.corrupt(format!("{name} ends after the file does")).into()),
            }
        }
        Ok(gguf)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key)? {
            Value::Number(n) => Some(*n),
            _ => None,
        }
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

    /// A whole number that the model cannot do without.
    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        let fits = |n: &f64| (0.0..1e9).contains(n) && n.fract() == 0.0;
        let lacks = || LlmError::from(Error::corrupt(&self.path, format!("the key {key} is missing or no size")));
        self.number(key).filter(fits).map(|n| n as usize).ok_or_else(lacks)
    }
}
