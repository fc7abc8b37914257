//! Checkpoints: safetensors files with exactly the parameters of a trained module, and the table of these parameters.
use crate::{Error, ItemId, ParamRow, Result, read_bytes, write_atomic};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;
use std::path::Path;

/// The number of tensors that an error lists; the others are counted.
const LISTED: usize = 6;

/// All parameters of a module, in the order of its fields.
pub fn parameter_table<M: Module>(module: &M) -> Vec<ParamRow> {
    let tensors = module.collect(None, None, false);
    tensors
        .iter()
        .map(|t| {
            let shape: Vec<usize> = t.shape.iter().copied().collect();
            ParamRow { name: t.name.clone(), params: shape.iter().product(), shape }
        })
        .collect()
}

/// The first parameter that contains a non-finite number; parameters are f32.
pub(crate) fn not_finite<M: Module>(module: &M) -> Option<String> {
    let finite = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite();
    let tensors = module.collect(None, None, false);
    let broken = tensors.iter().find(|t| t.to_bytes().is_ok_and(|bytes| !bytes.chunks_exact(4).all(finite)));
    broken.map(|tensor| tensor.name.clone())
}

/// Serializes all parameters of a module, and nothing else, as a safetensors file; errors name `path`.
///
/// # Errors
/// [`Error::Corrupt`] if a parameter has a type that safetensors does not support.
pub(crate) fn module_to_bytes<M: Module>(module: &M, path: &Path) -> Result<Vec<u8>> {
    let fail =
        |e: burn::store::SafetensorsStoreError| Error::corrupt(path, format!("the module cannot be written: {e}"));
    let mut store = SafetensorsStore::from_bytes(None);
    module.save_into(&mut store).map_err(fail)?;
    // Burn adds metadata in the order of a hash map; without it, equal weights give equal bytes.
    let bytes = store.get_bytes().map_err(fail)?;
    let fail = |e| Error::corrupt(path, format!("the module cannot be written: {e}"));
    let file = SafeTensors::deserialize(&bytes).map_err(fail)?;
    safetensors::serialize(file.tensors(), None).map_err(fail)
}

/// Reads the output of [`module_to_bytes`] into `module`, which determines shapes and device; errors name `path`.
///
/// # Errors
/// [`Error::Corrupt`] with every tensor that is missing, unexpected or of the wrong shape.
pub(crate) fn module_from_bytes<M: Module>(mut module: M, bytes: Vec<u8>, path: &Path) -> Result<M> {
    let file =
        SafeTensors::deserialize(&bytes).map_err(|e| Error::corrupt(path, format!("damaged safetensors file: {e}")))?;
    let mut found: BTreeMap<&str, Vec<usize>> = file.iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    let mut problems = Vec::new();
    for row in parameter_table(&module) {
        match found.remove(row.name.as_str()) {
            None => problems.push(format!("{} is missing", row.name)),
            Some(shape) if shape != row.shape => {
                problems.push(format!("{} is {shape:?}, expected {:?}", row.name, row.shape))
            }
            Some(_) => {}
        }
    }
    problems.extend(found.keys().map(|name| format!("{name} is left over")));
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(LISTED);
        problems.truncate(LISTED);
        problems.extend((more > 0).then(|| format!("and {more} more")));
        return Err(Error::corrupt(path, format!("not a checkpoint of this configuration: {}", problems.join("; "))));
    }
    let fail = |e: burn::store::SafetensorsStoreError| Error::corrupt(path, format!("cannot be loaded: {e}"));
    module.load_from(&mut SafetensorsStore::from_bytes(Some(bytes))).map_err(fail)?;
    Ok(module)
}

/// Writes all parameters of a module, and nothing else, with [`write_atomic`].
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn save_module<M: Module>(module: &M, path: &Path) -> Result<()> {
    write_atomic(path, &module_to_bytes(module, path)?)
}

/// Reads a file written by [`save_module`].
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] with every tensor that is missing, unexpected or of the wrong shape.
pub fn load_module<M: Module>(module: M, path: &Path) -> Result<M> {
    module_from_bytes(module, read_bytes(path)?, path)
}

/// Reads a file written by [`save_module`] for a catalogue of `known` items into a module for `items`: axes with one place
/// for each item, with or without padding before them and one place more behind them, get zeros for the items that were
/// added.
///
/// # Errors
/// As [`load_module`], if a tensor differs in another way.
pub fn load_grown_module<M: Module>(module: M, path: &Path, known: usize, items: usize) -> Result<M> {
    let shapes: BTreeMap<String, Vec<usize>> =
        parameter_table(&module).into_iter().map(|row| (row.name, row.shape)).collect();
    load_changed(module, path, |name, view| {
        let (from, size) = (view.shape(), view.dtype().bitsize() / 8);
        let added = items.saturating_sub(known);
        let fits =
            |(to, from): (&usize, &usize)| to == from || (known..=known + 2).contains(from) && *to == *from + added;
        let wanted = shapes.get(name).filter(|to| to.len() == from.len() && to.iter().zip(from).all(fits));
        let to = wanted.map_or(from, Vec::as_slice);
        Ok((padded(view.data(), from, to, known, size), to.to_vec()))
    })
}

/// Reads a file written by [`save_module`] for a catalogue of `known` items into a module for another catalogue: `items`
/// gives, for each item of the new one, its number in the old one. Rows of tables with one row for each item and one or two
/// for padding and the like follow the items; items that the file does not know keep the module's own rows. Such tables are
/// known by their first axis alone, so the number of items should not be the width of another parameter.
///
/// # Errors
/// As [`load_module`], if a tensor differs in another way.
pub fn load_module_by_item<M: Module>(module: M, path: &Path, known: usize, items: &[Option<ItemId>]) -> Result<M> {
    let fail = |problem: String| Error::corrupt(path, format!("the items cannot be matched: {problem}"));
    let mut own = BTreeMap::new();
    for tensor in module.collect(None, None, false) {
        let shape: Vec<usize> = tensor.shape.iter().copied().collect();
        own.insert(tensor.name.clone(), (shape, tensor.to_bytes().map_err(|e| fail(format!("{e:?}")))?));
    }
    load_changed(module, path, |name, view| {
        let (from, data) = (view.shape(), view.data());
        if let Some((to, fresh)) = own.get(name).filter(|(to, _)| to.len() == from.len() && !to.is_empty())
            && from[1..] == to[1..]
            && (1..=2).any(|more| from[0] == known + more && to[0] == items.len() + more)
        {
            let same_type = data.len() * to[0] == fresh.len() * from[0];
            if !same_type || items.iter().flatten().any(|item| item.index() > known) {
                return Err(fail(format!("{name} has other numbers or fewer items than it should")));
            }
            return Ok((rows_by_item(data, fresh, to[0], known, items), to.clone()));
        }
        Ok((data.to_vec(), from.to_vec()))
    })
}

/// Reads a file written by [`save_module`] into `module` after a change of each tensor: its bytes and its shape.
fn load_changed<M: Module>(
    module: M,
    path: &Path,
    change: impl Fn(&str, &TensorView<'_>) -> Result<(Vec<u8>, Vec<usize>)>,
) -> Result<M> {
    let bytes = read_bytes(path)?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|e| Error::corrupt(path, format!("damaged safetensors file: {e}")))?;
    let changed: Vec<_> =
        file.iter().map(|(name, view)| Ok((name, view.dtype(), change(name, &view)?))).collect::<Result<_>>()?;
    let fail = |e| Error::corrupt(path, format!("the module cannot be extended: {e}"));
    let views =
        changed.iter().map(|(name, dtype, (data, shape))| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)));
    let views: Vec<_> = views.collect::<std::result::Result<_, safetensors::SafeTensorError>>().map_err(fail)?;
    module_from_bytes(module, safetensors::serialize(views, None).map_err(fail)?, path)
}

/// Returns `rows` rows: those of `old` for padding, for known items and for what follows the items, those of `fresh` for
/// others.
fn rows_by_item(old: &[u8], fresh: &[u8], rows: usize, known: usize, items: &[Option<ItemId>]) -> Vec<u8> {
    let width = fresh.len() / rows;
    let source = |row: usize| match row.checked_sub(1) {
        None => Some(0),
        Some(item) if item < items.len() => items[item].map(ItemId::index),
        Some(after) => Some(after - items.len() + known + 1),
    };
    let row = |row: usize| match source(row) {
        Some(place) => &old[place * width..][..width],
        None => &fresh[row * width..][..width],
    };
    (0..rows).flat_map(row).copied().collect()
}

/// Copies a tensor with elements of `size` bytes into the corner of a larger one of zeros. What follows `known` items and
/// padding on an axis that grows stays at its end.
fn padded(data: &[u8], from: &[usize], to: &[usize], known: usize, size: usize) -> Vec<u8> {
    let follows = |own: usize, other: usize| other > own && own == known + 2;
    let [own, other] = [from, to].map(|shape| shape.last().copied().unwrap_or(1));
    let (row, wide) = (own * size, other * size);
    let last = if follows(own, other) { size } else { 0 };
    let mut all = vec![0; to.iter().product::<usize>() * size];
    for (index, values) in data.chunks_exact(row.max(1)).enumerate() {
        // The place of a row of `from` among the rows of `to`.
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for (&own, &other) in from.iter().zip(to).rev().skip(1) {
            let at = rest % own;
            let moved = if follows(own, other) && at == own - 1 { other - 1 } else { at };
            (place, step, rest) = (place + moved * step, step * other, rest / own);
        }
        let to = &mut all[place * wide..][..wide];
        to[..row - last].copy_from_slice(&values[..row - last]);
        to[wide - last..].copy_from_slice(&values[row - last..]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainable_params;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    fn linear(a: usize, b: usize) -> Linear {
        LinearConfig::new(a, b).init(&Device::flex())
    }

    #[test]
    fn a_checkpoint_round_trips_and_names_what_does_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        let saved = linear(3, 2);
        save_module(&saved, &path).unwrap();
        let loaded = load_module(linear(3, 2), &path).unwrap();
        assert_eq!(loaded.weight.val().into_data(), saved.weight.val().into_data());
        assert_eq!(trainable_params(&parameter_table(&loaded)), 8);
        let first = std::fs::read(&path).unwrap();
        for _ in 0..8 {
            save_module(&saved, &path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), first, "the same weights, the same bytes");
        }
        let grown = load_grown_module(linear(5, 4), &path, 2, 4).unwrap();
        let corner = grown.weight.val().slice([0..3, 0..2]);
        assert_eq!(corner.into_data(), saved.weight.val().into_data());
        let (all, own): (f32, f32) =
            (grown.weight.val().abs().sum().into_scalar(), saved.weight.val().abs().sum().into_scalar());
        assert!((all - own).abs() < 1e-6, "the rest is zeros");
        // With one item, the last row and the last column follow the items.
        let grown = load_grown_module(linear(5, 2), &path, 1, 3).unwrap();
        let [own, grown] =
            [&saved, &grown].map(|layer| layer.weight.val().into_data().iter::<f32>().collect::<Vec<_>>());
        assert_eq!(grown, [&own[..4], &[0.0; 4], &own[4..]].concat());
        let bias = linear(1, 3);
        save_module(&bias, &dir.path().join("b")).unwrap();
        let grown = load_grown_module(linear(1, 5), &dir.path().join("b"), 1, 3).unwrap();
        let [own, grown] =
            [&bias, &grown].map(|layer| layer.weight.val().into_data().iter::<f32>().collect::<Vec<_>>());
        assert_eq!(grown, [own[0], own[1], 0.0, 0.0, own[2]]);
        assert!(load_grown_module(linear(9, 2), &path, 2, 4).unwrap_err().to_string().contains("expected [9, 2]"));
        // Two items become three: the first is new, the second the old first, the third the old second.
        let (from, fresh) = ([None, Some(ItemId(1)), Some(ItemId(2))], linear(4, 2));
        let own: Vec<f32> = fresh.weight.val().into_data().iter::<f32>().collect();
        let moved = load_module_by_item(fresh, &path, 2, &from).unwrap();
        let [old, new] = [&saved, &moved].map(|layer| layer.weight.val().into_data().iter::<f32>().collect::<Vec<_>>());
        assert_eq!(new, [&old[..2], &own[2..4], &old[2..]].concat());
        let told = load_module_by_item(linear(4, 3), &path, 2, &from).unwrap_err().to_string();
        assert!(told.contains("expected [4, 3]"), "{told}");
        let message = load_module(linear(3, 4), &path).unwrap_err().to_string();
        assert!(message.contains("weight is [3, 2], expected [3, 4]"), "{message}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert!(load_module(linear(3, 2), &path).unwrap_err().to_string().contains("m.safetensors"));
    }
}
