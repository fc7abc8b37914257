//! Matrices: safetensors and npy.
//!
//! Both are read in pieces, and the size that a header claims is checked against the size of the file before anything
//! is allocated.
use super::vectors::{VectorFile, Vectors};
use burn::tensor::{bf16, f16};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use ra_core::{Error, Result, SafetensorsHeader, TensorHeader};
use safetensors::Dtype;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// The longest accepted header; the header of a model with a hundred thousand tensors is shorter.
const NPY_HEADER: u64 = 32 << 20;

/// The storage format of a number.
#[derive(Debug, Clone, Copy)]
enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

impl Float {
    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Decodes `bytes`, one little-endian number.
    fn decode(self, bytes: &[u8]) -> f32 {
        let bits = bytes.iter().rev().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        match self {
            Self::F16 => f16::from_bits(bits as u16).to_f32(),
            Self::Bf16 => bf16::from_bits(bits as u16).to_f32(),
            Self::F32 => f32::from_bits(bits as u32),
            Self::F64 => f64::from_bits(bits) as f32,
        }
    }
}

/// The position of a matrix in its file.
#[derive(Debug)]
struct MatrixPlace {
    start: u64,
    rows: usize,
    dim: usize,
    float: Float,
    big_endian: bool,
    /// Whether the matrix is stored column by column.
    by_column: bool,
}

fn open(file: &VectorFile<'_>) -> Result<(BufReader<File>, u64)> {
    let fail = |e| Error::io(file.path, "cannot read", e);
    let bytes = File::open(file.path).map_err(fail)?;
    let length = bytes.metadata().map_err(fail)?.len();
    Ok((BufReader::new(bytes), length))
}

/// Reads the matrix at `place` of a file of `length` bytes.
fn read_matrix(file: &VectorFile<'_>, mut bytes: BufReader<File>, length: u64, place: &MatrixPlace) -> Result<Vectors> {
    let fail = |e| Error::io(file.path, "cannot read", e);
    let &MatrixPlace { start, rows, dim, float, .. } = place;
    let size = float.bytes();
    let count = rows.checked_mul(dim);
    let needed = count.and_then(|n| n.checked_mul(size)).map(|n| n as u64);
    if needed.is_none_or(|needed| start.checked_add(needed).is_none_or(|end| end > length)) {
        let there = length.saturating_sub(start);
        return Err(Error::corrupt(
            file.path,
            format!("not whole: [{rows}, {dim}] numbers of {size} bytes each do not fit in its {there} bytes"),
        ));
    }
    let count = count.unwrap_or(0);
    bytes.seek(SeekFrom::Start(start)).map_err(fail)?;
    let mut values = vec![0.0; count];
    let mut piece = vec![0u8; size * (1 << 16)];
    for first in (0..count).step_by(1 << 16) {
        let part = &mut piece[..size * (count - first).min(1 << 16)];
        bytes.read_exact(part).map_err(fail)?;
        for (offset, number) in part.chunks_exact_mut(size).enumerate() {
            if place.big_endian {
                number.reverse();
            }
            let at = first + offset;
            let to = if place.by_column { at % rows * dim + at / rows } else { at };
            values[to] = float.decode(number);
        }
    }
    Ok(Vectors { ids: None, dim, values })
}

/// Reads only one matrix of a safetensors file: its only one, or the one that the configuration names.
pub(super) fn safetensors(file: &VectorFile<'_>) -> Result<Vectors> {
    let header = SafetensorsHeader::read(file.path)?;
    let (name, info) = find_tensor(file, &header)?;
    let &[rows, dim] = info.shape.as_slice() else {
        return Err(Error::corrupt(file.path, format!("{name} is {:?}, expected [rows, dim]", info.shape)));
    };
    let Some(float) = float_of(info.dtype) else {
        let found = info.dtype;
        return Err(Error::corrupt(file.path, format!("{name} is {found:?}, expected F32, F16, BF16 or F64")));
    };
    let place = MatrixPlace { start: info.offset, rows, dim, float, big_endian: false, by_column: false };
    let (bytes, length) = open(file)?;
    read_matrix(file, bytes, length, &place)
}

fn float_of(dtype: Dtype) -> Option<Float> {
    match dtype {
        Dtype::F16 => Some(Float::F16),
        Dtype::BF16 => Some(Float::Bf16),
        Dtype::F32 => Some(Float::F32),
        Dtype::F64 => Some(Float::F64),
        _ => None,
    }
}

fn find_tensor<'a>(file: &VectorFile<'_>, header: &'a SafetensorsHeader) -> Result<(&'a str, &'a TensorHeader)> {
    let key = file.key;
    let all: Vec<(&str, &TensorHeader)> = header.tensors.iter().map(|(name, info)| (name.as_str(), info)).collect();
    let list = |tensors: &[(&str, &TensorHeader)]| {
        let shown = tensors.iter().take(40).map(|(name, info)| format!("{name} {:?}", info.shape));
        let more = if tensors.len() > 40 { ", ..." } else { "" };
        shown.collect::<Vec<_>>().join(", ") + more
    };
    if let Some(wanted) = file.tensor {
        if let Some(found) = all.iter().find(|(name, _)| *name == wanted) {
            return Ok(*found);
        }
        return Err(Error::corrupt(
            file.path,
            format!("no tensor {wanted}, which {key}_tensor names; there are: {}", list(&all)),
        ));
    }
    let is_matrix = |info: &TensorHeader| info.shape.len() == 2 && float_of(info.dtype).is_some();
    let mut matrices: Vec<_> = all.iter().filter(|(_, info)| is_matrix(info)).copied().collect();
    match (matrices.len(), matrices.pop()) {
        (1, Some(only)) => Ok(only),
        (0, _) => {
            let problem = format!("no tensor of two dimensions with floating-point numbers; there are: {}", list(&all));
            Err(Error::corrupt(file.path, problem))
        }
        (n, last) => {
            matrices.extend(last);
            let problem = format!("{n} matrices, name one as {key}_tensor: {}", list(&matrices));
            Err(Error::corrupt(file.path, problem))
        }
    }
}

/// Reads a two-dimensional npy file.
pub(super) fn npy(file: &VectorFile<'_>) -> Result<Vectors> {
    let fail = |e| Error::io(file.path, "cannot read", e);
    let corrupt = |problem: String| Error::corrupt(file.path, format!("not a whole npy file: {problem}"));
    let (mut bytes, length) = open(file)?;
    // The header is checked before it is parsed: its length can be any number, and the parser nests as deep as it says.
    let mut head = vec![];
    bytes.by_ref().take(12).read_to_end(&mut head).map_err(fail)?;
    let (before, told) = match head.as_slice() {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (10, u64::from(u16::from_le_bytes([*a, *b]))),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d] => {
            (12, u64::from(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => return Err(corrupt("it does not begin as one".into())),
    };
    if told > NPY_HEADER || before + told > length {
        return Err(corrupt(format!("a header of {told} bytes in a file of {length}")));
    }
    bytes.by_ref().take((before + told).saturating_sub(head.len() as u64)).read_to_end(&mut head).map_err(fail)?;
    let text = head.get(before as usize..).unwrap_or_default();
    if text.iter().filter(|b| b"([{".contains(b)).count() > 2 {
        return Err(Error::corrupt(file.path, "expected an array of plain numbers, not of records"));
    }
    let header = NpyHeader::from_reader(head.as_slice()).map_err(|e| corrupt(e.to_string()))?;
    let shape: Vec<usize> = header.shape().iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    let &[rows, dim] = shape.as_slice() else {
        return Err(Error::corrupt(file.path, format!("the array is {:?}, expected [rows, dim]", header.shape())));
    };
    let plain = match header.dtype() {
        DType::Plain(plain) => plain,
        other => return Err(Error::corrupt(file.path, format!("numbers are {}, expected floats", other.descr()))),
    };
    let float = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 2) => Float::F16,
        (TypeChar::Float, 4) => Float::F32,
        (TypeChar::Float, 8) => Float::F64,
        _ => {
            let problem = format!("numbers are {plain}, expected f4, f8 or f2: vectors.astype(\"float32\")");
            return Err(Error::corrupt(file.path, problem));
        }
    };
    let big_endian = plain.endianness() == Endianness::Big;
    let place =
        MatrixPlace { start: before + told, rows, dim, float, big_endian, by_column: header.order() == Order::Fortran };
    read_matrix(file, bytes, length, &place)
}
