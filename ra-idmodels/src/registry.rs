//! Every method by its kind: the only list of them.
use crate::*;
use burn::tensor::Device;
use ra_core::{Check, IdModel, Problem, Result};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// A method, as its configuration: what it is told, and how it is fitted and loaded. A method with a module of its own
/// implements [`LearnedMethod`] instead.
///
/// Object-safe, so that methods of other crates stand beside those of this one: whoever reads experiment files matches
/// kinds of its own first, hands the others to [`IdConfig`], and has a `Box<dyn IdMethod>` either way.
pub trait IdMethod: Check + Debug + Send + Sync {
    /// Fits the method to the training part of the job's data set.
    ///
    /// # Errors
    /// What the method says, such as [`Error::Missing`](ra_core::Error::Missing) for vectors that it reads.
    fn fit(&self, job: &Job<'_>) -> Result<Trained>;

    /// Loads what [`Trained::save`] wrote to `path`, for the data set and the features that it was fitted to.
    ///
    /// # Errors
    /// What the method says of the file.
    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained>;

    /// How it is trained, if it is.
    fn train(&self) -> Option<&TrainConfig> {
        None
    }

    /// Whether training teaches it to read histories, so that it can be trained on some users and read the others. What
    /// is counted, imported or learned for each user alone (popularity, a Markov chain, MF, LightGCN) is none of these.
    fn reads_histories(&self) -> bool {
        false
    }

    /// Whether a user is what training made of them: somebody it was not trained on has no vector. Popularity and a
    /// Markov chain have one for everybody, though no training teaches them to read
    /// ([`reads_histories`](Self::reads_histories)).
    fn knows_trained_users_only(&self) -> bool {
        false
    }

    /// Whether it adds to scores beyond the product of its vectors ([`Recommender::additions`](
    /// ra_core::Recommender::additions)), so that its vectors alone are not the method and cannot be aligned.
    fn adds_to_scores(&self) -> bool {
        false
    }

    /// Whether it needs given item vectors, [`Job::features`].
    fn reads_features(&self) -> bool {
        false
    }

    /// Every path in it, to be made absolute.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }
}

/// A method that learns: a module of its own, and batches that it learns from. [`IdMethod`] follows from it.
pub trait LearnedMethod: Check + Debug + Send + Sync {
    /// The module that is trained.
    type Model: IdModel + 'static;

    /// [`IdMethod::reads_histories`]. What does not has learned a vector for each user alone, and nobody else has one:
    /// [`IdMethod::knows_trained_users_only`].
    const READS_HISTORIES: bool = true;

    /// [`IdMethod::reads_features`].
    const READS_FEATURES: bool = false;

    /// A fresh model, whose parameters are drawn by `seed`, on `device`.
    ///
    /// # Errors
    /// What the method says, such as [`Error::Missing`](ra_core::Error::Missing) for vectors that it reads.
    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Self::Model>;

    /// What it learns from.
    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a>;

    /// How it is trained.
    fn training(&self) -> &TrainConfig;
}

impl<M: LearnedMethod> IdMethod for M {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let fresh = self.fresh(job, job.seed, &job.training_device())?;
        Ok(Trained::fit(fresh, &mut *self.batches(job), self.training(), job)?.for_users_of::<M>(job))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        Ok(Trained::load(self.fresh(job, 0, job.device)?, path)?.for_users_of::<M>(job))
    }

    fn train(&self) -> Option<&TrainConfig> {
        Some(self.training())
    }

    fn reads_histories(&self) -> bool {
        M::READS_HISTORIES
    }

    fn knows_trained_users_only(&self) -> bool {
        !M::READS_HISTORIES
    }

    fn reads_features(&self) -> bool {
        M::READS_FEATURES
    }
}

/// Fits a method to the training part of the job's data set; imported vectors are read.
///
/// # Errors
/// As [`Check::check`] and [`IdMethod::fit`].
pub fn fit(method: &dyn IdMethod, job: &Job<'_>) -> Result<Trained> {
    method.check()?;
    method.fit(job)
}

/// Loads what [`Trained::save`] wrote, for the data set and the features it was fitted to; imported vectors are read
/// from where they are, and what is counted is counted again.
///
/// # Errors
/// As [`Check::check`] and [`IdMethod::load`].
pub fn load(method: &dyn IdMethod, job: &Job<'_>, path: &Path) -> Result<Trained> {
    method.check()?;
    method.load(job, path)
}

/// Writes the enum of all methods, what files call them, and the one dispatch.
macro_rules! methods {
    ($($(#[$doc:meta])* $kind:literal => $name:ident($config:ty),)+) => {
        /// One method of this crate with its settings, as a table with a key `kind`. A key that is left out has the
        /// method's own default, in the table `train` too; a key or a kind that does not exist is an error that lists
        /// those that do.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum IdConfig {
            $($(#[$doc])* #[serde(rename = $kind)] $name($config),)+
        }

        impl IdConfig {
            /// Every `kind`.
            pub const KINDS: &[&str] = &[$($kind),+];

            /// What files and tables call the method.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $kind,)+
                }
            }

            fn method(&self) -> &dyn IdMethod {
                match self {
                    $(Self::$name(config) => config,)+
                }
            }

            fn method_mut(&mut self) -> &mut dyn IdMethod {
                match self {
                    $(Self::$name(config) => config,)+
                }
            }

            fn read(kind: &str, keys: Map<String, Value>) -> Option<serde_json::Result<Self>> {
                match kind {
                    $($kind => Some(over_defaults(keys).map(Self::$name)),)+
                    _ => None,
                }
            }
        }
    };
}

methods! {
    /// Popularity.
    "pop" => Popularity(PopularityConfig),
    /// First-order Markov chain.
    "markov" => Markov(MarkovConfig),
    /// EASE.
    "ease" => Ease(EaseConfig),
    /// Matrix factorization.
    "mf" => Mf(MfConfig),
    /// LightGCN.
    "lightgcn" => LightGcn(LightGcnConfig),
    /// SASRec.
    "sasrec" => SasRec(SasRecConfig),
    /// GRU4Rec.
    "gru4rec" => Gru4Rec(Gru4RecConfig),
    /// BERT4Rec.
    "bert4rec" => Bert4Rec(Bert4RecConfig),
    /// ComiRec.
    "comirec" => ComiRec(ComiRecConfig),
    /// AlphaRec: items mapped from given vectors, users their mean.
    "alpharec" => AlphaRec(AlphaRecConfig),
    /// UniSRec: SASRec over items mapped from given vectors.
    "unisrec" => UniSRec(UniSRecConfig),
    /// Vectors made elsewhere.
    "import" => Import(ImportConfig),
}

impl<'de> Deserialize<'de> for IdConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let (mut keys, all) = (Map::deserialize(from)?, Self::KINDS.join(", "));
        let kind = keys.remove("kind").ok_or_else(|| D::Error::custom(format!("kind is missing; one of {all}")))?;
        let config = Self::read(kind.as_str().unwrap_or_default(), keys)
            .ok_or_else(|| D::Error::custom(format!("kind is {kind}, it must be one of {all}")))?;
        config.map_err(D::Error::custom)
    }
}

fn over_defaults<C: Default + Serialize + DeserializeOwned>(keys: Map<String, Value>) -> serde_json::Result<C> {
    let mut all = serde_json::to_value(C::default())?;
    merge(&mut all, Value::Object(keys));
    serde_json::from_value(all)
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

impl Check for IdConfig {
    fn problems(&self) -> Vec<Problem> {
        self.method().problems()
    }
    fn oddities(&self) -> Vec<Problem> {
        self.method().oddities()
    }
}

impl IdMethod for IdConfig {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        self.method().fit(job)
    }
    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        self.method().load(job, path)
    }
    fn train(&self) -> Option<&TrainConfig> {
        self.method().train()
    }
    fn reads_histories(&self) -> bool {
        self.method().reads_histories()
    }
    fn knows_trained_users_only(&self) -> bool {
        self.method().knows_trained_users_only()
    }
    fn adds_to_scores(&self) -> bool {
        self.method().adds_to_scores()
    }
    fn reads_features(&self) -> bool {
        self.method().reads_features()
    }
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.method_mut().paths_mut()
    }
}
