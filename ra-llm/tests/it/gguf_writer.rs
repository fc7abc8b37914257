//! Takes a GGUF file apart and puts it together again, so that a test can change one part.
use crate::golden_of;

/// A parsed file: keys with their values as bytes, and tensors with their bytes.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) bytes: Vec<u8>,
}

const ALIGN: usize = 32;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }
    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }
    fn skip(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            10..=12 => self.at += 8,
            8 => drop(self.text()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip(kind));
            }
            other => panic!("value of type {other}"),
        }
    }
}

/// A golden file; all its tensors are f32.
pub(crate) fn golden(name: &str) -> File {
    let bytes = std::fs::read(golden_of(name)).unwrap();
    let mut reader = Reader { bytes: &bytes, at: 8 };
    let (tensors, keys) = (reader.u64(), reader.u64());
    let keys = (0..keys).map(|_| {
        let key = reader.text();
        let from = reader.at;
        let kind = reader.u32();
        reader.skip(kind);
        (key, bytes[from..reader.at].to_vec())
    });
    let keys = keys.collect();
    let heads = (0..tensors).map(|_| {
        let (name, dims) = (reader.text(), reader.u32());
        let dims: Vec<u64> = (0..dims).map(|_| reader.u64()).collect();
        (name, dims, reader.u32(), reader.u64() as usize)
    });
    let heads: Vec<_> = heads.collect();
    let start = reader.at.next_multiple_of(ALIGN);
    let tensor = |(name, dims, kind, offset): (String, Vec<u64>, u32, usize)| {
        let size = 4 * dims.iter().product::<u64>() as usize;
        Tensor { name, dims, kind, bytes: bytes[start + offset..][..size].to_vec() }
    };
    File { keys, tensors: heads.into_iter().map(tensor).collect() }
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [8u32.to_le_bytes().to_vec(), (value.len() as u64).to_le_bytes().to_vec(), value.as_bytes().to_vec()].concat()
}

pub(crate) fn number(value: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub(crate) fn flag(value: bool) -> Vec<u8> {
    [&7u32.to_le_bytes()[..], &[u8::from(value)]].concat()
}

pub(crate) fn texts(values: &[&str]) -> Vec<u8> {
    let head = [&9u32.to_le_bytes()[..], &8u32.to_le_bytes(), &(values.len() as u64).to_le_bytes()].concat();
    values.iter().fold(head, |bytes, value| [bytes, text(value)[4..].to_vec()].concat())
}

impl File {
    /// A copy without a key.
    pub(crate) fn without(&self, key: &str) -> Self {
        let mut own = self.clone();
        own.keys.retain(|(name, _)| name != key);
        own
    }

    /// A copy with one key set.
    pub(crate) fn with(&self, key: &str, value: Vec<u8>) -> Self {
        let mut own = self.without(key);
        own.keys.push((key.into(), value));
        own
    }

    /// A copy with the name of another architecture in the first key.
    pub(crate) fn of_architecture(&self, name: &str) -> Self {
        let mut own = self.with("general.architecture", text(name));
        for (key, _) in &mut own.keys {
            *key = key.replace("llama.", &format!("{name}."));
        }
        own
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = [&b"GGUF"[..], &3u32.to_le_bytes()].concat();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        let name = |out: &mut Vec<u8>, name: &str| {
            out.extend((name.len() as u64).to_le_bytes());
            out.extend(name.as_bytes());
        };
        for (key, value) in &self.keys {
            name(&mut out, key);
            out.extend(value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            name(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(ALIGN);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend(&tensor.bytes);
        }
        out
    }

    /// The file in parts of `sizes` tensors, as llama-gguf-split writes them.
    pub(crate) fn parts(&self, sizes: &[usize]) -> Vec<File> {
        let mut rest = &self.tensors[..];
        let part = |(place, &size): (usize, &usize)| {
            let (own, later) = rest.split_at(size);
            rest = later;
            let keys = if place == 0 { self.keys.clone() } else { Vec::new() };
            File { keys, tensors: own.to_vec() }
                .with("split.no", number_16(place))
                .with("split.count", number_16(sizes.len()))
                .with("split.tensors.count", number(self.tensors.len() as u32))
        };
        sizes.iter().enumerate().map(part).collect()
    }
}

fn number_16(value: usize) -> Vec<u8> {
    [&2u32.to_le_bytes()[..], &(value as u16).to_le_bytes()].concat()
}
