//! The manifest of a run: a stage's file is reused only under the same manifest.
use crate::bundle::MANIFEST;
use crate::recipe::Recipe;
use anyhow::{Context, Result, bail};
use ra_core::{Dataset, fingerprint, fingerprint_file, read_json};
use ra_idmodels::IdMethod;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Value;

/// The number of differences that a message lists; the others are counted.
const LISTED: usize = 6;

/// A model of a hub as a run read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The name that the recipe asked for.
    pub(crate) asked: String,
    /// The same with its commit: this never means another model.
    pub(crate) name: String,
    /// The SHA-256 of each file in hexadecimal digits.
    pub(crate) files: BTreeMap<String, String>,
}

/// A choice of validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    pub(crate) kind: String,
    /// The reason, for the report.
    pub(crate) why: String,
}

/// The identity of a run. It holds everything that the results depend on; files that the recipe names by path are
/// identified by content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The name of the recipe, for messages. Two recipes that resolve alike are the same.
    #[serde(default)]
    name: String,
    /// The resolved recipe.
    pub(crate) recipe: String,
    /// The users, items, titles and interactions after filter and split.
    dataset: String,
    /// The times when each item was first seen, which tables by age depend on.
    #[serde(default)]
    clock: Option<String>,
    /// The language model, `FrozenText::identity`.
    #[serde(default)]
    lm: Option<String>,
    /// The language model on a hub, if it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Pin>,
    /// The content of the files that ID methods import.
    #[serde(default)]
    imports: Option<String>,
    /// The bundle that trainings start from. Once they are done, nothing needs it.
    #[serde(default)]
    start: Option<String>,
    /// The ID method that is aligned, if validation chose it among several. It follows from the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aligned: Option<Chosen>,
    /// The version of this program.
    version: String,
    /// Whether the run has started over a finished one and has not finished yet, so that the reports are of the earlier
    /// run.
    #[serde(default)]
    under_way: bool,
}

impl Manifest {
    pub(crate) fn of(
        recipe: &Recipe,
        dataset: &Dataset,
        first_seen: Option<&[f64]>,
        lm: Option<String>,
    ) -> Result<Self> {
        let clock = |times: &[f64]| {
            let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
            fingerprint([bytes.as_slice()]).to_string()
        };
        Ok(Self {
            name: recipe.name.clone(),
            recipe: recipe.to_toml()?,
            dataset: dataset.fingerprint().to_string(),
            clock: first_seen.map(clock),
            lm,
            source: None,
            imports: imports(recipe)?,
            start: start(recipe)?,
            aligned: None,
            version: env!("CARGO_PKG_VERSION").into(),
            under_way: false,
        })
    }

    /// Names the model on a hub by its commit, so that whoever reads the manifest never takes another one.
    pub(crate) fn pinned(self, pin: &Pin) -> Result<Self> {
        let mut table: toml::Table = self.recipe.parse()?;
        let lm = table.get_mut("lm").and_then(Value::as_table_mut).context("the recipe has no language model")?;
        lm.insert("name".into(), Value::String(pin.name.clone()));
        Ok(Self { recipe: toml::to_string_pretty(&table)?, source: Some(pin.clone()), ..self })
    }

    /// Reads a manifest. Recipe keys that are newer than the manifest get their defaults, as the run had them.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let found: Self = read_json(file)?;
        let today = Recipe::resolved(&found.recipe).and_then(|recipe| recipe.to_toml());
        Ok(Self { recipe: today.unwrap_or(found.recipe), ..found })
    }

    /// Returns whether a finished run has been restarted or resumed and has not finished again.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way
    }

    pub(crate) fn under_way(self, under_way: bool) -> Self {
        Self { under_way, ..self }
    }

    pub(super) fn aligning(self, aligned: Option<Chosen>) -> Self {
        Self { aligned, ..self }
    }

    /// Returns the recipe of the run, with the ID method that was aligned last.
    pub(crate) fn recipe(&self) -> Result<Recipe> {
        let recipe = Recipe::resolved(&self.recipe)?;
        Ok(match &self.aligned {
            Some(chosen) => recipe.aligning(&chosen.kind),
            None => recipe,
        })
    }

    /// Returns whether both manifests stand for the same results.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.causes(other).is_empty() && self.recipe == other.recipe
    }

    /// Refuses to resume the run of `self`, whose manifest is `file`, as that of `asked`. Only a training may become
    /// longer.
    pub(crate) fn may_become(&self, asked: &Self, file: &Path) -> Result<()> {
        let mut causes = self.causes(asked);
        let (epochs, keys): (Vec<Difference>, Vec<Difference>) =
            self.keys(asked)?.into_iter().partition(|found| is_epochs(&found.key));
        if let Some(fewer) = epochs.iter().find(|found| found.is_less()) {
            bail!(
                "{}: {fewer}: a finished training cannot be made shorter; name another folder by --out, or start again \
                 by --force instead of --resume",
                file.display()
            );
        }
        let keys: Vec<String> = keys.iter().map(Difference::to_string).collect();
        if !keys.is_empty() {
            causes.push("by another recipe");
        }
        if causes.is_empty() {
            return Ok(());
        }
        bail!(
            "{}: the run was made {}: {}; name another folder by --out, or start again by --force instead of --resume",
            file.display(),
            causes.join(" and "),
            self.both(asked, keys)
        )
    }

    /// Refuses to replace `self`, a finished run in `folder`, with the run of `asked`, unless they are the same run.
    pub(crate) fn may_be_replaced(&self, asked: &Self, folder: &Path) -> Result<()> {
        if self.is(asked) {
            return Ok(());
        }
        bail!(
            "{}: holds another finished run: {}; name another folder by --out, or replace it by --force",
            folder.display(),
            self.difference(asked)?
        )
    }

    /// Describes both runs and where their recipes differ.
    pub(crate) fn difference(&self, asked: &Self) -> Result<String> {
        let keys = self.keys(asked)?.iter().map(Difference::to_string).collect();
        Ok(self.both(asked, keys))
    }

    /// Refuses a data set or imported files other than those that the run was made from.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        if self.dataset != dataset.fingerprint().to_string() {
            bail!(
                "the data set {} is not the one this run was made from; restore the old files or run again",
                dataset.name
            );
        }
        if self.imports != imports(&self.recipe()?)? {
            bail!("the imported files are not those this run was made from; restore the old ones or run again");
        }
        Ok(())
    }

    /// Refuses a language model other than that of the run: a row without towers has no mark that would notice.
    pub(crate) fn check_lm(&self, identity: &str) -> Result<()> {
        if self.lm.as_deref() != Some(identity) {
            bail!("the run was made with another language model; restore its files as they were, or run again");
        }
        Ok(())
    }

    /// Returns how the run of `asked` differs, apart from keys of the recipe.
    fn causes(&self, asked: &Self) -> Vec<&'static str> {
        // Destructured, so that no field is forgotten.
        // The content of the files of a hub is that of the language model, and their commit is in the recipe.
        let Self {
            name: _,
            recipe: _,
            source: _,
            aligned: _,
            under_way: _,
            dataset,
            clock,
            lm,
            imports,
            start,
            version,
        } = self;
        let all = [
            (*dataset != asked.dataset || *clock != asked.clock, "from other data"),
            (*lm != asked.lm, "with another language model"),
            (*imports != asked.imports, "from other imported files"),
            (*start != asked.start, "from another start_from"),
            (*version != asked.version, "by another version of this program"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, cause)| cause).collect()
    }

    /// Returns the keys of the recipe that differ, each with both values in words.
    fn keys(&self, asked: &Self) -> Result<Vec<Difference>> {
        let read = |recipe: &str| -> Result<BTreeMap<String, String>> {
            let mut keys = BTreeMap::new();
            flatten("", &Value::Table(recipe.parse()?), &mut keys);
            Ok(keys)
        };
        let [found, asked] = [read(&self.recipe).context("manifest.json: the recipe")?, read(&asked.recipe)?];
        let all: BTreeSet<&String> = found.keys().chain(asked.keys()).collect();
        let value = |keys: &BTreeMap<String, String>, key: &str| keys.get(key).map_or("not set".into(), Clone::clone);
        let pair = |key: &String| Difference { key: key.clone(), there: value(&found, key), here: value(&asked, key) };
        Ok(all.into_iter().map(pair).filter(|found| found.there != found.here).collect())
    }

    /// Describes both runs and their differences in words.
    fn both(&self, asked: &Self, keys: Vec<String>) -> String {
        let more = keys.len().saturating_sub(LISTED);
        let mut told = vec![format!("there {self}, here {asked}")];
        told.extend(keys.into_iter().take(LISTED));
        told.extend((more > 0).then(|| format!("and {more} more keys")));
        told.join("; ")
    }
}

/// A key of the recipe with different values in two runs.
struct Difference {
    key: String,
    there: String,
    here: String,
}

impl Difference {
    fn is_less(&self) -> bool {
        matches!((self.there.parse::<u64>(), self.here.parse::<u64>()), (Ok(there), Ok(here)) if here < there)
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} there and {} here", self.key, self.there, self.here)
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seed = self.recipe.parse::<toml::Table>().ok().and_then(|table| Some(table.get("seed")?.to_string()));
        let name = if self.name.is_empty() { "a recipe" } else { &self.name };
        write!(f, "{name} (seed {}, data {}", seed.unwrap_or_default(), short(&self.dataset))?;
        if let Some(lm) = &self.lm {
            write!(f, ", language model {}", short(lm))?;
        }
        write!(f, ")")
    }
}

/// Returns enough of a fingerprint to tell two apart.
fn short(fingerprint: &str) -> &str {
    fingerprint.get(..8).unwrap_or(fingerprint)
}

/// Returns whether a key is the number of epochs of an ID method.
fn is_epochs(key: &str) -> bool {
    key.starts_with("id.") && key.ends_with(".train.epochs")
}

/// Collects every key below `value` with its path and value. ID methods are named by their kind.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&below(key), value, into)),
        Value::Array(list) if list.iter().any(Value::is_table) => {
            for (index, value) in list.iter().enumerate() {
                let kind = value.get("kind").and_then(Value::as_str).map(str::to_owned);
                flatten(&below(&kind.unwrap_or_else(|| index.to_string())), value, into);
            }
        }
        other => drop(into.insert(path.to_owned(), other.to_string())),
    }
}

/// Returns every file and folder that a recipe reads by path.
pub(crate) fn inputs(recipe: &Recipe) -> Vec<PathBuf> {
    let data = &recipe.data;
    let named = [&data.interactions, &data.items, &data.test, &recipe.lm.path, &recipe.lm.adapter, &recipe.start_from];
    named.into_iter().flatten().cloned().chain(imported(recipe)).collect()
}

fn imported(recipe: &Recipe) -> Vec<PathBuf> {
    // The configurations only give mutable access to their paths, so these are copies.
    recipe
        .ids
        .clone()
        .iter_mut()
        .flat_map(|id| id.method.paths_mut().into_iter().map(|path| path.clone()).collect::<Vec<_>>())
        .collect()
}

/// Returns the fingerprint of the bundle that trainings start from: that of its manifest, which has the sums of its files.
pub(crate) fn start(recipe: &Recipe) -> Result<Option<String>> {
    let of = |bundle: &PathBuf| Ok(fingerprint_file(&bundle.join(MANIFEST))?.to_string());
    recipe.start_from.as_ref().map(of).transpose()
}

/// Returns the fingerprint of the contents of the imported files.
pub(crate) fn imports(recipe: &Recipe) -> Result<Option<String>> {
    let files = imported(recipe);
    let contents = files.iter().map(|file| Ok(fingerprint_file(file)?.to_string())).collect::<Result<Vec<_>>>()?;
    Ok((!files.is_empty()).then(|| fingerprint(contents.iter().map(String::as_bytes)).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(recipe: &str) -> Manifest {
        Manifest {
            name: "mine".into(),
            recipe: recipe.into(),
            dataset: "0123456789".into(),
            clock: Some("c".into()),
            lm: Some("l".into()),
            source: None,
            imports: Some("i".into()),
            start: Some("s".into()),
            aligned: None,
            version: "1".into(),
            under_way: false,
        }
    }

    const RECIPE: &str =
        "seed = 1\n[train]\nlr = 0.1\n[[id]]\nkind = 'pop'\n[[id]]\nkind = 'mf'\n[id.train]\nepochs = 3";

    #[test]
    fn whatever_changes_makes_another_run() {
        let base = manifest(RECIPE);
        type Change = (fn(&mut Manifest), &'static str);
        let changes: [Change; 8] = [
            (|m| m.start = None, "another start_from"),
            (|m| m.recipe = m.recipe.replace("seed = 1", "seed = 5"), "seed is 1 there and 5 here"),
            (|m| m.recipe = m.recipe.replace("[train]\nlr = 0.1", ""), "train.lr is 0.1 there and not set here"),
            (|m| m.dataset = "9876543210".into(), "data 01234567"),
            (|m| m.clock = None, "other data"),
            (|m| m.lm = Some("other".into()), "another language model"),
            (|m| m.imports = None, "other imported files"),
            (|m| m.version = "2".into(), "another version"),
        ];
        for (change, told) in changes {
            let mut other = base.clone();
            change(&mut other);
            assert!(!base.is(&other), "{told}");
            let file = Path::new("runs/a/manifest.json");
            let [resumed, replaced] = [
                base.may_become(&other, file).unwrap_err().to_string(),
                base.may_be_replaced(&other, Path::new("runs/a")).unwrap_err().to_string(),
            ];
            assert!(resumed.contains(told) && resumed.contains("--force") && resumed.contains("--out"), "{resumed}");
            assert!(
                replaced.contains("there mine (seed 1, data 01234567") && replaced.contains("--force"),
                "{replaced}"
            );
        }
    }

    #[test]
    fn the_name_and_more_epochs_make_no_other_run() {
        let base = manifest(RECIPE);
        assert!(base.is(&Manifest { name: "other".into(), ..base.clone() }));
        let longer = manifest(&RECIPE.replace("epochs = 3", "epochs = 9"));
        assert!(base.may_become(&longer, Path::new("m")).is_ok(), "a training may be made longer");
        let error = longer.may_become(&base, Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("id.mf.train.epochs is 9 there and 3 here") && error.contains("--force"), "{error}");
        let error = base.may_be_replaced(&longer, Path::new("runs/a")).unwrap_err().to_string();
        assert!(error.contains("id.mf.train.epochs is 3 there and 9 here"), "{error}");
        let many = (0..9).map(|key| format!("k{key} = 1\n")).collect::<String>() + RECIPE;
        let error = base.may_become(&manifest(&many), Path::new("m")).unwrap_err().to_string();
        assert!(error.contains("k5 is not set there and 1 here; and 3 more keys"), "{error}");
    }
}
