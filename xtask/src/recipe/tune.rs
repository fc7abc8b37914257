//! `[tune]`: the keys of a recipe that `tune` searches, and the recipes that it tries.
use super::check::refuse;
use super::effect::without_effect;
use super::settings::{apply, lookup};
use super::variant::OWN;
use super::{IdTable, Recipe, rows};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The `[tune]` table. Only `tune` reads it: a run has the recipe's own values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TuneConfig {
    /// The number of settings to try, at least 2. The first one is the recipe as it is.
    pub(crate) trials: usize,
    /// How settings are proposed.
    pub(crate) method: TuneMethod,
    /// Successive halving: every setting is trained for a quarter of `id.train.epochs`, `id.train.max_steps` and
    /// `train.steps` (with `train.min_epochs` and `train.max_steps`), the better half of them for a half, and of those the
    /// better half in full. The first setting is always trained in full.
    pub(crate) halving: bool,
    /// The row whose validation score counts: a variant, or the kind of the last ID method. By default it is the last
    /// such row of `eval.rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<String>,
    /// The keys to search. A list holds choices, as in `"id.dropout" = [0.2, 0.5]`; a range has two ends, as in
    /// `"id.train.lr" = { low = 1e-4, high = 1e-2, scale = "log" }`. A range between whole numbers has only those.
    pub(crate) keys: Table,
}

impl Default for TuneConfig {
    fn default() -> Self {
        Self { trials: 20, method: TuneMethod::default(), halving: false, row: None, keys: Table::new() }
    }
}

/// How settings are proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TuneMethod {
    /// Where good settings are dense and bad ones are not: tree-structured Parzen estimators (Bergstra et al., NeurIPS
    /// 2011), after a few random settings.
    #[default]
    Tpe,
    /// At random.
    Random,
}

impl Recipe {
    /// Returns the rows that can be tuned: the last ID method and the variants.
    pub(crate) fn tunable(&self) -> Vec<String> {
        let own = self.ids.last().map(IdTable::aligned_row);
        own.into_iter().chain(self.variants.iter().map(|variant| variant.name.clone())).collect()
    }

    /// Returns the last row of the report that can be tuned, or the last ID method.
    pub(crate) fn last_tunable(&self) -> Option<String> {
        let last = self.rows.iter().rev().find(|row| *row == rows::ID || self.tunable().contains(row));
        let is_variant = |row: &&String| *row != rows::ID;
        last.filter(is_variant).cloned().or(self.ids.last().map(IdTable::aligned_row))
    }

    /// Returns the recipe of one tunable row: the last ID method, whatever else the row is made or taught of, and nothing
    /// more.
    pub(crate) fn only(&self, row: &str) -> Self {
        let (mut one, wanted) = (self.clone(), self.trained_from(row));
        let last = one.ids.len().saturating_sub(1);
        let mut at = 0;
        one.ids.retain(|id| {
            at += 1;
            at > last || id.rows().iter().any(|own| wanted.contains(own))
        });
        one.variants.retain(|variant| wanted.contains(&variant.name));
        one.rows = match one.variants.is_empty() {
            true => vec![rows::ID.into()],
            false => one.variants.iter().map(|variant| variant.name.clone()).collect(),
        };
        one.rows.extend(wanted.contains(&rows::TEXT.to_owned()).then(|| rows::TEXT.into()));
        (one.probes_of, one.tune) = (vec![OWN.into()], None);
        one
    }

    /// Returns the recipe with other values of some keys, each written as for `--set`. A key may then have no effect.
    ///
    /// # Errors
    /// Names every key that cannot work.
    pub(crate) fn with(&self, sets: &[String]) -> Result<Self> {
        let recipe = self.unchecked(sets)?;
        refuse(&recipe.problems())?;
        Ok(recipe.settled())
    }

    fn unchecked(&self, sets: &[String]) -> Result<Self> {
        let mut table = self.to_table()?;
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        Self::from_table(self.name.clone(), table)
    }

    /// Returns what is wrong with a value of a key, if anything: it is unknown, or the value is of the wrong type or not
    /// allowed. A value that only another key forbids is left to [`with`](Self::with).
    pub(crate) fn fault(&self, key: &str, value: &Value) -> Option<String> {
        match self.unchecked(&[format!("{key}={value}")]) {
            Err(error) => Some(format!("{error:#}").replace("--set ", "")),
            Ok(recipe) => {
                recipe.problems().into_iter().find(|problem| problem.key == key).map(|found| found.to_string())
            }
        }
    }

    /// Returns why a key has no effect whatever its value is, if so. `others` may change what has an effect.
    pub(crate) fn idle(&self, key: &str, others: &[String]) -> Option<String> {
        let (found, _) =
            without_effect(self, |own, method| own == key && method.is_none_or(|at| at + 1 == self.ids.len()), others);
        found.first().map(ToString::to_string)
    }

    /// Returns the value of a key in the resolved recipe.
    ///
    /// # Errors
    /// If a value cannot be represented in TOML.
    pub(crate) fn value_of(&self, key: &str) -> Result<Option<Value>> {
        Ok(lookup(&self.to_table()?, key, None).cloned().map(short))
    }

    /// Returns [`to_toml`](Self::to_toml) without keys that have no effect: a recipe with such keys is refused, and a
    /// value that was chosen may leave others without effect.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub(crate) fn to_runnable_toml(&self) -> Result<String> {
        let (mut table, usual) = (self.to_table()?, self.usual()?);
        let given = |key: &str, method| {
            let own = lookup(&table, key, method);
            own.is_some() && own != lookup(&usual, key, method)
        };
        let (idle, _) = without_effect(self, given, &[]);
        idle.iter().for_each(|problem| remove(&mut table, &problem.key));
        Ok(toml::to_string_pretty(&short(Value::Table(table)))?)
    }
}

/// Writes numbers that the recipe stores with 32 bits with their own digits: `0.1` and not `0.10000000149011612`.
fn short(value: Value) -> Value {
    match value {
        Value::Float(x) if f64::from(x as f32) == x => Value::Float((x as f32).to_string().parse().unwrap_or(x)),
        Value::Array(list) => Value::Array(list.into_iter().map(short).collect()),
        Value::Table(table) => Value::Table(table.into_iter().map(|(key, value)| (key, short(value))).collect()),
        other => other,
    }
}

/// Removes a key; in a list of tables that of the last one, as for [`apply`].
fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => drop(table.remove(key)),
        Some((first, rest)) => match table.get_mut(first) {
            Some(Value::Table(inner)) => remove(inner, rest),
            Some(Value::Array(list)) => {
                if let Some(Value::Table(inner)) = list.last_mut() {
                    remove(inner, rest);
                }
            }
            _ => {}
        },
    }
}
