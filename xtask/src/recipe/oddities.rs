//! Settings that work but are hardly intended: the run starts with a warning.
use super::{IdTable, Recipe, Variant, rows};
use ra_core::{Check, Problem};
use ra_idmodels::IdConfig;

impl Recipe {
    /// Returns, by key, the settings that work but are hardly intended, for a warning when the run starts.
    pub(crate) fn oddities(&self) -> Vec<Problem> {
        let ids = self.ids.iter().flat_map(|id| self.id_oddities(id));
        let idle = self.tables.iter().filter(|table| !self.has_row(&table.name) && !self.is_base(&table.name));
        let idle = idle.map(|table| {
            Problem::new("variant", format!("{} is described, but eval.rows does not name it", table.name))
        });
        let unread = self.ids.iter().filter(|id| id.ground.is_some() && !self.reads_grounded(id));
        let unread = unread.map(|id| {
            let told = format!("of {} is given, but no row reads the grounded vectors", id.kind());
            Problem::new("id.ground", told)
        });
        let ids = ids.chain(idle).chain(unread);
        ids.chain(if self.aligns() { self.align_oddities() } else { Vec::new() }).collect()
    }

    /// Returns whether another variant starts from the one called `name`.
    fn is_base(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table.base == name)
    }

    /// Returns whether a row of the report reads the grounded vectors of a method.
    fn reads_grounded(&self, id: &IdTable) -> bool {
        let row = id.grounded_row();
        let may_be_aligned = self.candidates().iter().any(|own| own.kind() == id.kind());
        let reads = |variant: &Variant| {
            may_be_aligned && variant.reads_ids()
                || variant.parts().contains(&row)
                || variant.teacher() == Some(row.as_str())
        };
        self.has_row(rows::ID) || self.variants().iter().any(reads)
    }

    fn id_oddities(&self, id: &IdConfig) -> Vec<Problem> {
        id.oddities().into_iter().map(|problem| self.of_method(problem.within("id"), id)).collect()
    }

    fn align_oddities(&self) -> Vec<Problem> {
        let curate = self.curate.oddities().into_iter().map(|problem| problem.within("data.curate"));
        let prompt = self.prompt.oddities().into_iter().map(|problem| problem.within("prompt"));
        let train = self.train.oddities().into_iter().map(|problem| problem.within("train"));
        prompt.chain(train).chain(curate).collect()
    }

    /// Returns the oddities that concern a row, for readers of the report.
    pub(crate) fn notes(&self, name: &str, kind: &str) -> Vec<String> {
        let found = match kind {
            rows::ID => self.ids.iter().find(|id| id.kind() == name).map(|id| self.id_oddities(id)).unwrap_or_default(),
            rows::TEXT => self.prompt.oddities().into_iter().map(|problem| problem.within("prompt")).collect(),
            _ if self.variants().iter().any(|variant| variant.name == kind && !variant.trains()) => Vec::new(),
            _ => self.align_oddities(),
        };
        found.iter().map(Problem::to_string).collect()
    }
}
