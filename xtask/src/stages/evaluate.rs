//! `cargo xtask run`: chains the stages of the crates. Each stage leaves a file, and `--resume` starts after the last
//! one that is there; a training that was cut off goes on from its state, so the result is the same.
use crate::recipe::{Recipe, Row};
use crate::stages::text::Text;
use crate::store::lock;
use crate::store::log::Log;
use crate::store::manifest::{Manifest, inputs};
use crate::store::{self as folder, Earlier, RunFolder};
use crate::terminal::progress::Bars;
use crate::terminal::table::print_table;
use crate::{fetch, machine, suite};
use anyhow::{Context, Result, bail};
use burn::tensor::Tensor;
use ra_core::{Backend, Dataset, Device, LedgerRow, Recommender, Silent, open_devices, trainable_params};
use ra_data::Prepared;
use ra_eval::{
    AuditFinding, EvalConfig, Evaluation, LearningCurve, Part, Repeats, Report, SampleRecommendation, StageCost,
    correct, evaluate, evaluate_items, evaluated_users, item_vectors, slices,
};
use ra_idmodels::IdConfig;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Recommended titles and users that a report shows.
const SHOWN: usize = 10;
const SAMPLE_USERS: usize = 5;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct RunArgs {
    pub(crate) recipe: PathBuf,
    pub(crate) sets: Vec<String>,
    pub(crate) backend: Option<Backend>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) earlier: Earlier,
    /// The suite that it is a run of.
    pub(crate) suite: Option<Member>,
}

/// What a run of a suite has to know of it.
#[derive(Debug)]
pub(crate) struct Member {
    /// The folder of the suite, where its runs keep the ID methods they share.
    pub(crate) folder: PathBuf,
    /// Whether the suite has made this run already.
    pub(crate) done: bool,
}

/// What all stages share.
pub(crate) struct Run {
    pub(crate) recipe: Recipe,
    pub(crate) dataset: Dataset,
    pub(crate) device: Device,
    pub(crate) folder: RunFolder,
    /// The folder of the suite that it is a run of.
    pub(crate) suite: Option<PathBuf>,
    pub(crate) log: Log,
    pub(crate) bars: Bars,
    costs: Vec<StageCost>,
    entries: Vec<(ra_eval::Row, Evaluation)>,
    valid_users: Vec<u32>,
    audit: Vec<AuditFinding>,
    /// When each item of the catalogue was first seen, where there is a clock.
    first_seen: Option<Vec<f64>>,
    /// Tokens that the language model has read, and how many of them are in `costs`.
    tokens: Arc<AtomicU64>,
    tokens_told: u64,
}

/// What training a row cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Training {
    pub(crate) samples: usize,
    pub(crate) params: usize,
    pub(crate) seconds: f64,
}

pub(crate) fn run(args: &RunArgs, root: &Path) -> Result<()> {
    if suite::run(args, root)? { Ok(()) } else { run_one(args, root) }
}

/// Runs a single recipe.
pub(crate) fn run_one(args: &RunArgs, root: &Path) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe, &args.sets, root)?;
    recipe.backend = args.backend.unwrap_or(recipe.backend);
    let out = args.out.clone().unwrap_or_else(|| root.join("runs").join(&recipe.name));
    // Whatever can be refused is refused before anything long is read, and before an earlier run is touched.
    ra_core::refuse_inputs_within(&out, &inputs(&recipe))?;
    lock::check(&out, folder::KIND)?;
    let devices = open_devices(recipe.backend, recipe.devices)?;
    let device = devices[0].clone();
    let prepared = read(&recipe, root)?;
    let (audit, first_seen) = (audit(&prepared), prepared.first_seen());
    let dataset = prepared.dataset;
    say!("{}", ra_data::describe(&dataset));
    check_support(&recipe, &dataset)?;
    warn_of_full_users(&dataset);
    recipe.oddities().iter().for_each(|problem| tracing::warn!("{problem}"));
    let valid_users = validation_users(&recipe.eval, &dataset, recipe.seed);
    let asked = |row| recipe.rows.contains(&row);
    let weighs = recipe.align.id_residual || asked(Row::IdResidual);
    let chosen = [
        (weighs, "the weight of the ID's own score", "id-residual out of eval.rows and align.id_residual off"),
        (asked(Row::ColdLift), "the lift of cold items", "cold-lift out of eval.rows"),
    ];
    if let Some((_, what, leave)) = chosen.iter().find(|(asked, ..)| *asked && valid_users.is_empty()) {
        bail!(
            "{what} is chosen on validation, and the split {:?} holds nothing out for it; take another split, or leave {leave}",
            dataset.split
        );
    }
    if asked(Row::ColdLift) {
        ra_align::check_cold(&dataset)?;
    }
    let since = Instant::now();
    let text = recipe.reads_text().then(|| Text::load(&recipe, &devices, root)).transpose()?;
    let loaded = StageCost {
        name: "load language model".into(),
        seconds: since.elapsed().as_secs_f64(),
        peak_mib: machine::peak_mib(),
        tokens: None,
    };
    let manifest = Manifest::of(&recipe, &dataset, first_seen.as_deref(), text.as_ref())?;
    if args.suite.as_ref().is_some_and(|suite| suite.done) && folder::is_finished(&out, &manifest)? {
        return Ok(());
    }
    let folder = RunFolder::open(&out, &manifest, args.earlier)?;
    let log = Log::open(&folder.file("log.jsonl"), &folder.curves()?)?;
    tracing::info!(recipe = recipe.name, seed = recipe.seed, dataset = dataset.name, "run");
    if let Some(text) = &text {
        text.log_reading();
    }
    if valid_users.is_empty() {
        tracing::warn!("nothing is held out for validation: every stage runs to its last step");
    }
    let (costs, entries) = (vec![loaded], Vec::new());
    let suite = args.suite.as_ref().map(|suite| suite.folder.clone());
    let (bars, tokens) = (Bars::new(), text.as_ref().map(|text| text.tokens.clone()).unwrap_or_default());
    let mut run = Run {
        recipe,
        dataset,
        device,
        folder,
        suite,
        log,
        bars,
        costs,
        entries,
        valid_users,
        audit,
        first_seen,
        tokens,
        tokens_told: 0,
    };
    run.all(text, root)
}

/// Locates, reads, filters and splits the data of a recipe.
pub(crate) fn prepare(recipe: &Recipe, root: &Path) -> Result<Dataset> {
    Ok(read(recipe, root)?.dataset)
}

fn read(recipe: &Recipe, root: &Path) -> Result<Prepared> {
    let config = match recipe.data.interactions {
        Some(_) => recipe.data.clone(),
        None => fetch::locate_data(&recipe.data_name, root)?.into_config(recipe.data.clone()),
    };
    Ok(ra_data::read(&recipe.data_name, &config)?)
}

/// What is wrong with the data, for the report.
fn audit(prepared: &Prepared) -> Vec<AuditFinding> {
    let finding = |found: ra_data::Finding| AuditFinding {
        name: found.name.into(),
        level: format!("{:?}", found.level).to_lowercase(),
        told: found.told,
        effect: found.effect.into(),
    };
    ra_data::audit(prepared).findings.into_iter().map(finding).collect()
}

/// Refuses figures that would be over nobody, and rows that would read titles where there are none.
fn check_support(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    if evaluated_users(dataset, Part::Test, &recipe.eval).is_empty() {
        let none = evaluated_users(dataset, Part::Test, &EvalConfig { repeats: Repeats::Kept, ..recipe.eval.clone() });
        match none.is_empty() {
            true => bail!("no user has a test interaction to be ranked by; hold more out ({})", dataset.split),
            false => bail!(
                "eval.repeats is skipped and every target is an item that its user had before: nobody is left to \
                 evaluate; set eval.repeats to \"kept\""
            ),
        }
    }
    let users = evaluated_users(dataset, Part::Test, &recipe.eval);
    let strangers = users.iter().filter(|&&user| dataset.train.row(user as usize).is_empty()).count();
    if let (true, Some(id)) = (strangers > 0, recipe.ids.iter().find(|id| id.knows_trained_users_only())) {
        tracing::warn!(
            users = strangers,
            of = users.len(),
            "users who are evaluated have no training interaction: {} has no vector for them, so that the tie rule decides",
            id.name()
        );
    }
    let reads_titles = |row: &Row| !matches!(row, Row::Id | Row::IdDirect);
    if recipe.rows.iter().any(reads_titles) || recipe.ids.iter().any(IdConfig::reads_features) {
        let titled = dataset.catalog.titles().iter().filter(|title| !title.trim().is_empty()).count();
        if titled == 0 {
            bail!(
                "not one of the {} items has a title, and a row of eval.rows or an ID method reads titles; name the file \
                 of titles by data.items (its ids must be those of the log), or set eval.rows to [\"id\"]",
                dataset.catalog.len()
            );
        }
    }
    Ok(())
}

/// Tells of users who had every item in training: what is drawn as a negative for them is an item that they had.
fn warn_of_full_users(dataset: &Dataset) {
    let items = dataset.catalog.len();
    let has_all = |row: &&[u32]| row.len() >= items && row.iter().collect::<HashSet<_>>().len() == items;
    let users = dataset.train.rows().filter(has_all).count();
    if users > 0 {
        let of = dataset.users.len();
        tracing::warn!(
            users,
            of,
            "users had every item in training: what is drawn as a negative for them is one they had"
        );
    }
}

/// The users whom a stage is validated on while it trains, `eval.select_users` of them, chosen once by seed.
fn validation_users(eval: &EvalConfig, dataset: &Dataset, seed: u64) -> Vec<u32> {
    let mut users = evaluated_users(dataset, Part::Valid, &EvalConfig { users: 0, ..eval.clone() });
    users.sort_by_key(|&user| ra_core::splitmix64(seed ^ u64::from(user)));
    if eval.select_users > 0 {
        users.truncate(eval.select_users);
    }
    users.sort_unstable();
    users
}

impl Run {
    fn all(&mut self, text: Option<Text>, root: &Path) -> Result<()> {
        let mut curves = Vec::new();
        let mut backbone = None;
        for config in self.recipe.ids.clone() {
            let (trained, mark) = self.id_model(&config, text.as_ref(), None)?;
            if self.recipe.rows.contains(&Row::Id) {
                let samples =
                    if config.reads_histories() { self.dataset.samples().len() } else { self.dataset.train.total() };
                let params = trainable_params(&trained.ledger);
                self.evaluate(
                    config.name(),
                    "id",
                    &*trained.model,
                    Training { samples, params, seconds: mark.seconds },
                )?;
            }
            if !mark.curve.points.is_empty() {
                curves.push(LearningCurve { name: config.name().into(), curve: mark.curve });
            }
            backbone = Some((config.name(), trained));
        }
        let mut trained_rows = Vec::new();
        if let Some(text) = text.as_ref().filter(|_| self.recipe.rows != [Row::Id]) {
            let (name, backbone) = backbone.context("a recipe has at least one [[id]] table")?;
            let tower =
                text.tower(&self.dataset.catalog, &self.recipe.prompt, &self.recipe.align, backbone.model.interests())?;
            if self.recipe.rows.contains(&Row::Text) {
                self.evaluate("text-only", "text", &*tower, Training::default())?;
            }
            trained_rows = self.aligned_rows((name, &backbone), (text, &tower), &mut curves)?;
        }
        self.report(curves, trained_rows, root)
    }

    pub(crate) fn lm_name(&self) -> String {
        match &self.recipe.lm.path {
            Some(path) => path.file_name().map_or_else(|| "lm".into(), |n| n.to_string_lossy().into_owned()),
            None => self.recipe.lm.name.clone(),
        }
    }

    pub(crate) fn cost(&mut self, stage: &str, since: Instant) -> f64 {
        let seconds = since.elapsed().as_secs_f64();
        tracing::info!(stage, seconds, "done");
        let read = self.tokens.load(Ordering::Relaxed);
        let tokens = Some(read - std::mem::replace(&mut self.tokens_told, read)).filter(|&tokens| tokens > 0);
        self.costs.push(StageCost { name: stage.into(), seconds, peak_mib: machine::peak_mib(), tokens });
        seconds
    }

    pub(crate) fn has_validation(&self) -> bool {
        !self.valid_users.is_empty()
    }

    /// What is maximised on the validation part: `eval.select`.
    pub(crate) fn validation(&self, model: &dyn Recommender) -> f64 {
        let eval = self.choosing();
        eval.criterion(&evaluate(model, &self.dataset, Part::Valid, &eval, Some(&self.valid_users), &Silent).metrics)
    }

    /// How models are chosen.
    pub(crate) fn choosing(&self) -> EvalConfig {
        self.recipe.eval.choosing()
    }

    /// Evaluates a model on the test part, makes its row and gives back its item vectors, `[items + 1, dim]`.
    pub(crate) fn evaluate(
        &mut self,
        name: &str,
        kind: &str,
        model: &dyn Recommender,
        trained: Training,
    ) -> Result<Tensor<2>> {
        let since = Instant::now();
        let keep_top = if self.recipe.eval.keep_top > 0 { self.recipe.eval.keep_top } else { SHOWN };
        let config = EvalConfig { keep_top, ..self.recipe.eval.clone() };
        let items = item_vectors(model, self.dataset.catalog.len());
        let mut evaluation = evaluate_items(model, &items, &self.dataset, Part::Test, &config, None, &self.bars);
        evaluation.seconds = self.cost(&format!("evaluate {name}"), since);
        self.folder.save_users(name, &self.dataset, &evaluation)?;
        let mut row = ra_eval::Row::new(name, kind, &evaluation);
        (row.train_samples, row.trainable_params, row.train_seconds) =
            (trained.samples, trained.params, trained.seconds);
        row.notes = self.recipe.notes(name, kind);
        self.entries.push((row, evaluation));
        Ok(items)
    }

    fn report(&mut self, curves: Vec<LearningCurve>, ledger: Vec<LedgerRow>, root: &Path) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let samples = self.sample_recommendations(&entries);
        // Differences are told against the method that was aligned: the last ID row.
        let baseline = entries.iter().rposition(|(row, _)| row.kind == "id");
        let ks = &self.recipe.eval.ks;
        let row = |(index, (row, own)): (usize, &(ra_eval::Row, Evaluation))| {
            let other = baseline.filter(|&other| other != index).map(|other| &entries[other]);
            let mut row = match other {
                Some((to, other)) => row.clone().against(&to.name, own, other, self.recipe.seed),
                None => row.clone(),
            };
            let other = other.map(|(_, other)| other);
            row.slices = slices(&self.dataset, Part::Test, own, other, ks, self.first_seen.as_deref());
            row
        };
        let mut rows: Vec<ra_eval::Row> = entries.iter().enumerate().map(row).collect();
        correct(&mut rows);
        let report = Report {
            recipe: self.recipe.name.clone(),
            run: String::new(),
            commit: machine::commit(root),
            seed: self.recipe.seed,
            backend: self.recipe.backend.name().into(),
            protocol: self.recipe.eval.protocol(&self.dataset),
            rows,
            ledger,
            stages: std::mem::take(&mut self.costs),
            curves,
            samples,
            machine: machine::describe(),
            audit: std::mem::take(&mut self.audit),
        };
        report.write(self.folder.path())?;
        self.folder.finish()?;
        print_table(&report);
        say!("\nreport: {}", self.folder.file("report.html").display());
        Ok(())
    }

    /// A few users' histories with what each row recommends.
    fn sample_recommendations(&self, entries: &[(ra_eval::Row, Evaluation)]) -> Vec<SampleRecommendation> {
        let Some((_, first)) = entries.first() else { return Vec::new() };
        let step = (first.users.len() / SAMPLE_USERS).max(1);
        let places = (0..first.users.len()).step_by(step).take(SAMPLE_USERS);
        let show = |place: usize| {
            let lists: Vec<(&str, &[u32])> =
                entries.iter().map(|(row, e)| (row.name.as_str(), e.top[place].as_slice())).collect();
            SampleRecommendation::new(&self.dataset, Part::Test, first.users[place], &lists)
        };
        places.map(show).collect()
    }
}
