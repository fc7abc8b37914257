//! Settings that cannot work: in each table of a recipe, and between tables.
use super::{Recipe, rows};
use crate::fetch::{HubName, PREFIX};
use anyhow::Result;
use ra_core::{Check, Problem};
use ra_idmodels::{IdConfig, IdMethod};

impl Recipe {
    /// Returns the settings that cannot work, by key, in each table and between tables.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let within = |table: &'static str, found: Vec<Problem>| found.into_iter().map(move |p| p.within(table));
        let mut found: Vec<Problem> = Problem::unless_within("device.count", self.devices, 64).into_iter().collect();
        if self.ids.is_empty() {
            found.push(Problem::new("[[id]]", "is missing: name at least one ID method; the last one is aligned"));
        }
        for (index, id) in self.ids.iter().enumerate() {
            found.extend(within("id", id.problems()).map(|problem| self.of_method(problem, id)));
            if self.ids[..index].iter().any(|other| other.kind() == id.kind()) {
                let told =
                    format!("is {} in two tables: a run holds one of each; make two runs and compare them", id.kind());
                found.push(Problem::new("id.kind", told));
            }
        }
        if self.max_history == 0 {
            found.push(Problem::new(
                "data.max_history",
                "is 0, which leaves no history to predict from; give at least 1",
            ));
        }
        found.extend(within("data", self.data.problems()));
        found.extend(within("data.curate", self.curate.problems()));
        if let (None, Some(Err(told))) = (&self.lm.path, HubName::of(&self.lm.name)) {
            found.push(Problem::new("lm.name", told));
        }
        if self.lm.path.as_ref().is_some_and(|path| path.to_string_lossy().starts_with(PREFIX)) {
            found.push(Problem::new("lm.path", "is a folder or a file; a model on a hub is lm.name"));
        }
        found.extend(within("prompt", self.prompt.problems()));
        found.extend(within("align", self.align.problems()));
        found.extend(within("train", self.train.problems()));
        found.extend(within("eval", self.eval.problems()));
        for variant in self.variants.iter().filter(|variant| variant.has_towers()) {
            // Problems of [align] itself have already been reported.
            let own = variant.align.problems().into_iter().filter(|problem| !self.align.problems().contains(problem));
            let told =
                |problem: Problem| Problem { told: format!("{} (of {})", problem.told, variant.name), ..problem };
            found.extend(within("align", own.collect()).map(told));
        }
        let mut aligns = std::iter::once(&self.align)
            .chain(self.variants.iter().filter(|variant| variant.has_towers()).map(|variant| &variant.align));
        let cross_fits = aligns.any(|align| align.departures.cross_fit > 0);
        let candidates = self.candidates();
        if candidates.is_empty() && self.aligns() && !self.ids.is_empty() {
            found.push(Problem::new("id.align", "is false in every [[id]] table, but a row of eval.rows aligns one"));
        }
        if cross_fits && candidates.len() > 1 {
            let told = "is above 0, and several [[id]] tables have align = true, but folds are trained of one method";
            let told = format!("{told}; leave align = true in one table, or set cross_fit to 0");
            found.push(Problem::new("align.cross_fit", told));
        }
        for id in candidates.iter().filter(|id| cross_fits && !id.reads_histories()) {
            let told = "is above 0, which needs an ID method that learns to read histories, such as sasrec or ease";
            let told = format!("{told}; {} does not", id.kind());
            found.push(Problem::new("align.cross_fit", told));
        }
        for id in candidates.iter().filter(|id| cross_fits && id.ground.is_some()) {
            let told = "is above 0, and the ID method is grounded: folds have no grounded vectors";
            let told = format!("{told}; leave ground out of the [[id]] table of {}, or set cross_fit to 0", id.kind());
            found.push(Problem::new("align.cross_fit", told));
        }
        let aligned = self.variants.iter().find(|variant| variant.has_towers() && variant.align.reads_ids());
        for id in candidates.iter().filter(|id| id.adds_to_scores()) {
            let Some(variant) = aligned else { break };
            let told = format!(
                "is {} in a table that is aligned, whose score adds counts to its vectors, but {} reads only vectors: \
                 leave align out of it and put another [[id]] last, such as sasrec or ease, or set eval.rows = [\"id\"]",
                id.kind(),
                variant.name
            );
            found.push(Problem::new("id.kind", told));
        }
        if self.rows.is_empty() {
            found.push(Problem::new("eval.rows", "is empty: name at least one row, such as \"id\""));
        }
        for row in [rows::PROBES, rows::COLD_LIFT].into_iter().filter(|row| self.has_row(row)) {
            if self.probes_of.is_empty() {
                found.push(Problem::new("eval.probes_of", format!("is empty, but eval.rows has {row}")));
            }
            for name in self.probes_of.iter().filter(|name| !self.variants.iter().any(|variant| variant.name == **name))
            {
                found.push(Problem::new("eval.rows", format!("has {row} but no {name}, whose towers it needs")));
            }
            let is_blend =
                |name: &&String| self.variants.iter().any(|variant| variant.name == **name && !variant.has_towers());
            for name in self.probes_of.iter().filter(|_| row == rows::COLD_LIFT).filter(is_blend) {
                let told = format!(
                    "has {row}, and eval.probes_of has {name}, a blend without towers to lift; leave {row} or {name} out"
                );
                found.push(Problem::new("eval.rows", told));
            }
        }
        found
    }

    /// Adds the ID method to `problem`, if there are several methods.
    pub(crate) fn of_method(&self, problem: Problem, id: &IdConfig) -> Problem {
        let told = if self.ids.len() > 1 { format!("{} (of kind {})", problem.told, id.kind()) } else { problem.told };
        Problem { told, ..problem }
    }
}

/// Returns all problems in one error.
pub(super) fn refuse(problems: &[Problem]) -> Result<()> {
    Ok(Problem::refuse(problems)?)
}
