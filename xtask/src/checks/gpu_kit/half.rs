//! Weights in `f16`: half the size, and what `lm.precision = "f16"` would make of them anyway.
use super::Files;
use anyhow::{Result, bail};
use burn::tensor::{DType, TensorData};
use ra_core::{Device, write_atomic};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The largest number of `f16`.
const MAX: f32 = 65_504.0;

/// Returns a safetensors file with all tensors of `f32` in `f16`. Others stay as they are.
///
/// # Errors
/// If it is no safetensors file, or has a number that `f16` cannot hold.
pub(super) fn halved(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
        let (shape, data) = (view.shape().to_vec(), view.data());
        if view.dtype() != Dtype::F32 {
            tensors.push((name.to_owned(), view.dtype(), shape, data.to_vec()));
            continue;
        }
        let values: Vec<f32> = data.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        if let Some(value) = values.iter().find(|value| value.is_nan() || value.abs() > MAX) {
            bail!("{name}: {value} cannot be written in f16");
        }
        let count = values.len();
        let halved = TensorData::new(values, [count]).convert_dtype(DType::F16);
        tensors.push((name.to_owned(), Dtype::F16, shape, halved.as_bytes().to_vec()));
    }
    let view = |(name, dtype, shape, data)| Ok((name, TensorView::new(dtype, shape, data)?));
    let views = tensors.iter().map(|(name, dtype, shape, data)| view((name, *dtype, shape.clone(), data)));
    Ok(safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None)?)
}

/// Loads the model that `files` make up, as a run would.
///
/// # Errors
/// Those of the loader.
pub(super) fn check(files: &Files) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in files {
        write_atomic(&folder.path().join(name), bytes)?;
    }
    ra_llm::load(folder.path(), None, &Device::flex())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(values: &[f32], numbers: &[i64]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().copied().flat_map(f32::to_le_bytes).collect();
        let ids: Vec<u8> = numbers.iter().copied().flat_map(i64::to_le_bytes).collect();
        let views = [
            ("weight", TensorView::new(Dtype::F32, vec![values.len()], &bytes).unwrap()),
            ("places", TensorView::new(Dtype::I64, vec![numbers.len()], &ids).unwrap()),
        ];
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_others_stay() {
        let whole = halved(&file(&[1.0, -2.5, 1.0 + 1.0 / 2048.0, 1e-7], &[3])).unwrap();
        let whole = SafeTensors::deserialize(&whole).unwrap();
        let view = whole.tensor("weight").unwrap();
        assert_eq!((view.dtype(), view.shape()), (Dtype::F16, &[4][..]));
        // 1 and -2.5 exactly, a tie to the even neighbour, and two units of the least number.
        let expected = [0x3c00_u16, 0xc100, 0x3c00, 0x0002];
        assert_eq!(view.data(), expected.map(u16::to_le_bytes).concat());
        let places = whole.tensor("places").unwrap();
        assert_eq!((places.dtype(), places.data()), (Dtype::I64, &3_i64.to_le_bytes()[..]));
    }

    #[test]
    fn what_f16_cannot_hold_is_an_error() {
        for value in [65_520.0, f32::NAN, f32::INFINITY] {
            let told = halved(&file(&[1.0, value], &[])).unwrap_err().to_string();
            assert!(told.starts_with("weight: ") && told.contains("f16"), "{told}");
        }
        assert!(halved(b"not a file").is_err());
    }
}
