//! The run-time choice of a method: one tagged enum, one match.
use crate::method::KnownUsers;
use crate::*;
use burn::tensor::{Device, Tensor};
use ra_core::{Curve, Dataset, IdModel, LedgerRow, Problem, Recommender, Result, ledger, load_module, save_module};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One `[[id]]` table of a recipe. A key that is left out has the method's own default, in `[id.train]` too.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum IdConfig {
    /// Popularity.
    Pop(PopularityConfig),
    /// First-order Markov chain.
    Markov(MarkovConfig),
    /// EASE.
    Ease(EaseConfig),
    /// Matrix factorization.
    Mf(MfConfig),
    /// LightGCN.
    LightGcn(LightGcnConfig),
    /// SASRec.
    Sasrec(SasRecConfig),
    /// GRU4Rec.
    Gru4Rec(Gru4RecConfig),
    /// BERT4Rec.
    Bert4Rec(Bert4RecConfig),
    /// ComiRec.
    ComiRec(ComiRecConfig),
    /// AlphaRec: items mapped from given vectors, users their mean.
    AlphaRec(AlphaRecConfig),
    /// UniSRec: SASRec over items mapped from given vectors.
    UniSRec(UniSRecConfig),
    /// Vectors made elsewhere.
    Import(ImportConfig),
}

impl<'de> Deserialize<'de> for IdConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        fn read<C: Default + Serialize + DeserializeOwned>(keys: Map<String, Value>) -> serde_json::Result<C> {
            let mut all = serde_json::to_value(C::default())?;
            merge(&mut all, Value::Object(keys));
            serde_json::from_value(all)
        }
        let mut keys = Map::deserialize(from)?;
        let kind = keys
            .remove("kind")
            .ok_or_else(|| D::Error::custom(format!("kind is missing; one of {}", Self::KINDS.join(", "))))?;
        let config = match kind.as_str().unwrap_or_default() {
            "pop" => read(keys).map(Self::Pop),
            "markov" => read(keys).map(Self::Markov),
            "ease" => read(keys).map(Self::Ease),
            "mf" => read(keys).map(Self::Mf),
            "lightgcn" => read(keys).map(Self::LightGcn),
            "sasrec" => read(keys).map(Self::Sasrec),
            "gru4rec" => read(keys).map(Self::Gru4Rec),
            "bert4rec" => read(keys).map(Self::Bert4Rec),
            "comirec" => read(keys).map(Self::ComiRec),
            "alpharec" => read(keys).map(Self::AlphaRec),
            "unisrec" => read(keys).map(Self::UniSRec),
            "import" => read(keys).map(Self::Import),
            _ => return Err(D::Error::custom(format!("kind is {kind}, it must be one of {}", Self::KINDS.join(", ")))),
        };
        config.map_err(D::Error::custom)
    }
}

/// Puts what is given over the defaults, tables within tables.
fn merge(into: &mut Value, given: Value) {
    match (into, given) {
        (Value::Object(into), Value::Object(given)) => {
            given.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, given) => *into = given,
    }
}

impl IdConfig {
    /// Every `kind`.
    pub const KINDS: [&str; 12] = [
        "pop", "markov", "ease", "mf", "lightgcn", "sasrec", "gru4rec", "bert4rec", "comirec", "alpharec", "unisrec",
        "import",
    ];

    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pop(_) => "pop",
            Self::Markov(_) => "markov",
            Self::Ease(_) => "ease",
            Self::Mf(_) => "mf",
            Self::LightGcn(_) => "lightgcn",
            Self::Sasrec(_) => "sasrec",
            Self::Gru4Rec(_) => "gru4rec",
            Self::Bert4Rec(_) => "bert4rec",
            Self::ComiRec(_) => "comirec",
            Self::AlphaRec(_) => "alpharec",
            Self::UniSRec(_) => "unisrec",
            Self::Import(_) => "import",
        }
    }

    /// What cannot work, by key: `dim`, `train.lr`.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = match self {
            Self::Pop(_) | Self::Markov(_) => Vec::new(),
            Self::Ease(config) => config.problems(),
            Self::Mf(config) => config.problems(),
            Self::LightGcn(config) => config.problems(),
            Self::Sasrec(config) => config.problems(),
            Self::Gru4Rec(config) => config.problems(),
            Self::Bert4Rec(config) => config.problems(),
            Self::ComiRec(config) => config.problems(),
            Self::AlphaRec(config) => config.problems(),
            Self::UniSRec(config) => config.problems(),
            Self::Import(config) => config.problems(),
        };
        let train = self.train().map(TrainConfig::problems).unwrap_or_default();
        found.extend(train.into_iter().map(|problem| problem.within("train")));
        found
    }

    /// What works and is hardly what anybody wants, by key: see [`TrainConfig::oddities`].
    pub fn oddities(&self) -> Vec<Problem> {
        let train = self.train().map(TrainConfig::oddities).unwrap_or_default();
        train.into_iter().map(|problem| problem.within("train")).collect()
    }

    /// [`problems`](Self::problems) as an error.
    ///
    /// # Errors
    /// The keys, their values and what is allowed.
    pub fn check(&self) -> std::result::Result<(), String> {
        Problem::refuse(&self.problems())
    }

    /// How it is trained, if it is.
    pub fn train(&self) -> Option<&TrainConfig> {
        match self {
            Self::Pop(_) | Self::Markov(_) | Self::Ease(_) | Self::Import(_) => None,
            Self::Mf(config) => Some(&config.train),
            Self::LightGcn(config) => Some(&config.train),
            Self::Sasrec(config) => Some(&config.train),
            Self::Gru4Rec(config) => Some(&config.train),
            Self::Bert4Rec(config) => Some(&config.train),
            Self::ComiRec(config) => Some(&config.train),
            Self::AlphaRec(config) => Some(&config.train),
            Self::UniSRec(config) => Some(&config.train),
        }
    }

    /// Whether training teaches it to read histories, so that it can be trained on some users and read the others. What is
    /// counted, imported or learned for each user alone (popularity, a Markov chain, MF, LightGCN) is none of these.
    pub fn reads_histories(&self) -> bool {
        match self {
            Self::Pop(_) | Self::Markov(_) | Self::Mf(_) | Self::LightGcn(_) | Self::Import(_) => false,
            Self::Ease(_) | Self::Sasrec(_) | Self::Gru4Rec(_) | Self::Bert4Rec(_) | Self::ComiRec(_) => true,
            Self::AlphaRec(_) | Self::UniSRec(_) => true,
        }
    }

    /// Whether a user is what training made of them: somebody it was not trained on has no vector. Popularity and a Markov
    /// chain have one for everybody, though no training teaches them to read ([`reads_histories`](Self::reads_histories)).
    pub fn knows_trained_users_only(&self) -> bool {
        match self {
            Self::Mf(_) | Self::LightGcn(_) => true,
            Self::Import(config) => config.users.is_some(),
            _ => false,
        }
    }

    /// Whether it adds to scores beyond the product of its vectors ([`Recommender::additions`]), so that its vectors alone are
    /// not the method and cannot be aligned.
    pub fn adds_to_scores(&self) -> bool {
        matches!(self, Self::Markov(_))
    }

    /// Whether it needs given item vectors.
    pub fn reads_features(&self) -> bool {
        matches!(self, Self::AlphaRec(_) | Self::UniSRec(_))
    }

    /// Every path in it, to be made absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let import = if let Self::Import(config) = self { Some(config.paths_mut()) } else { None };
        import.into_iter().flatten()
    }
}

/// A trained ID method.
#[derive(Debug)]
pub struct Trained {
    /// The frozen model.
    pub model: Box<dyn Recommender>,
    /// How training went.
    pub curve: Curve,
    /// What was trained.
    pub ledger: Vec<LedgerRow>,
    checkpoint: Option<Box<dyn Checkpoint>>,
}

/// A module that can be written down.
trait Checkpoint: std::fmt::Debug {
    fn save(&self, path: &Path) -> Result<()>;
}

impl<M: IdModel> Checkpoint for M {
    fn save(&self, path: &Path) -> Result<()> {
        save_module(self, path)
    }
}

impl Checkpoint for Ease {
    fn save(&self, path: &Path) -> Result<()> {
        save_module(self, path)
    }
}

impl Trained {
    fn counted(model: impl Recommender + 'static) -> Self {
        Self { model: Box::new(model), curve: Curve::default(), ledger: Vec::new(), checkpoint: None }
    }

    /// A method that is solved, not trained: it has a checkpoint and nothing in the ledger.
    fn solved(model: Ease) -> Self {
        Self { checkpoint: Some(Box::new(model.clone())), ..Self::counted(model) }
    }

    fn learned<M: IdModel + 'static>(model: &M, curve: Curve) -> Self {
        let ledger = ledger(model);
        Self { model: Box::new(model.fitted()), curve, ledger, checkpoint: Some(Box::new(model.valid())) }
    }

    /// The same without vectors of users who have no training interaction.
    fn of_known_users(self, dataset: &Dataset) -> Self {
        Self { model: Box::new(KnownUsers::new(self.model, dataset)), ..self }
    }

    /// Writes the trained parameters; a method without any writes nothing.
    ///
    /// # Errors
    /// As [`save_module`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.checkpoint.as_ref().map_or(Ok(()), |module| module.save(path))
    }
}

/// Trains a method on the training part of the data set; imported vectors are read.
///
/// # Errors
/// As [`train`] and [`ImportConfig::load`].
pub fn fit(config: &IdConfig, job: &Job<'_>) -> Result<Trained> {
    let device = job.device.clone().autodiff();
    let items = job.dataset.catalog.len();
    match config {
        IdConfig::Pop(_) => Ok(Trained::counted(Popularity::new(job.dataset, job.device))),
        IdConfig::Markov(_) => Ok(Trained::counted(Markov::new(job.dataset, job.device))),
        IdConfig::Ease(c) => Ok(Trained::solved(c.solve(job.dataset, job.device)?)),
        IdConfig::Mf(c) => {
            let fresh = c.init(job.dataset.users.len(), items, job.seed, &device);
            Ok(learn(fresh, &mut c.batches(job), &c.train, job)?.of_known_users(job.dataset))
        }
        IdConfig::LightGcn(c) => {
            let fresh = c.init(job.dataset, job.seed, &device);
            Ok(learn(fresh, &mut c.batches(job), &c.train, job)?.of_known_users(job.dataset))
        }
        IdConfig::Sasrec(c) => learn(c.init(items, job.seed, &device), &mut c.batches(job), &c.train, job),
        IdConfig::Gru4Rec(c) => learn(c.init(items, job.seed, &device), &mut c.batches(job), &c.train, job),
        IdConfig::Bert4Rec(c) => learn(c.init(items, job.seed, &device), &mut c.batches(job), &c.train, job),
        IdConfig::ComiRec(c) => learn(c.init(items, job.seed, &device), &mut c.batches(job), &c.train, job),
        IdConfig::AlphaRec(c) => {
            learn(c.init(given(job.features)?, job.seed, &device), &mut c.batches(job), &c.train, job)
        }
        IdConfig::UniSRec(c) => {
            learn(c.init(given(job.features)?, job.seed, &device), &mut c.batches(job), &c.train, job)
        }
        IdConfig::Import(c) => Ok(Trained::counted(c.load(job.dataset, job.device)?)),
    }
}

fn given(features: Option<&Tensor<2>>) -> Result<&Tensor<2>> {
    let (what, remedy) =
        ("a vector an item".into(), "give features, such as a language model's vectors of titles".into());
    features.ok_or(ra_core::Error::Missing { what, remedy })
}

fn learn<M: IdModel + 'static>(
    fresh: M,
    batches: &mut dyn Batches,
    config: &TrainConfig,
    job: &Job<'_>,
) -> Result<Trained> {
    let (model, curve) = train(fresh, batches, config, job)?;
    Ok(Trained::learned(&model, curve))
}

/// Loads what [`Trained::save`] wrote, with the features it was trained over; imported vectors are read from where they are.
///
/// # Errors
/// As [`load_module`] and [`ImportConfig::load`].
pub fn load(
    config: &IdConfig,
    dataset: &Dataset,
    features: Option<&Tensor<2>>,
    path: &Path,
    device: &Device,
) -> Result<Trained> {
    let (users, items) = (dataset.users.len(), dataset.catalog.len());
    match config {
        IdConfig::Pop(_) => Ok(Trained::counted(Popularity::new(dataset, device))),
        IdConfig::Markov(_) => Ok(Trained::counted(Markov::new(dataset, device))),
        IdConfig::Ease(c) => Ok(Trained::solved(load_module(c.init(items, device)?, path)?)),
        IdConfig::Mf(c) => Ok(loaded(c.init(users, items, 0, device), path)?.of_known_users(dataset)),
        IdConfig::LightGcn(c) => Ok(loaded(c.init(dataset, 0, device), path)?.of_known_users(dataset)),
        IdConfig::Sasrec(c) => loaded(c.init(items, 0, device), path),
        IdConfig::Gru4Rec(c) => loaded(c.init(items, 0, device), path),
        IdConfig::Bert4Rec(c) => loaded(c.init(items, 0, device), path),
        IdConfig::ComiRec(c) => loaded(c.init(items, 0, device), path),
        IdConfig::AlphaRec(c) => loaded(c.init(given(features)?, 0, device), path),
        IdConfig::UniSRec(c) => loaded(c.init(given(features)?, 0, device), path),
        IdConfig::Import(c) => Ok(Trained::counted(c.load(dataset, device)?)),
    }
}

fn loaded<M: IdModel + 'static>(fresh: M, path: &Path) -> Result<Trained> {
    Ok(Trained::learned(&load_module(fresh, path)?, Curve::default()))
}
