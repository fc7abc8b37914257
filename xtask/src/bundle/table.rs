//! The tables of a bundle: its items, what users did, and matrices.
use super::files::{BundleManifest, HISTORIES, ITEMS, TITLES};
use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{AtomicFile, Catalog, Dataset, ItemId, Sequences, TextTemplate};
use ra_data::{Column, read_table, write_columns};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes what users did: `user` (empty unless `names`), `train` and `later` (lists of `item_index`, oldest first).
pub(super) fn write_histories(path: &Path, dataset: &Dataset, names: bool) -> Result<()> {
    let users = dataset.users.iter().map(|user| if names { user.clone() } else { String::new() }).collect();
    let later = dataset.valid.rows().zip(dataset.test.rows()).map(|(valid, test)| [valid, test].concat());
    let columns = [
        ("user", Column::Text(users)),
        ("train", Column::Lists(dataset.train.clone())),
        ("later", Column::Lists(Sequences::from_rows(later))),
    ];
    Ok(write_columns(path, &columns)?)
}

/// Reads the catalogue of a bundle, and the group of each item; without groups, none.
pub(super) fn catalog(folder: &Path, manifest: &BundleManifest) -> Result<(Catalog, Vec<String>)> {
    let path = folder.join(ITEMS);
    let mut items = read_table(&path)?;
    let ids = text(&mut items, "item", &path)?;
    let titles = text(&mut items, "title", &path)?;
    let groups = if items.contains_key("group") { text(&mut items, "group", &path)? } else { Vec::new() };
    let recipe = manifest.recipe()?;
    let template = recipe.data.text.as_ref();
    let names = template.map(TextTemplate::fields).unwrap_or_default();
    let fields = names.into_iter().map(|name| text(&mut items, &field_column(name), &path)).collect::<Result<_>>()?;
    if ids.len() != manifest.items {
        bail!("{}: has {} items instead of {}", path.display(), ids.len(), manifest.items);
    }
    let catalog = Catalog::new(ids, titles);
    Ok((if let Some(template) = template { catalog.with_texts(template.clone(), fields) } else { catalog }, groups))
}

/// Returns the name of the column with a field of texts.
pub(super) fn field_column(name: &str) -> String {
    format!("text.{name}")
}

/// Reads the data set of a bundle, and the group of each item; without groups, none.
pub(super) fn read(folder: &Path, manifest: &BundleManifest) -> Result<(Dataset, Vec<String>)> {
    let (catalog, groups) = catalog(folder, manifest)?;
    let path = folder.join(HISTORIES);
    let mut histories = read_table(&path)?;
    let users = text(&mut histories, "user", &path)?;
    let mut lists = |name: &str| match histories.remove(name) {
        Some(Column::Lists(rows)) if rows.len() == users.len() => Ok(rows),
        _ => bail!("{}: has no column {name} with a list for each user", path.display()),
    };
    let (train, test) = (lists("train")?, lists("later")?);
    let all = || train.rows().chain(test.rows()).flatten();
    if let Some(item) = all().find(|item| **item == ItemId::PADDING || item.index() > catalog.len()) {
        bail!("{}: names item {item} of {}", path.display(), catalog.len());
    }
    let valid = Sequences::from_rows(vec![Vec::new(); users.len()]);
    let dataset = Dataset {
        name: manifest.name.clone(),
        users,
        catalog,
        train,
        valid,
        test,
        filter: String::new(),
        split: String::new(),
    };
    Ok((dataset, groups))
}

fn text(table: &mut BTreeMap<String, Column>, name: &str, path: &Path) -> Result<Vec<String>> {
    match table.remove(name) {
        Some(Column::Text(values)) => Ok(values),
        _ => bail!("{}: has no column {name} of text", path.display()),
    }
}

/// Writes a matrix, `[rows, columns]`, in NumPy's format. Its numbers come in pieces, row by row, so that a large one is
/// never held twice.
pub(super) fn write_npy(
    path: &Path,
    pieces: impl IntoIterator<Item = impl AsRef<[f32]>>,
    [rows, columns]: [usize; 2],
) -> Result<()> {
    // Version 1.0: the header is padded so that numbers begin at a multiple of 64.
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 2;
    let cannot = || format!("{}: cannot be written", path.display());
    let mut file = BufWriter::new(AtomicFile::create(path)?);
    let mut count = 0;
    let mut write = |bytes: &[u8]| file.write_all(bytes).with_context(cannot);
    write(MAGIC)?;
    write(&u16::try_from(length)?.to_le_bytes())?;
    write(format!("{header:<width$}\n", width = length - 1).as_bytes())?;
    for piece in pieces {
        count += piece.as_ref().len();
        piece.as_ref().iter().try_for_each(|value| write(&value.to_le_bytes()))?;
    }
    if count != rows * columns {
        bail!("{}: has {count} numbers instead of {rows} times {columns}", path.display());
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot)?;
    Ok(file.finish()?)
}

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Reads the vectors of the titles, `[items + 1, width]` with padding in row 0.
pub(super) fn titles(folder: &Path, items: usize, device: &Device) -> Result<Tensor<2>> {
    let values = read_rows(folder, TITLES, items + 1)?;
    let shape = [items + 1, values.len() / (items + 1)];
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Reads a matrix of this shape, `[rows, columns]`, as [`write_npy`] wrote it.
pub(super) fn read_npy(folder: &Path, name: &str, [rows, columns]: [usize; 2]) -> Result<Vec<f32>> {
    let values = read_rows(folder, name, rows)?;
    if values.len() != rows * columns {
        bail!("{}: has {} columns instead of {columns}", folder.join(name).display(), values.len() / rows);
    }
    Ok(values)
}

/// Reads a matrix with this number of rows, row by row.
fn read_rows(folder: &Path, name: &str, rows: usize) -> Result<Vec<f32>> {
    let path = folder.join(name);
    let damaged = || format!("{}: is not a matrix of {rows} rows as written by export", path.display());
    let bytes = ra_core::read_bytes(&path)?;
    let head = bytes.get(MAGIC.len()..MAGIC.len() + 2).filter(|_| bytes.starts_with(MAGIC)).with_context(damaged)?;
    let start = MAGIC.len() + 2 + usize::from(u16::from_le_bytes([head[0], head[1]]));
    let values = bytes.get(start..).with_context(damaged)?;
    if values.len() % (4 * rows) != 0 || values.is_empty() {
        bail!(damaged());
    }
    Ok(values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_comes_back_and_numbers_begin_at_a_multiple_of_64() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("model")).unwrap();
        let path = dir.path().join(TITLES);
        let values: Vec<f32> = (0..12).map(|n| n as f32 / 8.0).collect();
        let told = write_npy(&path, values.chunks(5), [4, 4]).unwrap_err().to_string();
        assert!(told.contains("12 numbers instead of 4 times 4") && !path.exists(), "{told}");
        write_npy(&path, values.chunks(5), [4, 3]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len() - 48) % 64, 0);
        let found = titles(dir.path(), 3, &Device::flex()).unwrap();
        assert_eq!((found.dims(), found.into_data().iter::<f32>().collect::<Vec<_>>()), ([4, 3], values));
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(titles(dir.path(), 3, &Device::flex()).unwrap_err().to_string().contains("titles.npy"));
    }
}
