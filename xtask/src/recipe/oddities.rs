//! Settings that work but are hardly intended: the run starts with a warning.
use super::{Recipe, rows};
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
        let ids = ids.chain(idle);
        ids.chain(if self.rows == [rows::ID] { Vec::new() } else { self.align_oddities() }).collect()
    }

    /// Returns whether another variant starts from the one called `name`.
    fn is_base(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table.base == name)
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
            _ => self.align_oddities(),
        };
        found.iter().map(Problem::to_string).collect()
    }
}
