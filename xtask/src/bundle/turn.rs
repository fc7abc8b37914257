//! Vectors that stay comparable: those of a new training, rotated into the space of an older bundle.
use super::Bundle;
use super::files::{BundleManifest, VectorPart, turn_name};
use super::table;
use anyhow::Result;
use burn::tensor::{Tensor, TensorData};
use ra_core::{Device, ItemId, host_numbers};
use ra_idmodels::procrustes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// An orthogonal matrix for each part of the first row's vectors, by the part's name. Item and user vectors are both turned
/// when they leave the bundle, so scores stay the same.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<String, Vec<f32>>);

/// How near the vectors of a part are to those of an older bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rotation {
    /// The row that the vectors belong to.
    pub part: String,
    /// The number of items that both bundles have vectors of.
    pub items: usize,
    /// The mean cosine of an item's new vector with its old one, before and after turning.
    pub cosine_before: f64,
    /// See `cosine_before`.
    pub cosine_after: f64,
}

impl Turns {
    /// Reads those of a bundle.
    pub(super) fn read(folder: &Path, manifest: &BundleManifest) -> Result<Self> {
        let Some(first) = manifest.rows.first() else { return Ok(Self::default()) };
        let of = |part: &VectorPart| -> Result<Option<(String, Vec<f32>)>> {
            let name = turn_name(&part.row);
            if !manifest.files.contains_key(&name) {
                return Ok(None);
            }
            Ok(Some((part.row.clone(), table::read_npy(folder, &name, [part.width, part.width])?)))
        };
        Ok(Self(first.vector.iter().filter_map(|part| of(part).transpose()).collect::<Result<_>>()?))
    }

    /// Turns vectors that have these parts next to each other.
    pub(super) fn turn(&self, vectors: &mut [Vec<f32>], parts: &[VectorPart]) {
        if self.0.is_empty() {
            return;
        }
        for vector in vectors {
            let mut rest = vector.as_mut_slice();
            for part in parts {
                let (own, after) = rest.split_at_mut(part.width);
                if let Some(turn) = self.0.get(&part.row) {
                    let mut turned = vec![0.0f32; part.width];
                    for (value, row) in own.iter().zip(turn.chunks_exact(part.width)) {
                        turned.iter_mut().zip(row).for_each(|(sum, x)| *sum += value * x);
                    }
                    own.copy_from_slice(&turned);
                }
                rest = after;
            }
        }
    }
}

impl Bundle {
    /// Turns the vectors of the first row onto those of an older bundle of the same row, part by part. Parts that the older
    /// bundle lacks, or that are one number, stay as they are.
    ///
    /// # Errors
    /// If a vector is not finite.
    pub(super) fn turn_onto(&mut self, older: &Self, device: &Device) -> Result<Vec<Rotation>> {
        let ((own, parts), (old, old_parts)) = (self.vectors_outside(), older.vectors_outside());
        let mut told = Vec::new();
        if self.manifest.rows[0].name != older.manifest.rows[0].name {
            return Ok(told);
        }
        let (catalog, known) = (&self.dataset.catalog, &older.names);
        let pairs: Vec<(usize, usize)> = catalog
            .all()
            .filter_map(|item| Some((item.index() - 1, known.exact(catalog.id(item))?.index() - 1)))
            .collect();
        for (part, own_at) in placed(&parts) {
            let width = part.width;
            let same = placed(&old_parts).find(|(other, _)| *other == part && width > 1);
            let Some((_, old_at)) = same else { continue };
            let block = |vectors: &[Vec<f32>], item: usize, at: usize| vectors[item][at..at + width].to_vec();
            let both: Vec<[Vec<f32>; 2]> = pairs
                .iter()
                .map(|(new, item)| [block(&own, *new, own_at), block(&old, *item, old_at)])
                .filter(|pair| pair.iter().all(|vector| vector.iter().any(|x| *x != 0.0)))
                .collect();
            if both.is_empty() {
                continue;
            }
            let tensor = |side: usize| {
                let values: Vec<f32> = both.iter().flat_map(|pair| pair[side].iter().copied()).collect();
                Tensor::<2>::from_data(TensorData::new(values, [both.len(), width]), device)
            };
            let (new, old) = (tensor(0), tensor(1));
            let turn = procrustes(&new, &old)?;
            told.push(Rotation {
                part: part.row.clone(),
                items: both.len(),
                cosine_before: cosine(&new, &old),
                cosine_after: cosine(&new.clone().matmul(turn.clone()), &old),
            });
            self.turns.0.insert(part.row.clone(), host_numbers(turn));
        }
        Ok(told)
    }

    /// Returns the matrices of the bundle with the names of their files.
    pub(super) fn turns(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.turns.0.iter().map(|(part, turn)| (turn_name(part), turn.as_slice()))
    }

    /// Returns the item vectors of the first row, as the models have them, and their parts.
    pub(crate) fn vectors_inside(&self) -> (Vec<Vec<f32>>, Vec<VectorPart>) {
        (self.scorers[0].item_vectors(self.dataset.catalog.all()), self.scorers[0].vector_parts())
    }

    /// Returns the item vectors of the first row, as they leave the bundle, and their parts.
    pub(crate) fn vectors_outside(&self) -> (Vec<Vec<f32>>, Vec<VectorPart>) {
        (self.vectors_of(self.dataset.catalog.all()), self.scorers[0].vector_parts())
    }

    /// Returns the vectors of these items in the first row, as they leave the bundle.
    pub(super) fn vectors_of(&self, items: impl Iterator<Item = ItemId>) -> Vec<Vec<f32>> {
        let mut vectors = self.scorers[0].item_vectors(items);
        self.turns.turn(&mut vectors, &self.scorers[0].vector_parts());
        vectors
    }
}

/// Returns each part with its first column.
fn placed(parts: &[VectorPart]) -> impl Iterator<Item = (&VectorPart, usize)> {
    parts.iter().scan(0, |at, part| {
        *at += part.width;
        Some((part, *at - part.width))
    })
}

/// Returns the mean cosine of rows.
fn cosine(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    let product = (a.clone() * b.clone()).sum_dim(1);
    let lengths = a.clone().square().sum_dim(1).sqrt() * b.clone().square().sum_dim(1).sqrt();
    (product / lengths).mean().into_scalar::<f64>()
}
