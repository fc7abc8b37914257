//! An `[[id]]` table: a method, and whether its vectors are grounded in texts.
use ra_core::{Check, Problem};
use ra_idmodels::{GroundConfig, IdConfig, IdMethod};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// The end of the name of a grounded method's row.
pub(crate) const GROUNDED: &str = "-grounded";

/// An ID method of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IdTable {
    /// Whether its vectors are grounded in the texts of items. The method then has a second row, and the alignment reads
    /// the grounded vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<GroundConfig>,
    /// The largest catalogue that the method takes part in. Above it the run goes on without it and says so: for a
    /// method that needs memory for the square of the catalogue in a recipe for anybody's data. If it is the one that is
    /// aligned, the last one of the others without `align = false` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<usize>,
    /// Whether it may be aligned. If several may, the one that validates best is, and then it counts as the last one.
    /// Unless a table has `align = true`, the last one without `align = false` is aligned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align: Option<bool>,
    /// The method itself.
    #[serde(flatten)]
    pub method: IdConfig,
}

impl IdTable {
    /// Returns the names of its rows.
    pub(crate) fn rows(&self) -> Vec<String> {
        let grounded = self.ground.map(|_| self.grounded_row());
        std::iter::once(self.method.kind().to_owned()).chain(grounded).collect()
    }

    /// Returns the name of the row of the grounded method.
    pub(crate) fn grounded_row(&self) -> String {
        format!("{}{GROUNDED}", self.method.kind())
    }

    /// Returns the name of the row that is aligned, if this is the method that is.
    pub(crate) fn aligned_row(&self) -> String {
        self.ground.map_or_else(|| self.method.kind().to_owned(), |_| self.grounded_row())
    }

    /// Returns whether it reads vectors of texts.
    pub(crate) fn reads_text(&self) -> bool {
        self.ground.is_some() || self.method.reads_features()
    }

    /// Returns what cannot work, by key.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut found = self.method.problems();
        let Some(ground) = &self.ground else { return found };
        found.extend(ground.problems().into_iter().map(|problem| problem.within("ground")));
        let kind = self.method.kind();
        let reason = match (self.method.adds_to_scores(), self.method.reads_features()) {
            (true, _) => Some("scores single items and has no vectors"),
            (_, true) => Some("reads the texts itself"),
            _ => None,
        };
        found.extend(reason.map(|why| Problem::new("ground", format!("is given, but {kind} {why}; leave it out"))));
        found
    }
}

impl Deref for IdTable {
    type Target = IdConfig;

    fn deref(&self) -> &IdConfig {
        &self.method
    }
}
