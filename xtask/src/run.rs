//! `cargo xtask run`: chains the stages of the crates. Each stage leaves a file, and `--resume` starts after the last
//! one that is there; a stage that was cut off starts again from its seed, so the result is the same.
use crate::folder::{IdMark, RunFolder, TowersMark, id_fingerprint};
use crate::print::{print_ledger, print_table};
use crate::progress::Bars;
use crate::recipe::{Recipe, Row};
use crate::{fetch, log, machine, suite};
use anyhow::{Context, Result, bail};
use burn::tensor::Tensor;
use ra_align::{Job, Layerwise, Prompts, RaRec, TextCache, TextTower, Towers};
use ra_core::{
    Backend, Dataset, Device, History, LanguageModel, LedgerRow, Recommender, Sample, Silent, ledger, open_device,
    trainable_params,
};
use ra_eval::{
    EvalConfig, Evaluation, LearningCurve, Part, Report, SampleRecommendation, StageCost, evaluate, evaluate_items,
    item_vectors,
};
use ra_idmodels::{IdConfig, Trained};
use ra_llm::PretrainedLm;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Users on whom a stage is validated while it trains, chosen once by seed.
const VALIDATION_USERS: usize = 2000;

/// Recommended titles and users that a report shows.
const SHOWN: usize = 10;
const SAMPLE_USERS: usize = 5;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct RunArgs {
    pub(crate) recipe: String,
    pub(crate) sets: Vec<String>,
    pub(crate) backend: Option<Backend>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) resume: bool,
}

/// What all stages share.
pub(crate) struct Run {
    pub(crate) recipe: Recipe,
    pub(crate) dataset: Dataset,
    pub(crate) device: Device,
    folder: RunFolder,
    bars: Bars,
    costs: Vec<StageCost>,
    entries: Vec<(ra_eval::Row, Evaluation)>,
    valid_users: Vec<u32>,
}

/// The frozen half of RA-Rec, ready to be aligned.
pub(crate) struct Text {
    pub(crate) tower: Arc<TextTower<Box<dyn LanguageModel>>>,
    pub(crate) fingerprint: String,
    pub(crate) params: usize,
}

/// RA-Rec with its parts chosen at run time.
type Aligned<'a> = RaRec<&'a Box<dyn Recommender>, Box<dyn LanguageModel>, Layerwise>;

/// What training a row cost.
#[derive(Debug, Clone, Copy, Default)]
struct Training {
    samples: usize,
    params: usize,
    seconds: f64,
}

pub(crate) fn run(args: &RunArgs, root: &Path) -> Result<()> {
    match Recipe::suite(&args.recipe, root)? {
        Some(members) => suite::run(args, &members, root),
        None => run_one(args, root),
    }
}

/// Runs a single recipe.
pub(crate) fn run_one(args: &RunArgs, root: &Path) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe, &args.sets, root)?;
    recipe.backend = args.backend.unwrap_or(recipe.backend);
    let device = open_device(recipe.backend)?;
    let dataset = prepare(&recipe, root)?;
    say!("{}", ra_data::describe(&dataset)?);
    // Whatever can be refused is refused before an earlier run is touched.
    let since = Instant::now();
    let text =
        recipe.rows.iter().any(|r| *r != Row::Id).then(|| load_text(&recipe, &dataset, &device, root)).transpose()?;
    let loaded = StageCost {
        name: "load language model".into(),
        seconds: since.elapsed().as_secs_f64(),
        peak_mib: machine::peak_mib(),
    };
    let out = args.out.clone().unwrap_or_else(|| root.join("runs").join(&recipe.name));
    let folder = RunFolder::open(&out, &recipe, &dataset, args.resume)?;
    log::write_to(&folder.file("log.jsonl"))?;
    tracing::info!(recipe = recipe.name, seed = recipe.seed, dataset = dataset.name, "run");
    let valid_users = sampled_users(&dataset, recipe.seed);
    if valid_users.is_empty() {
        tracing::warn!("nothing is held out for validation: every stage runs to its last step");
    }
    let (costs, entries) = (vec![loaded], Vec::new());
    let mut run = Run { recipe, dataset, device, folder, bars: Bars::new(), costs, entries, valid_users };
    run.all(text, root)
}

/// Locates, reads, filters and splits the data of a recipe.
pub(crate) fn prepare(recipe: &Recipe, root: &Path) -> Result<Dataset> {
    let config = match recipe.data.interactions {
        Some(_) => recipe.data.clone(),
        None => fetch::locate_data(&recipe.data_name, root)?.into_config(recipe.data.clone()),
    };
    Ok(ra_data::prepare(&recipe.data_name, &config)?)
}

/// Loads the language model of a recipe and its prompts over a catalogue.
pub(crate) fn load_text(recipe: &Recipe, dataset: &Dataset, device: &Device, root: &Path) -> Result<Text> {
    let path = match &recipe.lm.path {
        Some(path) => path.clone(),
        None => fetch::locate_model(&recipe.lm.name, root)?,
    };
    let PretrainedLm { model, tokenizer, fingerprint, params } = ra_llm::load(&path, recipe.lm.pooling, device)?;
    let spec = model.spec();
    recipe.align.check(&spec).map_err(anyhow::Error::msg)?;
    let cache = TextCache::new(&model, &recipe.align);
    let prompts = Prompts::new(&tokenizer, &dataset.catalog, &recipe.prompt, spec.max_tokens);
    if prompts.user(&History { user: 0, items: &[] }).len() > spec.max_tokens {
        bail!("prompt.user is longer than the {} tokens that the language model reads; shorten it", spec.max_tokens);
    }
    let tower = Arc::new(TextTower { lm: model, prompts, cache, normalize: recipe.align.normalize });
    Ok(Text { tower, fingerprint: fingerprint.to_string(), params })
}

fn sampled_users(dataset: &Dataset, seed: u64) -> Vec<u32> {
    let mut users: Vec<u32> =
        (0..dataset.users.len() as u32).filter(|&u| !dataset.valid.row(u as usize).is_empty()).collect();
    users.sort_by_key(|&u| ra_core::splitmix64(seed ^ u64::from(u)));
    users.truncate(VALIDATION_USERS);
    users.sort_unstable();
    users
}

impl Run {
    fn all(&mut self, text: Option<Text>, root: &Path) -> Result<()> {
        let mut curves = Vec::new();
        let mut backbone = None;
        for config in self.recipe.ids.clone() {
            let (trained, mark) = self.id_model(&config)?;
            if self.recipe.rows.contains(&Row::Id) {
                let samples = config.train().map_or(self.dataset.train.total(), |_| self.dataset.samples().len());
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
        if let Some(text) = &text {
            let (name, backbone) = backbone.context("a recipe has at least one [[id]] table")?;
            self.warm(text, root);
            if self.recipe.rows.contains(&Row::Text) {
                self.evaluate("text-only", "text", &*text.tower, Training::default())?;
            }
            if self.recipe.rows.contains(&Row::RaRec) {
                let (model, mark) = self.align(&backbone, text)?;
                trained_rows = ledger(&model.towers);
                let training =
                    Training { samples: mark.samples, params: trainable_params(&trained_rows), seconds: mark.seconds };
                let label = format!("ra-rec({name}, {})", self.lm_name());
                let items = self.evaluate(&label, "ra-rec", &model, training)?;
                curves.push(LearningCurve { name: "ra-rec".into(), curve: mark.curve });
                self.folder.save_items(items)?;
                print_ledger(&trained_rows, text.params);
            }
        }
        self.report(curves, trained_rows, root)?;
        // What is left is a convenience: a full disk must not lose a finished run.
        if let Some(text) = &text
            && let Err(error) = text.tower.cache.save(&self.cache_path(text, root))
        {
            tracing::warn!(%error, "the text cache is not kept");
        }
        Ok(())
    }

    fn lm_name(&self) -> String {
        match &self.recipe.lm.path {
            Some(path) => path.file_name().map_or_else(|| "lm".into(), |n| n.to_string_lossy().into_owned()),
            None => self.recipe.lm.name.clone(),
        }
    }

    fn cost(&mut self, stage: &str, since: Instant) -> f64 {
        let seconds = since.elapsed().as_secs_f64();
        tracing::info!(stage, seconds, "done");
        self.costs.push(StageCost { name: stage.into(), seconds, peak_mib: machine::peak_mib() });
        seconds
    }

    /// Trains an ID method, or takes the checkpoint of the run folder.
    fn id_model(&mut self, config: &IdConfig) -> Result<(Trained, IdMark)> {
        if let Some(mark) = self.folder.id_mark(config)? {
            let trained = ra_idmodels::load(config, &self.dataset, &self.folder.id_checkpoint(config), &self.device)?;
            return Ok((trained, mark));
        }
        let since = Instant::now();
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let state = self.folder.id_state(config);
        let job = ra_idmodels::Job {
            dataset: &self.dataset,
            device: &self.device,
            seed: self.recipe.seed,
            validate: self.has_validation().then_some(metric),
            progress: &self.bars,
            state: Some(&state),
        };
        let trained = ra_idmodels::fit(config, &job)?;
        let seconds = self.cost(&format!("train {}", config.name()), since);
        let mark = IdMark { curve: trained.curve.clone(), seconds, epochs: config.train().map(|train| train.epochs) };
        self.folder.save_id(config, &trained, &mark)?;
        Ok((trained, mark))
    }

    fn has_validation(&self) -> bool {
        !self.valid_users.is_empty()
    }

    /// What is maximised on the validation part: NDCG@10 plus a quarter of HR@100, so that neither end is forgotten.
    fn validation(&self, model: &dyn Recommender) -> f64 {
        let config = EvalConfig { ks: vec![10, 100], ..self.recipe.eval.clone() };
        let found = evaluate(model, &self.dataset, Part::Valid, &config, Some(&self.valid_users), &Silent);
        found.metrics["ndcg@10"] + 0.25 * found.metrics["hr@100"]
    }

    /// Takes over what earlier runs computed of the same texts.
    fn warm(&self, text: &Text, root: &Path) {
        let path = self.cache_path(text, root);
        if path.exists() && text.tower.cache.load(&path).is_err() {
            tracing::warn!(path = %path.display(), "the text cache is not whole and is made again");
        }
    }

    /// Constants of texts depend on the weights, the first injected layer, the pooling and who computed them.
    fn cache_path(&self, text: &Text, root: &Path) -> PathBuf {
        let spec = text.tower.lm.spec();
        let key = format!(
            "{} {} {} {} {:?} {}",
            env!("CARGO_PKG_VERSION"),
            self.recipe.backend.name(),
            text.fingerprint,
            self.recipe.align.first_layer(&spec),
            spec.pooling,
            self.recipe.align.loss != ra_align::AlignLoss::None,
        );
        root.join("cache").join(format!("text-{}.safetensors", ra_core::fingerprint([key.as_bytes()])))
    }

    /// Trains the towers, or takes the checkpoint of the run folder.
    fn align<'a>(&mut self, backbone: &'a Trained, text: &Text) -> Result<(Aligned<'a>, TowersMark)> {
        let (towers, mark) = match self.folder.towers_mark()? {
            Some(mark) => (load_towers(&self.folder, &mark, &self.recipe, (backbone, &self.dataset), text)?, mark),
            None => self.train_towers(backbone, text)?,
        };
        let (ids, scale, text) = (&backbone.model, mark.scale.clone(), text.tower.clone());
        Ok((RaRec { ids, scale, text, towers }, mark))
    }

    fn train_towers(&mut self, backbone: &Trained, text: &Text) -> Result<(Towers<Layerwise>, TowersMark)> {
        let since = Instant::now();
        let ids = id_fingerprint(&*backbone.model, &self.dataset);
        let curated =
            ra_data::curate(&self.dataset, &self.recipe.curate, self.recipe.data.max_history, self.recipe.seed);
        say!("{curated}");
        let samples: Vec<Sample> = curated.samples;
        if samples.is_empty() {
            bail!("data.curate leaves no sample; raise its budget or switch denoise off");
        }
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let state = self.folder.file("checkpoints/towers.state.safetensors");
        let job = Job {
            ids: &backbone.model,
            text: &text.tower,
            dataset: &self.dataset,
            samples: &samples,
            max_history: self.recipe.data.max_history,
            align: &self.recipe.align,
            train: &self.recipe.train,
            seed: self.recipe.seed,
            state: Some(&state),
        };
        let (towers, scale, curve) = ra_align::fit(&job, self.has_validation().then_some(metric), &self.bars)?;
        let seconds = self.cost("align", since);
        let mark = TowersMark { scale, curve, seconds, samples: samples.len(), lm: text.fingerprint.clone(), ids };
        self.folder.save_towers(&towers, &mark)?;
        Ok((towers, mark))
    }

    /// Evaluates a model on the test part, makes its row and gives back its item vectors, `[items + 1, dim]`.
    fn evaluate(&mut self, name: &str, kind: &str, model: &dyn Recommender, trained: Training) -> Result<Tensor<2>> {
        let since = Instant::now();
        let config = EvalConfig { keep_top: SHOWN, ..self.recipe.eval.clone() };
        let items = item_vectors(model, self.dataset.catalog.len());
        let mut evaluation = evaluate_items(model, &items, &self.dataset, Part::Test, &config, None, &self.bars);
        evaluation.seconds = self.cost(&format!("evaluate {name}"), since);
        self.folder.save_users(name, &self.dataset, &evaluation)?;
        let mut row = ra_eval::Row::new(name, kind, &evaluation);
        (row.train_samples, row.trainable_params, row.train_seconds) =
            (trained.samples, trained.params, trained.seconds);
        self.entries.push((row, evaluation));
        Ok(items)
    }

    fn report(&mut self, curves: Vec<LearningCurve>, ledger: Vec<LedgerRow>, root: &Path) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let samples = self.sample_recommendations(&entries);
        // Differences are told against the method that was aligned: the last ID row.
        let baseline = entries.iter().rposition(|(row, _)| row.kind == "id");
        let rows = entries.iter().enumerate().map(|(index, (row, own))| match baseline {
            Some(other) if other != index => {
                row.clone().against(&entries[other].0.name, own, &entries[other].1, self.recipe.seed)
            }
            _ => row.clone(),
        });
        let report = Report {
            recipe: self.recipe.name.clone(),
            commit: machine::commit(root),
            seed: self.recipe.seed,
            backend: self.recipe.backend.name().into(),
            protocol: self.recipe.eval.protocol(&self.dataset),
            rows: rows.collect(),
            ledger,
            stages: std::mem::take(&mut self.costs),
            curves,
            samples,
            machine: machine::describe(),
        };
        report.write(self.folder.path())?;
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

/// Loads the towers of a run folder for use with an ID method and a language model.
///
/// # Errors
/// When they were trained against other ID vectors or another language model.
pub(crate) fn load_towers(
    folder: &RunFolder,
    mark: &TowersMark,
    recipe: &Recipe,
    (backbone, dataset): (&Trained, &Dataset),
    text: &Text,
) -> Result<Towers<Layerwise>> {
    let path = folder.towers_checkpoint();
    if mark.lm != text.fingerprint {
        bail!("{}: aligned to another language model; set lm.path to the one of the run, or run again", path.display());
    }
    if mark.ids != id_fingerprint(&*backbone.model, dataset) {
        bail!(
            "{}: aligned to other ID vectors; bring checkpoints/ back as the run left it, or run again",
            path.display()
        );
    }
    let (spec, device) = (text.tower.lm.spec(), text.tower.lm.device());
    let fresh = recipe.align.towers(backbone.model.dim(), &spec, 0, &device);
    Ok(ra_core::load_module(fresh, &path)?)
}
