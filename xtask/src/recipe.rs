//! Recipes: TOML files in which a typo is an error that lists what is allowed.
use anyhow::{Context, Result, bail};
use ra_align::{AlignConfig, AlignTrain, PromptConfig};
use ra_core::{Backend, Pooling, Precision};
use ra_data::{CurateConfig, DataConfig};
use ra_eval::EvalConfig;
use ra_idmodels::IdConfig;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A recipe with every default filled in.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) backend: Backend,
    /// Devices that train the alignment together, each on batches of its own.
    pub(crate) devices: usize,
    pub(crate) data_name: String,
    pub(crate) data: DataConfig,
    pub(crate) curate: CurateConfig,
    pub(crate) ids: Vec<IdConfig>,
    pub(crate) lm: LmConfig,
    pub(crate) prompt: PromptConfig,
    pub(crate) align: AlignConfig,
    pub(crate) train: AlignTrain,
    pub(crate) eval: EvalConfig,
    pub(crate) rows: Vec<Row>,
}

/// The `[lm]` table: a name that `fetch` knows, or a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LmConfig {
    pub(crate) name: String,
    pub(crate) path: Option<PathBuf>,
    pub(crate) pooling: Option<Pooling>,
    /// Of its weight matrices.
    pub(crate) precision: Precision,
}

/// The language model of the quickstart. Its folder asks for the mean; by its name it is pooled by the first token, as
/// all published figures are.
const FETCHED_LM: &str = "minilm";

impl Default for LmConfig {
    fn default() -> Self {
        Self { name: FETCHED_LM.into(), path: None, pooling: None, precision: Precision::F32 }
    }
}

/// What a report has a row for, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// Every `[[id]]` method.
    Id,
    /// The untouched language model on the same prompts.
    Text,
    /// The aligned model.
    RaRec,
    /// RA-Rec after its training on IDs that are zero, permuted or random, on shuffled titles, and with cold items by title.
    Probes,
    /// RA-Rec with cold items by title and their scores lifted by the number that validates best.
    ColdLift,
    /// Titles with a trained prefix and no ID: ID translation by prefix tuning.
    PrefixOnly,
    /// Items called by their number, with a trained prefix: ID direct usage (P5).
    IdDirect,
    /// The ID as tokens of the input alone (CoLLM, LLaRA, E4SRec).
    SoftToken,
    /// RA-Rec and the ID method's own score, `align.id_residual`.
    IdResidual,
    /// RA-Rec whose training asks for the ID method's own scores too, `align.distill`; its score is the paper's.
    Distilled,
    /// RA-Rec with a trained linear map after pooling, `align.head`.
    Head,
    /// RA-Rec whose language model is tuned too, by LoRA of rank 8.
    Lora,
    /// The same without the ID: a text tower tuned by LoRA.
    LoraText,
    /// RA-Rec whose language model is trained in full.
    FineTuned,
    /// The same without the ID: a trained text tower (TwinBERT, arXiv 2002.06275).
    FineTunedText,
}

impl Recipe {
    /// Reads `recipe`, a path or a name under `xtask/recipes/`, and applies `key=value` settings.
    ///
    /// # Errors
    /// Names the recipe, the table and the key, and lists what is allowed.
    pub(crate) fn load(recipe: &str, sets: &[String], root: &Path) -> Result<Self> {
        let (path, mut table) = read(recipe, root)?;
        let at = || format!("recipe {}", path.display());
        for set in sets {
            apply(&mut table, set)?;
        }
        let name = path.file_stem().map_or_else(|| recipe.to_string(), |s| s.to_string_lossy().into_owned());
        Self::from_table(name, table).and_then(Self::absolute).with_context(at)
    }

    /// Whether a language model takes part.
    pub(crate) fn reads_text(&self) -> bool {
        self.rows.iter().any(|row| *row != Row::Id) || self.ids.iter().any(IdConfig::reads_features)
    }

    /// Reads a resolved recipe, as a manifest holds it.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub(crate) fn resolved(text: &str) -> Result<Self> {
        Self::from_table("resolved".into(), text.parse()?)
    }

    /// Makes paths absolute, so that a run folder can be used from anywhere.
    fn absolute(mut self) -> Result<Self> {
        let data = [&mut self.data.interactions, &mut self.data.items, &mut self.data.test, &mut self.lm.path];
        for path in data.into_iter().flatten().chain(self.ids.iter_mut().flat_map(IdConfig::paths_mut)) {
            *path = std::path::absolute(&*path).with_context(|| format!("{}: not a path", path.display()))?;
        }
        Ok(self)
    }

    fn from_table(name: String, mut table: Table) -> Result<Self> {
        let mut data = sub_table(&mut table, "data")?;
        let mut eval = sub_table(&mut table, "eval")?;
        let mut device = sub_table(&mut table, "device")?;
        let mut recipe = Self {
            name,
            seed: take(&mut table, "seed", "")?.unwrap_or(1),
            backend: take(&mut device, "backend", "device.")?.unwrap_or_default(),
            devices: take(&mut device, "count", "device.")?.unwrap_or(1),
            data_name: take(&mut data, "name", "data.")?.unwrap_or_else(|| "custom".into()),
            curate: take(&mut data, "curate", "data.")?.unwrap_or_default(),
            data: section(data, "data")?,
            ids: take(&mut table, "id", "")?.unwrap_or_default(),
            lm: take(&mut table, "lm", "")?.unwrap_or_default(),
            prompt: take(&mut table, "prompt", "")?.unwrap_or_default(),
            align: take(&mut table, "align", "")?.unwrap_or_default(),
            train: take(&mut table, "train", "")?.unwrap_or_default(),
            rows: take(&mut eval, "rows", "eval.")?.unwrap_or_else(|| vec![Row::Id, Row::Text, Row::RaRec]),
            eval: section(eval, "eval")?,
        };
        if recipe.lm.path.is_none() && recipe.lm.name == FETCHED_LM {
            recipe.lm.pooling.get_or_insert(Pooling::First);
        }
        if let Some(key) = device.keys().next() {
            bail!("unknown key device.{key}; allowed: backend, count");
        }
        if let Some(key) = table.keys().next() {
            bail!("unknown key {key}; allowed: seed, device, data, id, lm, prompt, align, train, eval");
        }
        if recipe.devices == 0 {
            bail!("device.count is 0, it must be 1 or above");
        }
        if recipe.ids.is_empty() {
            bail!("no [[id]] table: name at least one ID method, the last one is aligned");
        }
        for (index, id) in recipe.ids.iter().enumerate() {
            id.check().map_err(anyhow::Error::msg)?;
            if recipe.ids[..index].iter().any(|other| other.name() == id.name()) {
                bail!(
                    "two [[id]] tables of kind {}: a run holds one of each; make two runs and compare them",
                    id.name()
                );
            }
        }
        if let Some(id) = recipe.ids.last().filter(|id| recipe.align.cross_fit > 0 && !id.reads_histories()) {
            bail!(
                "align.cross_fit needs an ID method that reads histories; {} knows only users it was trained on",
                id.name()
            );
        }
        recipe.rows.sort_unstable();
        recipe.rows.dedup();
        for (row, name) in [(Row::Probes, "probes"), (Row::ColdLift, "cold-lift")] {
            if recipe.rows.contains(&row) && !recipe.rows.contains(&Row::RaRec) {
                bail!("eval.rows has {name} but no ra-rec, whose towers it needs");
            }
        }
        recipe.eval.check()?;
        Ok(recipe)
    }

    /// The resolved recipe, all defaults written out; reading it gives the same recipe.
    pub(crate) fn to_toml(&self) -> Result<String> {
        let mut data = to_table(&self.data)?;
        data.insert("name".into(), Value::String(self.data_name.clone()));
        data.insert("curate".into(), Value::try_from(&self.curate)?);
        let mut eval = to_table(&self.eval)?;
        eval.insert("rows".into(), Value::try_from(&self.rows)?);
        let mut table = Table::new();
        table.insert("seed".into(), Value::try_from(self.seed)?);
        let device = [("backend", Value::try_from(self.backend)?), ("count", Value::try_from(self.devices)?)];
        table.insert(
            "device".into(),
            Value::Table(device.map(|(key, value)| (key.into(), value)).into_iter().collect()),
        );
        table.insert("data".into(), Value::Table(data));
        table.insert("id".into(), Value::try_from(&self.ids)?);
        table.insert("lm".into(), Value::try_from(&self.lm)?);
        table.insert("prompt".into(), Value::try_from(&self.prompt)?);
        table.insert("align".into(), Value::try_from(&self.align)?);
        table.insert("train".into(), Value::try_from(&self.train)?);
        table.insert("eval".into(), Value::Table(eval));
        Ok(toml::to_string_pretty(&table)?)
    }
}

/// A recipe file by path or name, and its content.
///
/// # Errors
/// Lists the recipes that are known, or says where the file is no TOML.
pub(crate) fn read(recipe: &str, root: &Path) -> Result<(PathBuf, Table)> {
    let path = if recipe.ends_with(".toml") {
        PathBuf::from(recipe)
    } else {
        root.join("xtask/recipes").join(format!("{recipe}.toml"))
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => bail!("recipe {}: {error}; known recipes: {}", path.display(), names(root).join(", ")),
    };
    let table = text.parse().with_context(|| format!("recipe {}", path.display()))?;
    Ok((path, table))
}

fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("xtask/recipes")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(e.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

fn to_table<T: Serialize>(value: &T) -> Result<Table> {
    match Value::try_from(value)? {
        Value::Table(table) => Ok(table),
        other => bail!("{other} is not a table"),
    }
}

fn sub_table(table: &mut Table, key: &str) -> Result<Table> {
    match table.remove(key) {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table),
        Some(other) => bail!("{key} is {other}, expected a table"),
    }
}

fn take<T: DeserializeOwned>(table: &mut Table, key: &str, path: &str) -> Result<Option<T>> {
    let value = table.remove(key);
    value.map(|v| v.try_into().map_err(|e| anyhow::anyhow!("{path}{key}: {}", one_line(&e)))).transpose()
}

fn section<T: DeserializeOwned>(table: Table, name: &str) -> Result<T> {
    Value::Table(table).try_into().map_err(|e| anyhow::anyhow!("{name}: {}", one_line(&e)))
}

/// An error of the TOML reader in one line.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Applies `path.to.key=value`; the value is TOML, or a bare word.
pub(crate) fn apply(table: &mut Table, set: &str) -> Result<()> {
    let (path, text) = set.split_once('=').with_context(|| format!("--set {set}: expected key=value"))?;
    let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("x"));
    let value = value.unwrap_or_else(|| Value::String(text.into()));
    let keys: Vec<&str> = path.split('.').collect();
    let Some((last, parents)) = keys.split_last() else { bail!("--set {set}: expected key=value") };
    let mut at = table;
    for key in parents {
        let next = at.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(table) => table,
            // [[id]] is a list; the last method is the one that is aligned.
            Value::Array(list) => match list.last_mut() {
                Some(Value::Table(table)) => table,
                _ => bail!("--set {set}: {key} is not a list of tables"),
            },
            other => bail!("--set {set}: {key} is {other}, not a table"),
        };
    }
    at.insert((*last).into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str, sets: &[&str]) -> Result<Recipe> {
        let mut table: Table = text.parse()?;
        sets.iter().try_for_each(|s| apply(&mut table, s))?;
        Recipe::from_table("test".into(), table)
    }

    #[test]
    fn unknown_keys_list_what_is_allowed() {
        for (text, wrong, allowed) in [
            ("[[id]]\nkind='pop'\n[align]\nn_tokk = 2", "n_tokk", "n_tok"),
            ("[[id]]\nkind='pop'\n[data]\nk_cor = 2", "k_cor", "k_core"),
            ("[[id]]\nkind='sasrek'", "sasrek", "sasrec"),
            ("[[id]]\nkind='sasrec'\ndimm = 3", "dimm", "dim"),
            ("[[id]]\nkind='pop'\n[evall]", "evall", "eval"),
            ("[[id]]\nkind='pop'\n[eval]\nrows=['id','p5']", "p5", "ra-rec"),
        ] {
            let message = format!("{:#}", recipe(text, &[]).unwrap_err());
            assert!(message.contains(wrong) && message.contains(allowed), "{message}");
        }
    }

    #[test]
    fn the_model_of_the_figures_is_pooled_as_they_were_and_others_as_they_ask() {
        let pooling = |sets: &[&str]| recipe("[[id]]\nkind='pop'", sets).unwrap().lm.pooling;
        assert_eq!(pooling(&[]), Some(Pooling::First));
        assert_eq!(pooling(&["lm.name=minilm", "lm.pooling=mean"]), Some(Pooling::Mean));
        assert_eq!(pooling(&["lm.name=smollm2"]), None);
        assert_eq!(pooling(&["lm.path=models/minilm"]), None, "a folder says how");
        let resolved = recipe("[[id]]\nkind='pop'", &[]).unwrap().to_toml().unwrap();
        assert!(resolved.contains("pooling = \"first\""), "{resolved}");
    }

    #[test]
    fn paths_of_imported_vectors_become_absolute() {
        let text = "[[id]]\nkind='import'\nitems='items.npy'\nuser_ids='users.txt'\nusers='users.npy'";
        let made = recipe(text, &[]).unwrap().absolute().unwrap();
        let IdConfig::Import(config) = &made.ids[0] else { panic!("{:?}", made.ids) };
        let paths = [&config.items, config.users.as_ref().unwrap(), config.user_ids.as_ref().unwrap()];
        assert!(paths.iter().all(|path| path.is_absolute()), "{paths:?}");
        assert_eq!(format!("{made:?}"), format!("{:?}", recipe(&made.to_toml().unwrap(), &[]).unwrap()));
        assert!(recipe("[[id]]\nkind='import'\nitems='model.pt'", &[]).unwrap_err().to_string().contains("numpy.save"));
    }

    #[test]
    fn settings_reach_every_table_and_the_resolved_recipe_is_the_same() {
        let text = "[[id]]\nkind='pop'\n[[id]]\nkind='sasrec'";
        let sets =
            ["seed=7", "align.n_tok=3", "id.dim=32", "data.name=ml-100k", "train.lr=0.5", "data.curate.budget=0.06"];
        let made = recipe(text, &sets).unwrap();
        assert_eq!((made.seed, made.align.n_tok, made.data_name.as_str(), made.train.lr), (7, 3, "ml-100k", 0.5));
        let again = recipe(&made.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(format!("{made:?}"), format!("{again:?}"));
    }

    #[test]
    fn damaged_recipes_are_taken_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let file = |name: &str| (name.to_owned(), std::fs::read(folder.join(name)).unwrap());
        let files = ["quickstart.toml", "tuned.toml", "id-ml-1m.toml", "ablations.toml", "paper-main.toml"].map(file);
        ra_core::damage::check_reader(&files, 2_000, |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(table) = text.parse::<Table>() else { return false };
            let suite = crate::suite::check(table.clone());
            let made = Recipe::from_table("damaged".into(), table);
            if let Ok(recipe) = &made {
                Recipe::resolved(&recipe.to_toml().unwrap()).unwrap();
            }
            suite || made.is_ok()
        });
    }
}
