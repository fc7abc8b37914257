//! The only list of all methods, by kind.
use crate::*;
use burn::tensor::Device;
use ra_core::{Check, IdModel, Problem, Result, load_module_by_item};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// A method as its configuration: its settings, and how it is fitted and loaded. A method with a trained module
/// implements [`LearnedMethod`] instead.
///
/// The trait is object-safe, so that methods of other crates can stand beside those of this one: code that reads
/// experiment files matches its own kinds first and passes the others to [`IdConfig`], and gets a `Box<dyn IdMethod>`
/// either way.
pub trait IdMethod: Check + Debug + Send + Sync {
    /// Fits the method to the training part of the job's data set.
    ///
    /// # Errors
    /// Errors of the method, such as [`Error::Missing`](ra_core::Error::Missing) if vectors that it reads are not
    /// given.
    fn fit(&self, job: &Job<'_>) -> Result<Trained>;

    /// Loads what [`Trained::save`] wrote to `path`, for the data set and features that it was fitted to.
    ///
    /// # Errors
    /// Errors of the method about the file.
    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained>;

    /// Returns the training settings, if the method is trained.
    fn train(&self) -> Option<&TrainConfig> {
        None
    }

    /// Returns whether training teaches the method to read histories, so that it can be trained on some users and
    /// applied to others. This is false for methods that count, import or learn a vector for each user separately
    /// (popularity, a Markov chain, MF, LightGCN).
    fn reads_histories(&self) -> bool {
        false
    }

    /// Returns whether only users that it was trained on have a vector. Popularity and a Markov chain have one for
    /// every user, although training does not teach them to read histories
    /// ([`reads_histories`](Self::reads_histories)).
    fn knows_trained_users_only(&self) -> bool {
        false
    }

    /// Returns whether scores contain more than the dot product of the vectors ([`Recommender::additions`](
    /// ra_core::Recommender::additions)), so that the vectors alone cannot represent the method and cannot be aligned.
    fn adds_to_scores(&self) -> bool {
        false
    }

    /// Returns whether the method needs given item vectors ([`Job::features`]).
    fn reads_features(&self) -> bool {
        false
    }

    /// Returns whether the method reads the titles of the catalogue itself.
    fn reads_titles(&self) -> bool {
        false
    }

    /// Returns every path in the settings, so that the caller can make it absolute.
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }
}

/// A method that learns: its module, and the batches to train it on. Implements [`IdMethod`].
pub trait LearnedMethod: Check + Debug + Send + Sync {
    /// The trained module.
    type Model: IdModel + 'static;

    /// The value of [`IdMethod::reads_histories`]. If `false`, the method learns a vector for each user separately, and
    /// other users have none: [`IdMethod::knows_trained_users_only`].
    const READS_HISTORIES: bool = true;

    /// The value of [`IdMethod::reads_features`].
    const READS_FEATURES: bool = false;

    /// Returns [`IdMethod::reads_features`], for a method whose settings decide that.
    fn wants_features(&self) -> bool {
        Self::READS_FEATURES
    }

    /// Creates a model on `device` with initial parameters drawn from `seed`.
    ///
    /// # Errors
    /// Errors of the method, such as [`Error::Missing`](ra_core::Error::Missing) if vectors that it reads are not
    /// given.
    fn fresh(&self, job: &Job<'_>, seed: u64, device: &Device) -> Result<Self::Model>;

    /// Returns the training batches.
    fn batches<'a>(&self, job: &Job<'a>) -> Box<dyn Batches + 'a>;

    /// Returns the training settings.
    fn training(&self) -> &TrainConfig;
}

impl<M: LearnedMethod> IdMethod for M {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        // Fit and the job compare the training settings themselves, so that a longer training can resume a shorter one.
        let settings = format!("{self:?}").replace(&format!("{:?}", self.training()), "");
        let job = &job.method(&settings);
        let job = if M::READS_HISTORIES { job } else { &Job { start: None, ..*job } };
        let mut fresh = self.fresh(job, job.seed, &job.training_device())?;
        if let Some(Start { checkpoint, known, items }) = job.start {
            fresh = load_module_by_item(fresh, checkpoint, known, items)?;
        }
        Ok(Trained::fit(fresh, &mut *self.batches(job), self.training(), job)?.for_users_of::<M>(job))
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let fresh = self.fresh(job, 0, job.device)?;
        let trained = match job.known_items {
            Some(known) => Trained::load_grown(fresh, path, known, job)?,
            None => Trained::load(fresh, path)?,
        };
        Ok(trained.for_users_of::<M>(job))
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
        self.wants_features()
    }
}

/// Fits a method to the training part of the job's data set; imported vectors are read from their files.
///
/// # Errors
/// Those of [`Check::check`] and [`IdMethod::fit`].
pub fn fit(method: &dyn IdMethod, job: &Job<'_>) -> Result<Trained> {
    method.check()?;
    method.fit(job)
}

/// Loads what [`Trained::save`] wrote, for the data set and features that it was fitted to; imported vectors are read
/// from their files again, and counts are counted again.
///
/// # Errors
/// Those of [`Check::check`] and [`IdMethod::load`].
pub fn load(method: &dyn IdMethod, job: &Job<'_>, path: &Path) -> Result<Trained> {
    method.check()?;
    method.load(job, path)
}

/// Defines the enum of all methods, their names in files, and the dispatch to them.
macro_rules! methods {
    ($($(#[$doc:meta])* $kind:literal => $name:ident($config:ty),)+) => {
        /// A method of this crate with its settings, as a table with a key `kind`. An omitted key has the method's own
        /// default, also in the table `train`; an unknown key or kind is an error that lists the known ones.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum IdConfig {
            $($(#[$doc])* #[serde(rename = $kind)] $name($config),)+
        }

        impl IdConfig {
            /// All values of `kind`.
            pub const KINDS: &[&str] = &[$($kind),+];

            /// Returns the name of the method in files and tables.
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
    /// Popularity among everybody's newest items.
    "recent" => Recent(RecentConfig),
    /// Items with titles like those of the history.
    "lexical" => Lexical(LexicalConfig),
    /// Items that occur near those of the history.
    "item-knn" => ItemKnn(ItemKnnConfig),
    /// Items that occur near those of the history, or near items with titles like theirs.
    "title-pairs" => TitlePairs(TitlePairsConfig),
    /// First-order Markov chain.
    "markov" => Markov(MarkovConfig),
    /// EASE.
    "ease" => Ease(EaseConfig),
    /// EASE that also counts the words that titles share.
    "title-ease" => TitleEase(TitleEaseConfig),
    /// Singular vectors of users and of the words of titles.
    "title-svd" => TitleSvd(TitleSvdConfig),
    /// Matrix factorization.
    "mf" => Mf(MfConfig),
    /// LightGCN.
    "lightgcn" => LightGcn(LightGcnConfig),
    /// SASRec.
    "sasrec" => SasRec(SasRecConfig),
    /// BSARec.
    "bsarec" => BsaRec(BsaRecConfig),
    /// HSTU.
    "hstu" => Hstu(HstuConfig),
    /// GRU4Rec.
    "gru4rec" => Gru4Rec(Gru4RecConfig),
    /// BERT4Rec.
    "bert4rec" => Bert4Rec(Bert4RecConfig),
    /// ComiRec.
    "comirec" => ComiRec(ComiRecConfig),
    /// AlphaRec: items mapped from given vectors; a user is the mean of their items.
    "alpharec" => AlphaRec(AlphaRecConfig),
    /// Items with text vectors near those of the history.
    "text-knn" => TextKnn(TextKnnConfig),
    /// UniSRec: SASRec over items mapped from given vectors.
    "unisrec" => UniSRec(UniSRecConfig),
    /// AlphaFuse: SASRec over items whose vectors are given in part and learned in part.
    "alphafuse" => AlphaFuse(AlphaFuseConfig),
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

/// Overwrites the defaults with the given values, including nested tables.
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
    fn reads_titles(&self) -> bool {
        self.method().reads_titles()
    }
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.method_mut().paths_mut()
    }
}
