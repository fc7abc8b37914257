//! Recipes: TOML files in which a typo is an error that lists what is allowed.
mod check;
mod effect;
mod id_table;
mod known;
mod oddities;
pub(crate) mod reference;
pub(crate) mod remedies;
pub(crate) mod rows;
pub(crate) mod settings;
pub(crate) mod tune;
mod variant;

pub use id_table::IdTable;
pub use variant::{ItemNames, Source, Variant};

pub(crate) use known::read;
pub(crate) use variant::OWN;

use crate::fetch::{CUSTOM, HubName};
use anyhow::{Context, Result, bail};
use check::refuse;
use effect::without_effect;
use ra_align::{AlignConfig, AlignLoss, AlignTrain, PromptConfig};
use ra_core::{Backend, Pooling, Precision};
use ra_data::{CurateConfig, DataConfig};
use ra_eval::EvalConfig;
use ra_idmodels::IdMethod;
use serde::{Deserialize, Serialize};
use settings::{apply, extended, lookup, sub_table, take, take_non_finite};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use tune::TuneConfig;
use variant::VariantTable;

/// The default for the longest history of a training sample of the alignment.
pub(crate) const MAX_HISTORY: usize = 50;

/// A recipe with every default filled in.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub(crate) name: String,
    /// The seed of every random draw: initial weights, order, negatives, noise and samples.
    pub(crate) seed: u64,
    /// A bundle whose trained models the training continues from: those of ID methods that read histories, and of towers.
    /// Items are matched by their ids, and a model that the bundle lacks starts at random.
    pub(crate) start_from: Option<PathBuf>,
    /// The back end that computes tensors.
    pub(crate) backend: Backend,
    /// The number of devices that train the alignment together, each on separate batches.
    pub(crate) devices: usize,
    /// The name of a data set that `fetch` knows. If `interactions` is given instead, it is only the name in reports.
    pub(crate) data_name: String,
    pub(crate) data: DataConfig,
    /// The longest history of a training sample of the alignment. Evaluation and ID methods have their own limits.
    pub(crate) max_history: usize,
    pub(crate) curate: CurateConfig,
    pub(crate) ids: Vec<IdTable>,
    pub(crate) lm: LmConfig,
    pub(crate) prompt: PromptConfig,
    pub(crate) align: AlignConfig,
    pub(crate) train: AlignTrain,
    pub(crate) eval: EvalConfig,
    /// The rows of the report: `id`, `text`, `probes`, `cold-lift`, and the names of variants.
    pub(crate) rows: Vec<String>,
    /// The variants that the rows `probes` and `cold-lift` are made for, if `rows` has them.
    pub(crate) probes_of: Vec<String>,
    /// The variants in `rows`, in that order.
    variants: Vec<Variant>,
    /// The `[[variant]]` tables.
    tables: Vec<VariantTable>,
    /// What `tune` searches. It does not belong to a run and is not written with the resolved recipe.
    pub(crate) tune: Option<TuneConfig>,
}

/// The `[lm]` table: a name that `fetch` knows, one of a hub, or a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LmConfig {
    /// The name of a model that `fetch` knows, or `hf:OWNER/REPO[@REVISION][:FILE.gguf]` for one of a hub.
    pub(crate) name: String,
    /// The path of a Hugging Face folder or a GGUF file, instead of `name`.
    pub(crate) path: Option<PathBuf>,
    /// A PEFT folder with LoRA matrices for this model (`adapter_config.json` and `adapter_model.safetensors`), which
    /// are merged into its weights.
    pub(crate) adapter: Option<PathBuf>,
    /// How the states of a text become one vector. By default it is the model's own setting, and if it has none, the
    /// first token for BERT and the last one for GPT-2 and Llama.
    pub(crate) pooling: Option<Pooling>,
    /// The number format of the weight matrices.
    pub(crate) precision: Precision,
}

/// The language model of the quickstart. Its folder specifies mean pooling; by this name it is pooled by the first
/// token, as in all published figures.
const FETCHED_LM: &str = "minilm";

impl Default for LmConfig {
    fn default() -> Self {
        Self { name: FETCHED_LM.into(), path: None, adapter: None, pooling: None, precision: Precision::F32 }
    }
}

impl Recipe {
    /// Reads `recipe`, a path or a name, and applies `key=value` settings.
    ///
    /// Names are those of `xtask/recipes/` under `root`, or those of the project if there is no such folder. Paths in
    /// the recipe are relative to the current folder, as on a command line. Print an error with `{:#}` to see all of
    /// it.
    ///
    /// # Errors
    /// Names the recipe and every key that cannot work, with its value and what is allowed.
    pub fn load(recipe: impl AsRef<Path>, sets: &[String], root: &Path) -> Result<Self> {
        let (path, table) = read(recipe, root)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let made = Self::checked(name, table, sets).and_then(Self::absolute);
        made.with_context(|| format!("recipe {}", path.display()))
    }

    /// Returns the recipe in `table` after `sets`, or all its problems in one error.
    fn checked(name: String, mut table: Table, sets: &[String]) -> Result<Self> {
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        let recipe = Self::from_table(name, table.clone())?;
        let is_usual = {
            let (own, usual) = (recipe.to_table()?, recipe.usual()?);
            move |key: &str, method| lookup(&own, key, method) == lookup(&usual, key, method)
        };
        // A value that a resolved recipe writes out counts as not given.
        let given = |key: &str, method| lookup(&table, key, method).is_some() && !is_usual(key, method);
        let (idle, told) = without_effect(&recipe, given, sets);
        refuse(&[recipe.problems(), idle].concat())?;
        told.iter().for_each(|problem| tracing::warn!("{problem}"));
        Ok(recipe.settled())
    }

    /// Returns the recipe on another back end, if one is given.
    #[must_use]
    pub fn on(self, backend: Option<Backend>) -> Self {
        Self { backend: backend.unwrap_or(self.backend), ..self }
    }

    /// Returns the variants that are aligned, in the order of the report.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Returns the name of the row of a variant on the ID method `of`.
    pub(crate) fn label(&self, variant: &Variant, of: &str) -> String {
        match self.drops_loss(variant) {
            true => format!("{}({of}, without align.loss)", variant.name),
            false => format!("{}({of})", variant.name),
        }
    }

    /// Returns the name of the row of a variant with lifted cold items.
    pub(crate) fn cold_lift_label(&self, variant: &Variant, of: &str) -> String {
        match self.probes_of.len() {
            1 => format!("{}({of})", rows::COLD_LIFT),
            _ => format!("{}({}, {of})", rows::COLD_LIFT, variant.name),
        }
    }

    /// Returns the name of the language model in names of rows.
    pub(crate) fn lm_name(&self) -> String {
        let end = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let model = match &self.lm.path {
            Some(path) => end(path).unwrap_or_else(|| "lm".into()),
            None => match HubName::of(&self.lm.name) {
                Some(Ok(name)) => name.short().to_owned(),
                _ => self.lm.name.clone(),
            },
        };
        match self.lm.adapter.as_ref().and_then(end) {
            Some(adapter) => format!("{model} + {adapter}"),
            None => model,
        }
    }

    /// Returns whether a row reads the language model: all except those of ID methods and their blends.
    pub(crate) fn aligns(&self) -> bool {
        self.has_row(rows::TEXT) || self.variants.iter().any(Variant::has_towers)
    }

    /// Returns the ID methods that may be aligned: those that say so, or else the last one that says nothing.
    pub(crate) fn candidates(&self) -> Vec<&IdTable> {
        let named: Vec<&IdTable> = self.ids.iter().filter(|id| id.align == Some(true)).collect();
        let last = || self.ids.iter().rfind(|id| id.align.is_none()).into_iter().collect();
        if named.is_empty() { last() } else { named }
    }

    /// Returns whether validation chooses which ID method is aligned: there are several candidates, and a row reads one.
    pub(crate) fn chooses_backbone(&self) -> bool {
        self.candidates().len() > 1 && self.variants.iter().any(Variant::reads_ids)
    }

    /// Returns the recipe with the ID method last that is aligned, unless validation chooses it.
    fn settled(self) -> Self {
        match self.candidates().last().map(|one| one.kind().to_owned()) {
            Some(kind) if !self.chooses_backbone() => self.aligning(&kind),
            _ => self,
        }
    }

    /// Returns the recipe with the ID method of this kind last, which is the one that is aligned.
    #[must_use]
    pub(crate) fn aligning(mut self, kind: &str) -> Self {
        // One that may not be aligned stays so, for the case that this one is left out.
        let named = |id: &&mut IdTable| id.align == Some(true) || id.kind() == kind;
        self.ids.iter_mut().filter(named).for_each(|id| id.align = None);
        // The sort is stable: the others keep their order.
        self.ids.sort_by_key(|id| id.kind() == kind);
        self
    }

    /// Returns the names of the rows that the row `name` is made of, itself included: those that it blends, and the
    /// aligned ID method if it has towers.
    pub(crate) fn made_of(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let variant = self.variants.iter().find(|variant| variant.name == name);
        for part in variant.map(Variant::parts).unwrap_or_default() {
            found.extend(self.made_of(part));
        }
        if variant.is_some_and(Variant::has_towers) {
            found.extend(self.ids.last().map(IdTable::aligned_row));
        }
        found
    }

    /// Returns the names of the rows that the training of the row `name` needs: what it is [made of](Self::made_of), the
    /// variants whose towers they take, and their teachers.
    pub(crate) fn trained_from(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for row in self.made_of(name) {
            let variant = self.variants.iter().find(|variant| variant.name == row);
            let source = variant.map(|variant| &variant.source);
            found.push(row);
            if let Some(Source::Towers(other) | Source::Training { teacher: Some(other) }) = source {
                found.extend(self.trained_from(other));
            }
        }
        found
    }

    /// Returns the recipe for a catalogue of `items`: without the methods that are not meant for so large a one
    /// (`id.max_items`), also in blends. The second value says what was left out.
    ///
    /// # Errors
    /// If a blend or a teacher needs one that is left out, or nothing is left that can be aligned.
    pub(crate) fn for_catalog(&self, items: usize) -> Result<(Self, Vec<String>)> {
        let too_small = |id: &&IdTable| id.max_items.is_some_and(|most| items > most);
        let out: Vec<&IdTable> = self.ids.iter().filter(too_small).collect();
        if out.is_empty() {
            return Ok((self.clone(), Vec::new()));
        }
        let gone: Vec<String> = out.iter().flat_map(|id| id.rows()).collect();
        let mut table = self.to_table()?;
        let kept: Vec<&IdTable> = self.ids.iter().filter(|id| !too_small(id)).collect();
        let candidates = self.candidates();
        let last = candidates.last().map(|id| id.kind());
        let all_gone = self.aligns() && candidates.iter().all(too_small);
        let other = kept.iter().rfind(|id| id.align.is_none()).map(|id| id.kind()).filter(|_| all_gone);
        table.insert("id".into(), Value::try_from(kept)?);
        let without = |table: &VariantTable| {
            let blend =
                table.blend.clone().map(|parts| parts.into_iter().filter(|part| !gone.contains(part)).collect());
            VariantTable { blend, ..table.clone() }
        };
        let tables: Vec<VariantTable> = self.tables.iter().map(without).collect();
        if !tables.is_empty() {
            table.insert("variant".into(), Value::try_from(tables)?);
        }
        let told = |id: &&IdTable| {
            let (kind, most) = (id.kind(), id.max_items.unwrap_or_default());
            let told = format!("{kind} is left out: the catalogue has {items} items, and its id.max_items is {most}");
            match other.filter(|_| Some(kind) == last) {
                Some(other) => format!("{told}; {other} is aligned in its place"),
                None => told,
            }
        };
        let told: Vec<String> = out.iter().map(told).collect();
        let found = Self::from_table(self.name.clone(), table).with_context(|| told.join("; "))?.settled();
        refuse(&found.problems()).with_context(|| told.join("; "))?;
        Ok((Self { tune: self.tune.clone(), ..found }, told))
    }

    /// Returns the names of the rows of ID methods, the grounded ones included.
    pub(crate) fn id_rows(&self) -> Vec<String> {
        self.ids.iter().flat_map(IdTable::rows).collect()
    }

    /// Returns whether a variant is trained without the loss that ties prefixes to texts although the recipe has one.
    /// The name of its row then says so.
    pub(crate) fn drops_loss(&self, variant: &Variant) -> bool {
        self.align.loss.loss != AlignLoss::None && variant.align.loss.loss == AlignLoss::None
    }

    /// Returns whether the report has one or more rows called `name`.
    pub(crate) fn has_row(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row == name)
    }

    /// Returns whether the report has rows called `name`, probes or lifts, of `variant`.
    pub(crate) fn looks_closer(&self, name: &str, variant: &Variant) -> bool {
        self.has_row(name) && self.probes_of.contains(&variant.name)
    }

    /// Returns whether a row reads the titles of items: all except those of ID methods and of variants that name items
    /// otherwise.
    pub(crate) fn reads_titles(&self) -> bool {
        let titled = |variant: &Variant| variant.has_towers() && variant.items == ItemNames::Title;
        self.has_row(rows::TEXT) || self.variants.iter().any(titled)
    }

    /// Returns the ID methods that the rows `made_of` are loaded with: their own, and the last one if a row reads prompts,
    /// because its interests shape them.
    pub(crate) fn methods_of<'a>(&'a self, made_of: &'a [String]) -> impl Iterator<Item = &'a IdTable> {
        let (prompts, last) = (self.rows_read_prompts(made_of), self.ids.last().map(|id| id.kind()));
        let is_last = move |id: &IdTable| prompts && Some(id.kind()) == last;
        self.ids.iter().filter(move |id| is_last(id) || id.rows().iter().any(|row| made_of.contains(row)))
    }

    /// Returns whether one of the rows `made_of` reads prompts.
    fn rows_read_prompts(&self, made_of: &[String]) -> bool {
        let is_part = |name: &str| made_of.iter().any(|own| own == name);
        is_part(rows::TEXT) || self.variants.iter().any(|variant| variant.has_towers() && is_part(&variant.name))
    }

    /// Returns whether one of the rows `made_of` reads vectors of titles.
    pub(crate) fn rows_read_features(&self, made_of: &[String]) -> bool {
        let mut methods = self.methods_of(made_of);
        methods.any(|id| id.reads_features() || id.ground.is_some() && made_of.contains(&id.grounded_row()))
    }

    /// Returns whether one of the rows `made_of` reads the language model.
    pub(crate) fn rows_read_text(&self, made_of: &[String]) -> bool {
        self.rows_read_prompts(made_of) || self.rows_read_features(made_of)
    }

    /// Returns whether a language model takes part.
    pub(crate) fn reads_text(&self) -> bool {
        self.aligns() || self.ids.iter().any(IdTable::reads_text)
    }

    /// Reads a resolved recipe, as stored in a manifest.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn resolved(text: &str) -> Result<Self> {
        let recipe = Self::from_table("resolved".into(), text.parse()?)?;
        refuse(&recipe.problems())?;
        Ok(recipe.settled())
    }

    /// Makes paths absolute, so that a run folder can be used from anywhere.
    fn absolute(mut self) -> Result<Self> {
        let Self { data, lm, start_from, ids, .. } = &mut self;
        let own = [&mut data.interactions, &mut data.items, &mut data.test, &mut lm.path, &mut lm.adapter, start_from];
        for path in own.into_iter().flatten().chain(ids.iter_mut().flat_map(|id| id.method.paths_mut())) {
            *path = std::path::absolute(&*path).with_context(|| format!("{}: not a path", path.display()))?;
        }
        Ok(self)
    }

    /// Reads the content of `table` without checking that it makes sense.
    fn from_table(name: String, mut table: Table) -> Result<Self> {
        let wrong = &mut take_non_finite(&mut table, "");
        let mut data = sub_table(&mut table, "data", wrong);
        let mut eval = sub_table(&mut table, "eval", wrong);
        let mut device = sub_table(&mut table, "device", wrong);
        let tables: Vec<VariantTable> = take(&mut table, "variant", "", wrong).unwrap_or_default();
        let asked: Option<Vec<String>> = take(&mut eval, "rows", "eval.", wrong);
        let asked = asked.unwrap_or_else(|| rows::usual(&tables));
        let mut recipe = Self {
            name,
            seed: take(&mut table, "seed", "", wrong).unwrap_or(1),
            start_from: take(&mut table, "start_from", "", wrong),
            backend: take(&mut device, "backend", "device.", wrong).unwrap_or_default(),
            devices: take(&mut device, "count", "device.", wrong).unwrap_or(1),
            data_name: take(&mut data, "name", "data.", wrong).unwrap_or_else(|| CUSTOM.into()),
            curate: take(&mut data, "curate", "data.", wrong).unwrap_or_default(),
            max_history: take(&mut data, "max_history", "data.", wrong).unwrap_or(MAX_HISTORY),
            data: extended(data, "data", &["name", "max_history", "curate"], wrong),
            ids: take(&mut table, "id", "", wrong).unwrap_or_default(),
            lm: take(&mut table, "lm", "", wrong).unwrap_or_default(),
            prompt: take(&mut table, "prompt", "", wrong).unwrap_or_default(),
            align: take(&mut table, "align", "", wrong).unwrap_or_default(),
            train: take(&mut table, "train", "", wrong).unwrap_or_default(),
            rows: rows::ordered(&asked, &tables).map_err(|told| wrong.push(told)).unwrap_or_default(),
            probes_of: take(&mut eval, "probes_of", "eval.", wrong).unwrap_or_else(|| vec![OWN.into()]),
            eval: extended(eval, "eval", &["rows", "probes_of"], wrong),
            variants: Vec::new(),
            tables,
            tune: take(&mut table, "tune", "", wrong),
        };
        // What is wrong with the methods would be told again of every blend of them.
        let mut of_variants = Vec::new();
        recipe.variants =
            variant::resolve(&recipe.rows, &recipe.id_rows(), &recipe.align, &recipe.tables, &mut of_variants)?;
        if wrong.is_empty() || !recipe.ids.is_empty() {
            wrong.append(&mut of_variants);
        }
        if recipe.lm.path.is_none() && recipe.lm.name == FETCHED_LM {
            recipe.lm.pooling.get_or_insert(Pooling::First);
        }
        wrong.extend(device.keys().map(|key| format!("unknown key device.{key}; allowed: backend, count")));
        let allowed = "seed, start_from, device, data, id, lm, prompt, align, train, variant, eval, tune";
        let of_data = table_of(&DataConfig::default())?;
        wrong.extend(table.keys().map(|key| {
            let is_of_data = of_data.contains_key(key) || ["columns", "interactions", "items"].contains(&key.as_str());
            let hint = if is_of_data { format!("; did you mean data.{key}?") } else { String::new() };
            format!("unknown key {key}{hint}; allowed: {allowed}")
        }));
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        Ok(recipe)
    }

    /// Returns the resolved recipe with all defaults written out. Reading it gives the same recipe.
    ///
    /// # Errors
    /// If a value cannot be represented in TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string_pretty(&self.to_table()?)?)
    }

    /// Returns [`to_toml`](Self::to_toml) as a table.
    fn to_table(&self) -> Result<Table> {
        let mut data = table_of(&self.data)?;
        data.insert("name".into(), Value::String(self.data_name.clone()));
        data.insert("max_history".into(), Value::try_from(self.max_history)?);
        data.insert("curate".into(), Value::try_from(&self.curate)?);
        let mut eval = table_of(&self.eval)?;
        eval.insert("rows".into(), Value::try_from(&self.rows)?);
        if self.probes_of != [OWN] {
            eval.insert("probes_of".into(), Value::try_from(&self.probes_of)?);
        }
        let mut table = Table::new();
        table.insert("seed".into(), Value::try_from(self.seed)?);
        if let Some(start) = &self.start_from {
            table.insert("start_from".into(), Value::try_from(start)?);
        }
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
        if !self.tables.is_empty() {
            table.insert("variant".into(), Value::try_from(&self.tables)?);
        }
        Ok(table)
    }

    /// Returns the resolved recipe with the same ID methods and defaults for everything else.
    fn usual(&self) -> Result<Table> {
        let kind = |id: &IdTable| Value::Table(Table::from_iter([("kind".to_owned(), Value::from(id.kind()))]));
        let ids = Value::Array(self.ids.iter().map(kind).collect());
        Self::from_table("usual".into(), Table::from_iter([("id".to_owned(), ids)]))?.to_table()
    }
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
    use ra_idmodels::IdConfig;

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
            ("[[id]]\nkind='pop'\n[columns]", "columns", "did you mean data.columns?"),
            ("split = 'temporal'\n[[id]]\nkind='pop'", "split", "did you mean data.split?"),
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
        for key in
            ["train.lr is", "data.curate.budget is -3", "data.ratio_test has", "id.dim is", "prompt.item_tokens is"]
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
        let IdConfig::Import(config) = &made.ids[0].method else { panic!("{:?}", made.ids) };
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
        assert_eq!(
            (made.seed, made.align.module.n_tok, made.data_name.as_str(), made.train.optim.lr),
            (7, 3, "ml-100k", 0.5)
        );
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
        ra_core::testkit::damage::fuzz_reader(&files, trial, |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Ok(table) = text.parse::<Table>() else { return false };
            let made = Recipe::checked("damaged".into(), table, &[]);
            if let Ok(recipe) = &made {
                Recipe::resolved(&recipe.to_toml().unwrap()).unwrap();
            }
            made.is_ok()
        });
    }
}
