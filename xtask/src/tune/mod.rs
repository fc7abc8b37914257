//! Tuning: a search for values of a recipe's keys, on the validation part alone.
//!
//! A trial is a run of the recipe with other values that ends before the evaluation: the stages are those of a run, and
//! nobody looks at the test part. Trials lie in run folders of their own, and `trials.json` records each one. What is
//! proposed next depends on the seed and on the recorded trials, so a tuning that was killed ends as if it had not been.
//!
//! The better half of the trials goes on to a longer training (successive halving) in a new folder and from the start:
//! a longer training is another one where a schedule or a patience depends on its length.
mod page;
mod propose;
mod space;
mod trials;

use crate::context::{Context, Output};
use crate::recipe::tune::TuneConfig;
use crate::recipe::{IdTable, Recipe, remedies, rows};
use crate::stages::{self, Data, FrozenText};
use crate::store::lock::take;
use crate::store::{self, Earlier, Member};
use crate::suite::{Settings, Suite};
use crate::terminal::{argument, one_line, program};
use anyhow::{Context as _, Result, bail};
use propose::propose;
use ra_core::{Progress, Recommender, read_json, write_atomic, write_json};
use ra_idmodels::IdMethod;
use space::Key;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trials::{NOTE, Plan, Training, Trial, Trials};

/// The kind of a tuning's folder in its marker.
const KIND: &str = "tuning";

const FILE: &str = "trials.json";

const PAGE: &str = "trials.md";

const BEST: &str = "best.toml";

/// The subfolder of the trials' run folders.
const TRIALS: &str = "trials";

/// The largest number of trials.
const MOST: usize = 10_000;

/// The table that a recipe needs, for an error.
const EXAMPLE: &str =
    "[tune] keys = { \"id.dropout\" = [0.2, 0.5], \"id.train.lr\" = { low = 1e-4, high = 1e-2, scale = \"log\" } }";

/// Searches the keys that `[tune]` of a recipe names, and returns the recipe with the best values: the file
/// `best.toml`, next to `trials.json` and `trials.md`. A trial that fails is recorded, and the search goes on.
///
/// # Errors
/// Everything that is wrong with the table `[tune]`, before anything is read; if nothing is held out for validation, if
/// the folder holds another tuning, or if all trials failed.
pub fn run(recipe: &Path, settings: &Settings<'_>) -> Result<PathBuf> {
    if Suite::load(recipe, settings.root)?.is_some() {
        bail!("recipe {}: is a suite; name the recipe of one run", recipe.display());
    }
    let recipe = Recipe::load(recipe, settings.sets, settings.root)?.on(settings.backend);
    let named = || settings.root.join("runs").join(format!("{}-tune", recipe.name));
    let out = settings.out.map_or_else(named, PathBuf::from);
    let search = Search::new(&recipe, &out, settings)?;
    ra_core::refuse_inputs_within(&out, &store::inputs(&recipe))?;
    let _lock = open(&out, settings.earlier)?;
    search.run().map_err(remedies::in_recipe)
}

/// What is searched.
struct Search<'r> {
    /// The recipe, with all of its rows.
    recipe: &'r Recipe,
    /// The recipe of the tuned row alone.
    one: Recipe,
    row: String,
    keys: Vec<Key>,
    tune: &'r TuneConfig,
    out: &'r Path,
    settings: &'r Settings<'r>,
}

/// What all trials read.
struct Inputs {
    data: Data,
    /// The language model, if one takes part and no key of it is tuned.
    text: Option<FrozenText>,
}

/// Takes the folder of a tuning until the lock is dropped, and removes what a tuning that is replaced left there.
fn open(out: &Path, earlier: Earlier) -> Result<File> {
    let (mut files, lock) = take(out, KIND)?;
    files.sweep()?;
    if earlier == Earlier::Kept && files.owns(FILE) && out.join(FILE).exists() {
        bail!("{}: holds a tuning; continue it by --resume, or replace it by --force", out.display());
    }
    if earlier != Earlier::Resumed {
        files.remove(|_| true)?;
        for entry in out.join(TRIALS).read_dir().into_iter().flatten().flatten() {
            // A stray file is not ours.
            if !entry.path().is_dir() {
                continue;
            }
            let (mut trial, _lock) = take(&entry.path(), store::KIND)?;
            trial.remove(|_| true)?;
        }
    }
    files.claim(&[FILE, PAGE, BEST])?;
    Ok(lock)
}

impl<'r> Search<'r> {
    /// Checks the table `[tune]` of a recipe.
    fn new(recipe: &'r Recipe, out: &'r Path, settings: &'r Settings<'r>) -> Result<Self> {
        let tune = recipe.tune.as_ref().with_context(|| {
            format!("recipe {}: has no [tune] table, which names the keys to search, as in {EXAMPLE}", recipe.name)
        })?;
        let mut wrong = Vec::new();
        if !(2..=MOST).contains(&tune.trials) {
            wrong.push(format!("tune.trials is {}, it must be from 2 to {MOST}", tune.trials));
        }
        let asked = tune.row.as_ref().filter(|row| *row != rows::ID);
        let kind = recipe.ids.last().map(IdTable::aligned_row);
        let row = match (asked, &tune.row) {
            (None, Some(_)) => kind,
            (None, None) => recipe.last_tunable(),
            (Some(row), _) => {
                if !recipe.tunable().contains(row) {
                    wrong.push(format!("tune.row: {row:?} cannot be tuned; allowed: {}", recipe.tunable().join(", ")));
                }
                Some(row).filter(|row| recipe.tunable().contains(row)).cloned().or(recipe.last_tunable())
            }
        };
        let row = row.unwrap_or_default();
        let one = recipe.only(&row);
        if one.chooses_backbone() {
            let told = "id.align is true in several [[id]] tables: leave it in one, so that all trials align the same";
            wrong.push(told.into());
        }
        if let Some(id) = one.ids.last().filter(|id| tune.halving && !one.aligns() && id.train().is_none()) {
            wrong.push(format!("tune.halving is true, but {} is not trained in epochs; set it to false", id.kind()));
        }
        let keys = space::read(&tune.keys, &one, &row).unwrap_or_else(|found| {
            wrong.extend(found);
            Vec::new()
        });
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        Ok(Self { recipe, one, row, keys, tune, out, settings })
    }

    fn run(&self) -> Result<PathBuf> {
        let output = (self.settings.output)();
        let inputs = self.read()?;
        let mut found = self.begin(&inputs)?;
        let shares = found.plan.shares();
        // Trials whose first training an earlier part of the tuning did not finish.
        for place in 0..found.trials.len() {
            if found.trials[place].trainings.is_empty() {
                self.train(&mut found, place, shares[0], &inputs)?;
            }
        }
        while found.trials.len() < self.tune.trials {
            let proposed = match found.trials.is_empty() {
                true => Some(self.own()?),
                false => propose(&self.keys, self.tune.method, self.recipe.seed, &found.known())?,
            };
            let Some(chosen) = proposed else {
                output.say(&format!("there are no other settings: {} trials are all", found.trials.len()));
                break;
            };
            let trial = Trial { trial: found.trials.len() + 1, settings: chosen, trainings: Vec::new() };
            found.trials.push(trial);
            let place = found.trials.len() - 1;
            self.train(&mut found, place, shares[0], &inputs)?;
        }
        for (round, share) in shares.iter().enumerate().skip(1) {
            for place in found.going_on(round) {
                if found.trials[place].trainings.len() == round {
                    self.train(&mut found, place, *share, &inputs)?;
                }
            }
        }
        self.finish(&found, &*output)
    }

    /// Reads what all trials share, and refuses data without a validation part.
    fn read(&self) -> Result<Inputs> {
        let cx = self.context(&self.one, &folder(1, 1.0))?.telling((self.settings.output)());
        let mut data = stages::data(&self.one, &cx)?;
        if data.validation.is_empty() {
            bail!(
                "a tuning compares scores on validation, but the split {:?} holds nothing out for it; take another \
                 split (data.split)",
                data.dataset.split
            );
        }
        let recipe = stages::recipe_for(&self.one, &mut data, &cx)?;
        let text = if self.tunes("lm.") { None } else { stages::text(&recipe, &cx)? };
        Ok(Inputs { data, text })
    }

    /// Returns the context of a trial in its run folder.
    fn context(&self, recipe: &Recipe, folder: &str) -> Result<Context> {
        // All trials have the same ID method if none of its keys is tuned.
        let is_shared = !self.tunes("id.") && self.one.aligns();
        let member = is_shared.then(|| Member { suite: self.out.into(), kind: KIND, done: false });
        let folder = self.out.join(folder);
        let cx = Context::of_member(recipe, self.settings.root, &folder, Earlier::Resumed, member)?;
        Ok(cx.telling(Box::new(Quiet((self.settings.output)()))))
    }

    fn tunes(&self, table: &str) -> bool {
        self.keys.iter().any(|key| key.name.starts_with(table))
    }

    /// Returns the trials so far, of this tuning or an earlier part of it.
    fn begin(&self, inputs: &Inputs) -> Result<Trials> {
        let plan = Plan {
            recipe: self.recipe.to_toml()?,
            method: format!("{:?}", self.tune.method).to_lowercase(),
            halving: self.tune.halving,
            keys: self.tune.keys.clone(),
            data: inputs.data.dataset.fingerprint().to_string(),
            lm: inputs.text.as_ref().map(FrozenText::identity),
            imports: store::imports(self.recipe)?
                .into_iter()
                .chain(store::start(self.recipe)?)
                .reduce(|a, b| a + " " + &b),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let file = self.out.join(FILE);
        if file.exists() {
            let mut found: Trials = read_json(&file)?;
            found.plan.check(&plan, &file)?;
            if found.row != self.row {
                bail!("{}: the tuning is of the row {}, and this is {}", file.display(), found.row, self.row);
            }
            found.forget_failures();
            return Ok(found);
        }
        let criterion = self.recipe.eval.protocol(&inputs.data.dataset).select;
        let found = Trials {
            recipe: self.recipe.name.clone(),
            row: self.row.clone(),
            criterion: criterion.split(" on ").next().unwrap_or_default().into(),
            users: inputs.data.validation.len(),
            note: NOTE.into(),
            plan,
            best: None,
            trials: Vec::new(),
        };
        write_json(&file, &found)?;
        Ok(found)
    }

    /// Returns the recipe's own settings.
    fn own(&self) -> Result<space::Settings> {
        let mut own = space::Settings::new();
        for key in &self.keys {
            own.extend(self.recipe.value_of(&key.name)?.map(|value| (key.name.clone(), value)));
        }
        Ok(own)
    }

    /// Trains the trial at `place` for a share of its training, and records its score or why there is none.
    fn train(&self, found: &mut Trials, place: usize, share: f64, inputs: &Inputs) -> Result<()> {
        let (since, output) = (Instant::now(), (self.settings.output)());
        let trial = &found.trials[place];
        let folder = folder(trial.trial, share);
        let part = if share < 1.0 { format!(", {:.0} % of the training", 100.0 * share) } else { String::new() };
        output.say(&format!("== trial {}{part}: {}", trial.trial, trial.told()));
        let scored = self.recipe_of(trial, share).and_then(|recipe| self.score(&recipe, inputs, &folder));
        let (score, error) = match scored {
            Ok(score) => (Some(score), None),
            Err(error) => (None, Some(one_line(&remedies::in_recipe(error)))),
        };
        output.say(&match (&score, &error) {
            (Some(score), _) => format!("   score {score:.4}"),
            (None, error) => format!("   failed: {}", error.as_deref().unwrap_or_default()),
        });
        let seconds = since.elapsed().as_secs_f64();
        found.trials[place].trainings.push(Training { share, folder, score, error, seconds });
        found.best = found.finished().first().map(|&best| found.trials[best].trial);
        write_json(&self.out.join(FILE), found)?;
        Ok(write_atomic(&self.out.join(PAGE), page::page(found).as_bytes())?)
    }

    /// Returns the recipe of a trial, trained for a share of the epochs and steps.
    fn recipe_of(&self, trial: &Trial, share: f64) -> Result<Recipe> {
        let recipe = self.one.with(&sets(trial))?;
        let part = |whole: usize| ((whole as f64 * share).ceil() as usize).max(1);
        let train = recipe.ids.last().and_then(|id| id.train());
        // An ID method that no trial changes is trained once, in full.
        let train = train.filter(|_| share < 1.0 && (self.tunes("id.") || !recipe.aligns()));
        let align = (share < 1.0 && recipe.aligns()).then_some(&recipe.train);
        let bound = train.map(|train| train.max_steps).filter(|&bound| bound > 0);
        let shorter = [
            ("id.train.epochs", train.map(|train| train.epochs)),
            ("id.train.max_steps", bound),
            ("train.steps", align.map(|train| train.steps)),
            ("train.max_steps", align.map(|train| train.max_steps).filter(|&bound| bound > 0)),
        ];
        // Passes are few, and rounded down: a part of one pass is left to the steps.
        let passes = align.map(|train| train.min_epochs).filter(|&passes| passes > 0);
        let passes = passes.map(|passes| format!("train.min_epochs={}", (passes as f64 * share) as usize));
        let shorter = shorter.into_iter().filter_map(|(key, whole)| Some(format!("{key}={}", part(whole?))));
        recipe.with(&shorter.chain(passes).collect::<Vec<_>>())
    }

    /// Trains the row of a trial and returns its score on the validation part.
    fn score(&self, recipe: &Recipe, inputs: &Inputs, folder: &str) -> Result<f64> {
        let cx = self.context(recipe, folder)?;
        let data = &inputs.data;
        let recipe = &recipe.for_catalog(data.dataset.catalog.len())?.0;
        let own = if self.tunes("lm.") { stages::text(recipe, &cx)? } else { None };
        let text = own.as_ref().or(inputs.text.as_ref());
        text.map_or(Ok(()), |text| text.check(recipe))?;
        stages::open(recipe, data, text, &cx)?;
        let ids = stages::id_models(recipe, data, text, &cx)?;
        let metric = cx.validator.over(&data.dataset, &data.validation).context("nobody is left to validate on")?;
        let score = |model: &dyn Recommender| metric(model);
        let is_variant = recipe.variants().iter().any(|variant| variant.name == self.row);
        let score = if is_variant {
            let samples = stages::samples(recipe, data, &ids, &cx)?;
            let aligned = stages::align(recipe, data, &ids, text, &samples, &cx)?;
            let aligned = aligned.with_context(|| format!("the row {} was not made", self.row))?;
            let mut variants = aligned.variants();
            let found = variants.find(|(variant, _)| variant.name == self.row).map(|(_, model)| score(model));
            found.with_context(|| format!("the row {} was not trained", self.row))?
        } else {
            score(ids.backbone().aligned())
        };
        if !score.is_finite() {
            bail!("the score is {score}: the training diverged");
        }
        Ok(score)
    }

    /// Writes the recipe with the best settings, and says what was found.
    fn finish(&self, found: &Trials, output: &dyn Output) -> Result<PathBuf> {
        let Some(best) = found.best.and_then(|best| found.trials.iter().find(|trial| trial.trial == best)) else {
            let told = found.trials.iter().find_map(|trial| trial.trainings.iter().find_map(|of| of.error.as_deref()));
            bail!("all {} trials failed; the first: {}", found.trials.len(), told.unwrap_or("without an error"));
        };
        let recipe = if best.trial == 1 { self.recipe.clone() } else { self.recipe.with(&sets(best))? };
        let head = format!(
            "Made by {} tune from the recipe {}, row {}: {}\n{NOTE}",
            program(),
            found.recipe,
            found.row,
            page::verdict(found)
        );
        let head: String = head.lines().map(|line| format!("# {line}\n")).collect();
        let file = self.out.join(BEST);
        write_atomic(&file, (head + "\n" + &recipe.to_runnable_toml()?).as_bytes())?;
        write_atomic(&self.out.join(PAGE), page::page(found).as_bytes())?;
        output.say("");
        page::page(found).lines().for_each(|line| output.say(line));
        let place = self.out.join("best");
        output.say(&format!("\nnext: {} run {} --out {}", program(), argument(&file), argument(&place)));
        Ok(file)
    }
}

/// Returns the settings of a trial as for `--set`. The first trial is the recipe itself.
fn sets(trial: &Trial) -> Vec<String> {
    match trial.trial {
        1 => Vec::new(),
        _ => trial.settings.iter().map(|(key, value)| format!("{key}={value}")).collect(),
    }
}

/// Returns the run folder of a trial within that of the tuning.
fn folder(trial: usize, share: f64) -> String {
    match share < 1.0 {
        true => format!("{TRIALS}/{trial:03}-{:.0}", 100.0 * share),
        false => format!("{TRIALS}/{trial:03}"),
    }
}

/// Passes progress on, and nothing else: a trial's own words would drown those of the search.
#[derive(Debug)]
struct Quiet(Box<dyn Output>);

impl Progress for Quiet {
    fn start(&self, stage: &str, total: u64) {
        self.0.start(stage, total);
    }

    fn update(&self, done: u64, note: &str) {
        self.0.update(done, note);
    }

    fn finish(&self) {
        self.0.finish();
    }
}

impl Output for Quiet {
    fn say(&self, _: &str) {}
}
