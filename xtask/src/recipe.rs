//! Recipes: TOML files in which a typo is an error that lists what is allowed.
use crate::aligned::Plan;
use crate::effect::without_effect;
use crate::settings::{apply, lookup, read, section, sub_table, take};
use anyhow::{Context, Result, bail};
use ra_align::{AlignConfig, AlignTrain, PromptConfig};
use ra_core::{Backend, Pooling, Precision, Problem};
use ra_data::{CurateConfig, DataConfig};
use ra_eval::EvalConfig;
use ra_idmodels::IdConfig;
use serde::{Deserialize, Serialize};
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
    /// Names the recipe and every key that cannot work, with its value and what is allowed.
    pub(crate) fn load(recipe: impl AsRef<Path>, sets: &[String], root: &Path) -> Result<Self> {
        let (path, table) = read(recipe, root)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let made = Self::checked(name, table, sets).and_then(Self::absolute);
        made.with_context(|| format!("recipe {}", path.display()))
    }

    /// The recipe in `table` under `sets`, with all its problems in one error.
    fn checked(name: String, mut table: Table, sets: &[String]) -> Result<Self> {
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        let recipe = Self::from_table(name, table.clone())?;
        let is_usual = {
            let (own, usual) = (recipe.to_table()?, recipe.usual()?);
            move |key: &str, method| lookup(&own, key, method) == lookup(&usual, key, method)
        };
        // What a resolved recipe writes out is as good as not said.
        let given = |key: &str, method| lookup(&table, key, method).is_some() && !is_usual(key, method);
        let (idle, told) = without_effect(&recipe, given, sets);
        refuse(&[recipe.problems(), idle].concat())?;
        told.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(recipe)
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
        let recipe = Self::from_table("resolved".into(), text.parse()?)?;
        refuse(&recipe.problems())?;
        Ok(recipe)
    }

    /// Makes paths absolute, so that a run folder can be used from anywhere.
    fn absolute(mut self) -> Result<Self> {
        let data = [&mut self.data.interactions, &mut self.data.items, &mut self.data.test, &mut self.lm.path];
        for path in data.into_iter().flatten().chain(self.ids.iter_mut().flat_map(IdConfig::paths_mut)) {
            *path = std::path::absolute(&*path).with_context(|| format!("{}: not a path", path.display()))?;
        }
        Ok(self)
    }

    /// What stands in `table`, whether it makes sense or not.
    fn from_table(name: String, mut table: Table) -> Result<Self> {
        let wrong = &mut Vec::new();
        let mut data = sub_table(&mut table, "data", wrong);
        let mut eval = sub_table(&mut table, "eval", wrong);
        let mut device = sub_table(&mut table, "device", wrong);
        let mut recipe = Self {
            name,
            seed: take(&mut table, "seed", "", wrong).unwrap_or(1),
            backend: take(&mut device, "backend", "device.", wrong).unwrap_or_default(),
            devices: take(&mut device, "count", "device.", wrong).unwrap_or(1),
            data_name: take(&mut data, "name", "data.", wrong).unwrap_or_else(|| "custom".into()),
            curate: take(&mut data, "curate", "data.", wrong).unwrap_or_default(),
            data: section(data, "data", wrong),
            ids: take(&mut table, "id", "", wrong).unwrap_or_default(),
            lm: take(&mut table, "lm", "", wrong).unwrap_or_default(),
            prompt: take(&mut table, "prompt", "", wrong).unwrap_or_default(),
            align: take(&mut table, "align", "", wrong).unwrap_or_default(),
            train: take(&mut table, "train", "", wrong).unwrap_or_default(),
            rows: take(&mut eval, "rows", "eval.", wrong).unwrap_or_else(|| vec![Row::Id, Row::Text, Row::RaRec]),
            eval: section(eval, "eval", wrong),
        };
        if recipe.lm.path.is_none() && recipe.lm.name == FETCHED_LM {
            recipe.lm.pooling.get_or_insert(Pooling::First);
        }
        wrong.extend(device.keys().map(|key| format!("unknown key device.{key}; allowed: backend, count")));
        let allowed = "seed, device, data, id, lm, prompt, align, train, eval";
        wrong.extend(table.keys().map(|key| format!("unknown key {key}; allowed: {allowed}")));
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        recipe.rows.sort_unstable();
        recipe.rows.dedup();
        Ok(recipe)
    }

    /// What cannot work, by key: of every table, and of tables beside each other.
    fn problems(&self) -> Vec<Problem> {
        let within = |table: &'static str, found: Vec<Problem>| found.into_iter().map(move |p| p.within(table));
        let mut found: Vec<Problem> = Problem::unless_within("device.count", self.devices, 64).into_iter().collect();
        if self.ids.is_empty() {
            found.push(Problem::new("[[id]]", "is missing: name at least one ID method, the last one is aligned"));
        }
        for (index, id) in self.ids.iter().enumerate() {
            found.extend(within("id", id.problems()).map(|problem| self.of_method(problem, id)));
            if self.ids[..index].iter().any(|other| other.name() == id.name()) {
                let told =
                    format!("is {} in two tables: a run holds one of each; make two runs and compare them", id.name());
                found.push(Problem::new("id.kind", told));
            }
        }
        let curate = self.curate.problems().into_iter().map(|(key, told)| (format!("curate.{key}"), told));
        let data = self.data.problems().into_iter().chain(curate);
        found.extend(data.map(|(key, told)| Problem::new(format!("data.{key}:"), told)));
        found.extend(within("prompt", self.prompt.problems()));
        found.extend(within("align", self.align.problems()));
        found.extend(within("train", self.train.problems()));
        found.extend(within("eval", self.eval.problems()));
        if let Some(id) = self.ids.last().filter(|id| self.align.cross_fit > 0 && !id.reads_histories()) {
            let told = "is above 0, which needs an ID method that learns to read histories, such as sasrec or ease";
            let told = format!("{told}; {} does not", id.name());
            found.push(Problem::new("align.cross_fit", told));
        }
        let aligned = self.rows.iter().filter_map(|row| Plan::of(*row, self)).find(|plan| plan.align.reads_ids());
        if let (Some(id), Some(plan)) = (self.ids.last().filter(|id| id.adds_to_scores()), aligned) {
            let told = format!(
                "is {} in the last table, whose score is counts beside its vectors, and vectors are all that {} reads: put \
                 another [[id]] behind it, such as sasrec or ease, or set eval.rows = [\"id\"]",
                id.name(),
                plan.name
            );
            found.push(Problem::new("id.kind", told));
        }
        if self.rows.is_empty() {
            found.push(Problem::new("eval.rows", "is empty: name at least one row, such as \"id\""));
        }
        for (row, name) in [(Row::Probes, "probes"), (Row::ColdLift, "cold-lift")] {
            if self.rows.contains(&row) && !self.rows.contains(&Row::RaRec) {
                found.push(Problem::new("eval.rows", format!("has {name} but no ra-rec, whose towers it needs")));
            }
        }
        found
    }

    /// `problem` with the method it is of, where there are several.
    pub(crate) fn of_method(&self, problem: Problem, id: &IdConfig) -> Problem {
        let told = if self.ids.len() > 1 { format!("{} (of kind {})", problem.told, id.name()) } else { problem.told };
        Problem { told, ..problem }
    }

    /// The resolved recipe, all defaults written out; reading it gives the same recipe.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string_pretty(&self.to_table()?)?)
    }

    /// [`to_toml`](Self::to_toml) as a table.
    fn to_table(&self) -> Result<Table> {
        let mut data = table_of(&self.data)?;
        data.insert("name".into(), Value::String(self.data_name.clone()));
        data.insert("curate".into(), Value::try_from(&self.curate)?);
        let mut eval = table_of(&self.eval)?;
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
        Ok(table)
    }

    /// The resolved recipe of the same ID methods with nothing else said.
    fn usual(&self) -> Result<Table> {
        let kind = |id: &IdConfig| Value::Table(Table::from_iter([("kind".to_owned(), Value::from(id.name()))]));
        let ids = Value::Array(self.ids.iter().map(kind).collect());
        Self::from_table("usual".into(), Table::from_iter([("id".to_owned(), ids)]))?.to_table()
    }
}

/// All problems in one error.
fn refuse(problems: &[Problem]) -> Result<()> {
    Problem::refuse(problems).map_err(anyhow::Error::msg)
}

fn table_of<T: Serialize>(value: &T) -> Result<Table> {
    match Value::try_from(value)? {
        Value::Table(table) => Ok(table),
        other => bail!("{other} is not a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str, sets: &[&str]) -> Result<Recipe> {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Recipe::checked("test".into(), text.parse()?, &sets)
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
    fn every_table_is_checked_and_all_is_told_at_once() {
        let sets = ["train.lr=-1", "data.curate.budget=-3", "data.ratio_test=0.2", "id.dim=0", "prompt.item_tokens=0"];
        let told = recipe("[[id]]\nkind='mf'", &sets).unwrap_err().to_string();
        for key in ["train.lr is", "data.curate.budget: -3", "data.ratio_test: ", "id.dim is", "prompt.item_tokens is"]
        {
            assert!(told.contains(key), "{key}: {told}");
        }
        assert!(
            recipe("[[id]]\nkind='pop'", &["data.curate.budget=0.5"]).unwrap_err().to_string().contains("no effect")
        );
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
            ["seed=7", "align.n_tok=3", "id.dim=32", "data.name=ml-100k", "train.lr=0.5", "data.curate.method=random"];
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
        let held = |read: &mut dyn FnMut()| allocation_counter::measure(read).bytes_max;
        let trial = ra_core::testkit::damage::Trial::new(2_000, |name| std::env::var(name).ok(), held);
        ra_core::testkit::damage::check_reader(&files, trial, |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(table) = text.parse::<Table>() else { return false };
            let suite = crate::suite::check(table.clone());
            let made = Recipe::checked("damaged".into(), table, &[]);
            if let Ok(recipe) = &made {
                Recipe::resolved(&recipe.to_toml().unwrap()).unwrap();
            }
            suite || made.is_ok()
        });
    }
}
