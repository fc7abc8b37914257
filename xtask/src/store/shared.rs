//! ID methods that the runs of a suite share, each under a key of everything that its training depends on.
use anyhow::Result;
use ra_core::{Fingerprint, OutputFolder, fingerprint};
use ra_eval::EvalConfig;
use ra_idmodels::IdConfig;
use std::path::PathBuf;

/// The kind of a suite's folder in its marker.
pub(crate) const KIND: &str = "suite";

/// The subfolder of ID methods.
pub(crate) const ID_MODELS: &str = "id-models";

/// Everything that the training of an ID method depends on.
#[derive(Debug, Clone)]
pub(crate) struct IdKey<'a> {
    pub(crate) version: &'a str,
    /// The fingerprint of the whole data set: users, items, titles, interactions, split.
    pub(crate) data: Fingerprint,
    /// The name of the method, with the fold of users that it is trained without.
    pub(crate) name: &'a str,
    pub(crate) config: &'a IdConfig,
    pub(crate) seed: u64,
    /// How the best epoch is chosen.
    pub(crate) choosing: EvalConfig,
    /// The language model whose vectors it reads: `FrozenText::identity`.
    pub(crate) lm: Option<String>,
    /// The back end, because numbers differ in their last bits.
    pub(crate) backend: &'a str,
    pub(crate) instructions: String,
    /// The bundle that its training starts from.
    pub(crate) start: Option<String>,
}

impl IdKey<'_> {
    pub(crate) fn fingerprint(&self) -> String {
        // Destructured, so that no field is forgotten.
        let Self { version, data, name, config, seed, choosing, lm, backend, instructions, start } = self;
        let key = format!(
            "{version} {data} {name} {config:?} {seed} {choosing:?} {lm:?} {backend} {instructions:?} {start:?}"
        );
        fingerprint([key.as_bytes()]).to_string()
    }
}

/// An ID method that the runs of a suite share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The folder of the suite.
    pub(crate) suite: PathBuf,
    /// The kind of that folder in its marker.
    pub(crate) kind: &'static str,
    /// The key of everything that its training depends on.
    pub(crate) key: String,
}

impl Shared {
    fn name(&self, file: &str) -> String {
        format!("{}/{}/{file}", ID_MODELS, self.key)
    }

    /// Returns one of its files, if it belongs to the suite.
    pub(crate) fn found(&self, file: &str) -> Result<Option<PathBuf>> {
        let name = self.name(file);
        let ours = OutputFolder::open(&self.suite, self.kind)?.owns(&name);
        Ok(ours.then(|| self.suite.join(name)))
    }

    /// Returns the path of one of its files that is about to be written, and claims it for the suite.
    pub(crate) fn claimed(&self, file: &str) -> Result<PathBuf> {
        let name = self.name(file);
        OutputFolder::open(&self.suite, self.kind)?.claim(&[&name])?;
        Ok(self.suite.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_anything_changes_the_key() {
        let (pop, mf): (IdConfig, IdConfig) =
            (toml::from_str("kind = 'pop'").unwrap(), toml::from_str("kind = 'mf'").unwrap());
        let longer: IdConfig = toml::from_str("kind = 'mf'\ntrain = { lr = 0.5 }").unwrap();
        let base = IdKey {
            version: "1",
            data: fingerprint([&b"data"[..]]),
            name: "mf",
            config: &mf,
            seed: 1,
            choosing: EvalConfig::default(),
            lm: Some("lm".into()),
            backend: "cpu",
            instructions: "AVX".into(),
            start: None,
        };
        let changed = [
            IdKey { version: "2", ..base.clone() },
            IdKey { data: fingerprint([&b"other"[..]]), ..base.clone() },
            IdKey { name: "mf-fold-1-of-2", ..base.clone() },
            IdKey { config: &pop, ..base.clone() },
            IdKey { config: &longer, ..base.clone() },
            IdKey { seed: 2, ..base.clone() },
            IdKey { choosing: EvalConfig { ks: vec![5], ..EvalConfig::default() }, ..base.clone() },
            IdKey { lm: Some("other".into()), ..base.clone() },
            IdKey { lm: None, ..base.clone() },
            IdKey { backend: "cuda", ..base.clone() },
            IdKey { instructions: String::new(), ..base.clone() },
            IdKey { start: Some("bundle".into()), ..base.clone() },
        ];
        assert_eq!(base.fingerprint(), base.clone().fingerprint());
        for other in changed {
            assert_ne!(other.fingerprint(), base.fingerprint(), "{other:?}");
        }
    }
}
