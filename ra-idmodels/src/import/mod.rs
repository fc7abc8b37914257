//! Vectors made elsewhere (PyTorch, numpy, Spark), so that a team can keep its own backbone and adopt only the
//! alignment.
mod arrange;
mod matrix;
mod table;
mod vectors;

use crate::{IdMethod, Job, Trained};
use arrange::arrange;
use burn::tensor::{Device, Tensor, TensorData};
use ra_core::{Check, Dataset, Error, History, IdTable, ItemId, Problem, Recommender, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use vectors::{EXTENSIONS, VectorFile};

/// Configures [`ImportedVectors`]: where the vectors are. Nothing is trained.
///
/// The file name decides the format: `.safetensors` and `.npy` hold a matrix `[rows, dim]`; `.parquet` (or a folder of
/// parts, as Spark writes) and `.arrow`, `.ipc`, `.feather` hold a table with a column of ids and either a column of
/// lists or one column of numbers per dimension.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConfig {
    /// The file with the item vectors.
    pub items: PathBuf,
    /// The file with the user vectors. Without it, a user is the mean of the item vectors of their history.
    pub users: Option<PathBuf>,
    /// A text file with the item ids of a matrix's rows, one per line. Without it, the rows are in the order of the
    /// data set.
    pub item_ids: Option<PathBuf>,
    /// Like `item_ids`, for users.
    pub user_ids: Option<PathBuf>,
    /// The name of the item tensor, if the safetensors file holds several.
    pub items_tensor: Option<String>,
    /// The name of the user tensor, if the safetensors file holds several.
    pub users_tensor: Option<String>,
    /// The number of newest history items that count towards the mean if there is no `users`; 0 means all.
    pub history: usize,
}

impl ImportConfig {
    fn files(&self) -> impl Iterator<Item = VectorFile<'_>> {
        let items = VectorFile {
            kind: "item",
            key: "items",
            path: &self.items,
            ids: self.item_ids.as_deref(),
            tensor: self.items_tensor.as_deref(),
        };
        let users = self.users.as_deref().map(|path| VectorFile {
            kind: "user",
            key: "users",
            path,
            ids: self.user_ids.as_deref(),
            tensor: self.users_tensor.as_deref(),
        });
        std::iter::once(items).chain(users)
    }

    /// Reads the vectors and puts them into the order of the data set.
    ///
    /// # Errors
    /// Names the file and its problem, or the ids of the data set without a vector.
    pub fn read(&self, dataset: &Dataset, device: &Device) -> Result<ImportedVectors> {
        self.check().map_err(|problem| Error::corrupt(&self.items, problem.to_string()))?;
        let items: Vec<&str> = dataset.catalog.all().map(|item| dataset.catalog.id(item)).collect();
        let users: Vec<&str> = dataset.users.iter().map(String::as_str).collect();
        let mut files = self.files();
        let Some(file) = files.next() else { return Err(Error::corrupt(&self.items, "no item vectors")) };
        let (mut table, dim) = arrange(&file, &items)?;
        // Row 0 is padding.
        table.splice(0..0, std::iter::repeat_n(0.0, dim));
        let of = |values: Vec<f32>| {
            let rows = values.len() / dim;
            Tensor::from_data(TensorData::new(values, [rows, dim]), device)
        };
        let Some(file) = files.next() else {
            let means = Means { items: table.clone(), last: self.history, device: device.clone() };
            let items = of(table);
            return Ok(ImportedVectors { table: IdTable::new(items.clone(), items), means: Some(means) });
        };
        let (users, width) = arrange(&file, &users)?;
        if width != dim {
            let items = self.items.display();
            return Err(Error::corrupt(
                file.path,
                format!("user vectors have {width} numbers, those of {items} {dim}"),
            ));
        }
        Ok(ImportedVectors { table: IdTable::new(of(users), of(table)), means: None })
    }
}

impl Check for ImportConfig {
    /// Does not open the files.
    fn problems(&self) -> Vec<Problem> {
        if self.items.as_os_str().is_empty() {
            return vec![Problem::new("items", format!("is missing: the file of the item vectors, {EXTENSIONS}"))];
        }
        let Self { users, user_ids, users_tensor, history, .. } = self;
        let mut found = Vec::new();
        if users.is_none() {
            let of_users = [("user_ids", user_ids.is_some()), ("users_tensor", users_tensor.is_some())];
            let alone = |key| Problem::new(key, "is given without users, the file of the user vectors");
            found.extend(of_users.into_iter().filter(|(_, given)| *given).map(|(key, _)| alone(key)));
        } else if *history > 0 {
            let told = format!("is {history}, which has no effect if users is set");
            found.push(Problem::new("history", told));
        }
        found.extend(self.files().filter_map(|file| file.problem()));
        found
    }
}

impl IdMethod for ImportConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        Ok(Trained::counted(self.read(job.dataset, job.device)?))
    }

    fn load(&self, job: &Job<'_>, _: &Path) -> Result<Trained> {
        self.fit(job)
    }

    fn knows_trained_users_only(&self) -> bool {
        self.users.is_some()
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let others = [self.users.as_mut(), self.item_ids.as_mut(), self.user_ids.as_mut()];
        std::iter::once(&mut self.items).chain(others.into_iter().flatten()).collect()
    }
}

/// Vectors made elsewhere, scored by their dot product; see [`ImportConfig`].
#[derive(Debug, Clone)]
pub struct ImportedVectors {
    /// If users are means, its user vectors are not read.
    table: IdTable,
    means: Option<Means>,
}

/// Users as means of items. Each history is summed separately on the host, so that a mean does not depend on the rest
/// of its batch.
#[derive(Debug, Clone)]
struct Means {
    /// `[items + 1, dim]`.
    items: Vec<f32>,
    last: usize,
    device: Device,
}

impl Means {
    /// Returns `[histories, dim]`; an empty history gives zeros.
    fn users(&self, histories: &[History<'_>], dim: usize) -> Tensor<2> {
        let mut means = vec![0.0; histories.len() * dim];
        for (mean, history) in means.chunks_exact_mut(dim).zip(histories) {
            let skipped = if self.last == 0 { 0 } else { history.items.len().saturating_sub(self.last) };
            let counted = &history.items[skipped..];
            for &item in counted {
                let row = &self.items[item.index() * dim..][..dim];
                mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / counted.len() as f32);
            }
        }
        Tensor::from_data(TensorData::new(means, [histories.len(), dim]), &self.device)
    }
}

impl Recommender for ImportedVectors {
    fn dim(&self) -> usize {
        self.table.dim()
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        match &self.means {
            Some(means) => means.users(histories, self.dim()),
            None => self.table.users(histories),
        }
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        self.table.items(items)
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}
