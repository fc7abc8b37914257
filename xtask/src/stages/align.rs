//! The rows of a report that train an alignment module: RA-Rec and its rivals, by the same trainer.
use crate::recipe::{Recipe, Row};
use crate::stages::evaluate::{Run, Training};
use crate::stages::id_models::Fold;
use crate::stages::text::{Text, Tower};
use crate::store::{RunFolder, TowersMark, id_fingerprint};
use anyhow::{Result, bail};
use ra_align::{
    AlignConfig, AlignLoss, Altered, ColdByText, CrossFitted, IdScale, IdSource, Job, Layerwise, LiftedCold, Placement,
    ProjectionKind, PromptConfig, RaRec, Towers, Tuning, user_vectors, with_id_score,
};
use ra_core::{Catalog, Dataset, History, LanguageModel, Recommender, Sample, ledger, trainable_params};
use ra_eval::LearningCurve;
use ra_idmodels::{IdConfig, Trained};
use std::time::Instant;

/// RA-Rec with its parts chosen at run time.
pub(crate) type Aligned<'a> = RaRec<Altered<&'a dyn Recommender>, &'a dyn LanguageModel, Layerwise>;

/// What a row aligns.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Names checkpoints.
    pub(crate) name: &'static str,
    pub(crate) align: AlignConfig,
    /// Items are called by their number instead of their title.
    numbered: bool,
}

impl Plan {
    /// The plan of a row that trains; nothing for the others.
    pub(crate) fn of(row: Row, recipe: &Recipe) -> Option<Self> {
        let own = recipe.align.clone();
        // As many rows as RA-Rec has for a user of one interest, all of them an instruction.
        let (projection, n_ctx) = (ProjectionKind::None, own.n_ctx + own.n_tok);
        let no_id = AlignConfig { projection, n_ctx, cross_fit: 0, distill: 0.0, ..own.clone() };
        let tuned = |align: &AlignConfig, tune| AlignConfig { tune, loss: AlignLoss::None, ..align.clone() };
        let lora = Tuning::Lora(8);
        let (name, align) = match row {
            Row::RaRec => ("ra-rec", own),
            Row::PrefixOnly => ("prefix-only", no_id),
            Row::IdDirect => ("id-direct", no_id),
            Row::SoftToken => ("soft-token", AlignConfig { placement: Placement::Input, first_layer: 0, ..own }),
            Row::IdResidual => ("id-residual", AlignConfig { id_residual: true, ..own }),
            Row::Distilled => {
                let distill = if own.distill > 0.0 { own.distill } else { AlignConfig::DISTILL };
                ("distilled", AlignConfig { distill, ..own })
            }
            Row::Head => ("head", AlignConfig { head: true, ..own }),
            Row::Lora => ("lora", tuned(&own, lora)),
            Row::LoraText => ("lora-text", tuned(&no_id, lora)),
            Row::FineTuned => ("fine-tuned", tuned(&own, Tuning::Full)),
            Row::FineTunedText => ("fine-tuned-text", tuned(&no_id, Tuning::Full)),
            Row::Id | Row::Text | Row::Probes | Row::ColdLift => return None,
        };
        let numbered = row == Row::IdDirect;
        Some(Self { name, align, numbered })
    }

    /// Whether the ID method takes part: its vectors, or its own score.
    fn reads_ids(&self) -> bool {
        self.align.reads_ids() || self.align.id_residual
    }

    /// Whether it is trained without the loss that the recipe ties prefixes to texts by, which is then said in its
    /// name.
    fn drops_loss(&self, recipe: &Recipe) -> bool {
        self.align.loss != recipe.align.loss
    }

    /// Whether it is RA-Rec's towers and the weight of the ID method's own score.
    fn only_weighs_ids(&self, recipe: &Recipe) -> bool {
        let weighed = AlignConfig { id_residual: true, ..recipe.align.clone() };
        recipe.rows.contains(&Row::RaRec) && self.align != recipe.align && self.align == weighed
    }

    /// Whether what the ID method says of a user takes part.
    pub(crate) fn reads_users(&self) -> bool {
        self.align.projection != ProjectionKind::None || self.align.id_residual
    }

    /// Whether it reads what RA-Rec reads.
    fn shares_texts(&self, recipe: &Recipe) -> bool {
        let kind = |align: &AlignConfig| (align.placement, align.loss, align.tune == Tuning::None);
        !self.numbered && kind(&self.align) == kind(&recipe.align)
    }
}

/// A catalogue whose items are called by their numbers, as P5 does.
fn numbered(catalog: &Catalog) -> Catalog {
    let all = || catalog.all();
    Catalog::new(all().map(|i| catalog.id(i).to_owned()).collect(), all().map(|i| format!("item_{i}")).collect())
}

impl Run {
    /// Trains, or loads, and evaluates the rows that align `backbone` to `text`; gives back what RA-Rec trained.
    pub(crate) fn aligned_rows(
        &mut self,
        (name, backbone): (&str, &Trained),
        (text, tower): (&Text, &Tower<'_>),
        curves: &mut Vec<LearningCurve>,
    ) -> Result<Vec<ra_core::LedgerRow>> {
        let mut trained = Vec::new();
        let identity = id_identity(&self.folder, &self.recipe, backbone, &self.dataset)?;
        let plans = self.recipe.rows.iter().filter_map(|&row| Plan::of(row, &self.recipe));
        let has_loss = plans.filter(|plan| !plan.drops_loss(&self.recipe)).count() > 0;
        for row in self.recipe.rows.clone() {
            let Some(plan) = Plan::of(row, &self.recipe) else { continue };
            let interests = backbone.model.interests();
            let own = match plan.shares_texts(&self.recipe) {
                true => tower.clone(),
                false if plan.numbered => {
                    text.tower(&numbered(&self.dataset.catalog), &self.recipe.prompt, &plan.align, interests)?
                }
                false => text.tower(&self.dataset.catalog, &self.recipe.prompt, &plan.align, interests)?,
            };
            if has_loss && plan.drops_loss(&self.recipe) {
                tracing::warn!(
                    row = plan.name,
                    "trained without align.loss, which other rows have: a tuned language model changes the texts that it \
                     aligns to; for rows of one loss set align.loss = \"none\""
                );
            }
            let (model, mark) = self.align(&plan, (backbone, &identity), (text, &own))?;
            let rows = ledger(&model.towers);
            let of = if plan.reads_ids() { format!("{name}, {}", self.lm_name()) } else { self.lm_name() };
            let label = match plan.drops_loss(&self.recipe) {
                true => format!("{}({of}, without align.loss)", plan.name),
                false => format!("{}({of})", plan.name),
            };
            let costs = Training { samples: mark.samples, params: trainable_params(&rows), seconds: mark.seconds };
            let items = self.evaluate(&label, plan.name, &model, costs)?;
            if !plan.only_weighs_ids(&self.recipe) {
                curves.push(LearningCurve { name: plan.name.into(), curve: mark.curve.clone() });
            }
            self.folder.save_items(plan.name, items)?;
            if row == Row::RaRec {
                crate::terminal::table::print_ledger(&rows, text.params());
                if self.recipe.rows.contains(&Row::Probes) {
                    self.probes(&model, backbone, text)?;
                }
                if self.recipe.rows.contains(&Row::ColdLift) {
                    self.cold_lift(&model, name, backbone, costs)?;
                }
                trained = rows;
            }
        }
        Ok(trained)
    }

    /// Evaluates a trained RA-Rec on ID vectors that are not the user's and item's own, and on titles out of order: what
    /// it loses is what it read from them. And with cold items told by their titles alone.
    fn probes(&mut self, model: &Aligned<'_>, backbone: &Trained, text: &Text) -> Result<()> {
        let costs = Training::default();
        for (name, source) in [("zero", IdSource::Zero), ("permuted", IdSource::Permuted), ("random", IdSource::Random)]
        {
            // Not the order of `align.ids`, and on the scale that the towers know: the probe is of content.
            let ids = Altered::new(&*backbone.model, source, &self.dataset, !self.recipe.seed);
            let histories: Vec<History<'_>> =
                (0..).zip(self.dataset.train.rows()).map(|(user, items)| History { user, items }).collect();
            let all: Vec<u32> = self.dataset.catalog.all().collect();
            let scale = IdScale::measure(user_vectors(&ids, &histories), ids.items(&all));
            let towers = model.towers.clone();
            let probe = RaRec { ids, scale, text: model.text.clone(), towers };
            self.evaluate(&format!("ra-rec, {name} IDs"), "probe", &probe, costs)?;
        }
        if self.dataset.popularity()[1..].contains(&0) {
            let model = self.cold_by_title(model, backbone);
            self.evaluate("ra-rec, cold items by title", "probe", &model, costs)?;
        }
        let prompt = PromptConfig { shuffle: true, ..self.recipe.prompt.clone() };
        let tower = text.tower(&self.dataset.catalog, &prompt, &self.recipe.align, backbone.model.interests())?;
        let ids = Altered::new(&*backbone.model, self.recipe.align.ids, &self.dataset, self.recipe.seed);
        let (scale, towers) = (model.scale.clone(), model.towers.clone());
        self.evaluate("ra-rec, shuffled titles", "probe", &RaRec { ids, scale, text: tower, towers }, costs)?;
        Ok(())
    }

    /// `model` that has no ID of cold items.
    fn cold_by_title<'a>(&self, model: &Aligned<'a>, backbone: &'a Trained) -> impl Recommender + use<'a> {
        let ids = ColdByText::new(&*backbone.model, &self.dataset);
        let ids = Altered::new(ids, self.recipe.align.ids, &self.dataset, self.recipe.seed);
        RaRec { ids, scale: model.scale.clone(), text: model.text.clone(), towers: model.towers.clone() }
    }

    fn cold_lift(&mut self, model: &Aligned<'_>, name: &str, backbone: &Trained, costs: Training) -> Result<()> {
        let since = Instant::now();
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let model = self.cold_by_title(model, backbone);
        let lifted = LiftedCold::chosen(model, &self.dataset, self.has_validation().then_some(metric))?;
        self.cost("choose the lift of cold items", since);
        self.evaluate(&format!("cold-lift({name}, {})", self.lm_name()), "cold-lift", &lifted, costs)?;
        Ok(())
    }

    /// Trains the towers of a plan, or takes the checkpoint of the run folder.
    fn align<'a>(
        &mut self,
        plan: &Plan,
        (backbone, identity): (&'a Trained, &str),
        (text, tower): (&Text, &Tower<'a>),
    ) -> Result<(Aligned<'a>, TowersMark)> {
        let ids = Altered::new(&*backbone.model, plan.align.ids, &self.dataset, self.recipe.seed);
        let (towers, mark) = match self.folder.towers_mark(plan.name)? {
            Some(mark) => (self.folder.load_towers(plan.name, &mark, &plan.align, identity, (backbone, text))?, mark),
            None => match self.folder.towers_mark("ra-rec")? {
                Some(mark) if plan.only_weighs_ids(&self.recipe) => {
                    self.weigh_ids(plan, mark, (backbone, identity), &ids, (text, tower))?
                }
                _ => self.train_towers(plan, (backbone, identity), &ids, (text, tower))?,
            },
        };
        Ok((RaRec { ids, scale: mark.scale.clone(), text: tower.clone(), towers }, mark))
    }

    /// The towers of RA-Rec, and the weight of the ID method's own score.
    fn weigh_ids(
        &mut self,
        plan: &Plan,
        mark: TowersMark,
        (backbone, identity): (&Trained, &str),
        ids: &Altered<&dyn Recommender>,
        (text, tower): (&Text, &Tower<'_>),
    ) -> Result<(Towers<Layerwise>, TowersMark)> {
        let since = Instant::now();
        let towers = self.folder.load_towers("ra-rec", &mark, &self.recipe.align, identity, (backbone, text))?;
        let model = RaRec { ids, scale: mark.scale.clone(), text: tower.clone(), towers };
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let towers = with_id_score(model, self.has_validation().then_some(metric))?.towers;
        let seconds = mark.seconds + self.cost(&format!("align {}", plan.name), since);
        let mark = TowersMark { seconds, ..mark };
        self.folder.save_towers(plan.name, &towers, &mark)?;
        Ok((towers, mark))
    }

    fn train_towers(
        &mut self,
        plan: &Plan,
        (backbone, identity): (&Trained, &str),
        ids: &Altered<&dyn Recommender>,
        (text, tower): (&Text, &Tower<'_>),
    ) -> Result<(Towers<Layerwise>, TowersMark)> {
        let folds = self.folds(plan.align.cross_fit, text)?;
        let since = Instant::now();
        let (longest, seed) = (self.recipe.data.max_history, self.recipe.seed);
        let curated = ra_data::curate(&self.dataset, &self.recipe.curate, longest, seed, Some(&*backbone.model))?;
        say!("{curated}");
        let samples: Vec<Sample> = curated.samples;
        if samples.is_empty() {
            bail!("data.curate leaves no sample; raise its budget or switch denoise off");
        }
        let all: Vec<u32> = self.dataset.catalog.all().collect();
        let crossed = CrossFitted::new(&*backbone.model, folds.iter().map(|fold| &*fold.model).collect(), &all);
        let crossed = Altered::new(&crossed as &dyn Recommender, plan.align.ids, &self.dataset, self.recipe.seed);
        let metric: &dyn Fn(&dyn Recommender) -> f64 = &|model| self.validation(model);
        let state = self.folder.towers_state(plan.name)?;
        let job = Job {
            ids,
            training_ids: (!folds.is_empty()).then_some(&crossed as &dyn Recommender),
            text: tower,
            dataset: &self.dataset,
            samples: &samples,
            max_history: self.recipe.data.max_history,
            align: &plan.align,
            train: &self.recipe.train,
            seed: self.recipe.seed,
            state: Some(&state),
            replicas: &text.replicas(),
        };
        let samples = job.reach().len();
        self.log.begin(plan.name);
        let (towers, scale, curve) = ra_align::fit(&job, self.has_validation().then_some(metric), &self.bars)?;
        let seconds = self.cost(&format!("align {}", plan.name), since).max(curve.seconds);
        let mark = TowersMark { scale, curve, seconds, samples, lm: text.identity(), ids: identity.into() };
        self.folder.save_towers(plan.name, &towers, &mark)?;
        Ok((towers, mark))
    }

    /// The aligned ID method, trained without each fold of users.
    fn folds(&mut self, of: usize, text: &Text) -> Result<Vec<Trained>> {
        let Some(config) = self.recipe.ids.last().cloned() else { return Ok(Vec::new()) };
        (0..of).map(|index| Ok(self.id_model(&config, Some(text), Some(Fold { index, of }))?.0)).collect()
    }
}

/// The ID method that is aligned, as towers know it.
fn id_identity(folder: &RunFolder, recipe: &Recipe, backbone: &Trained, dataset: &Dataset) -> Result<String> {
    let name = recipe.ids.last().map(IdConfig::name).unwrap_or_default();
    id_fingerprint(&*backbone.model, dataset, &folder.id_checkpoint(name))
}

/// The model of a plan in a finished run; nothing where the run did not train it.
pub(crate) fn load<'a>(
    folder: &RunFolder,
    (recipe, plan): (&Recipe, &Plan),
    (backbone, dataset): (&'a Trained, &Dataset),
    text: &'a Text,
) -> Result<Option<Aligned<'a>>> {
    let Some(mark) = folder.towers_mark(plan.name)? else { return Ok(None) };
    let ids = Altered::new(&*backbone.model, plan.align.ids, dataset, recipe.seed);
    let identity = id_identity(folder, recipe, backbone, dataset)?;
    let towers = folder.load_towers(plan.name, &mark, &plan.align, &identity, (backbone, text))?;
    let own = plan.numbered.then(|| numbered(&dataset.catalog));
    let catalog = own.as_ref().unwrap_or(&dataset.catalog);
    let tower = text.tower(catalog, &recipe.prompt, &plan.align, backbone.model.interests())?;
    Ok(Some(RaRec { ids, scale: mark.scale, text: tower, towers }))
}
