//! Vectors made elsewhere (PyTorch, numpy, Spark), so that a team can keep its own backbone and adopt the alignment
//! alone.
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
/// A file is told by its name: `.safetensors` and `.npy` hold a matrix `[rows, dim]`, `.parquet` (a folder of parts
/// too, as Spark writes) and `.arrow`, `.ipc`, `.feather` a table with a column of ids and either a column of lists or
/// a column of numbers a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConfig {
    /// The item vectors.
    pub items: PathBuf,
    /// The user vectors; without them a user is the mean of the item vectors of the history.
    pub users: Option<PathBuf>,
    /// Ids of the rows of a matrix, as text, one a line; without them the rows are in the data set's order.
    pub item_ids: Option<PathBuf>,
    /// As `item_ids`, of users.
    pub user_ids: Option<PathBuf>,
    /// The item tensor of a safetensors file that holds several.
    pub items_tensor: Option<String>,
    /// As `items_tensor`, of users.
    pub users_tensor: Option<String>,
    /// Newest items of a history that count towards its mean, where there is no `users`; 0 is all.
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

    /// Reads the vectors and puts them in the order of the data set.
    ///
    /// # Errors
    /// Names the file and what is wrong with it, or the ids of the data set that have no vector.
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
    /// The files are not opened.
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
            let told = format!("is {history}, it says nothing where users has the user vectors");
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

/// Vectors that were made elsewhere, scored by their product; see [`ImportConfig`].
#[derive(Debug, Clone)]
pub struct ImportedVectors {
    /// Where users are means, nothing reads its users.
    table: IdTable,
    means: Option<Means>,
}

/// Users as means of items. They are summed where the rows lie, history by history, so that a mean depends on
/// nothing else in its batch.
#[derive(Debug, Clone)]
struct Means {
    /// `[items + 1, dim]`.
    items: Vec<f32>,
    last: usize,
    device: Device,
}

impl Means {
    /// `[histories, dim]`; an empty history is zeros.
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
