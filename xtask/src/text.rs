//! The language model of a run and the text towers over it.
use crate::counted::Counted;
use crate::fetch;
use crate::recipe::Recipe;
use anyhow::{Context, Result, bail};
use burn::tensor::Tensor;
use ra_align::{AlignConfig, AlignLoss, Placement, PromptConfig, Prompts, TextCache, TextTower, Tuning};
use ra_core::{Catalog, Device, History, LanguageModel, Precision, Problem};
use ra_llm::PretrainedLm;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A text tower that borrows its language model.
pub(crate) type Tower<'a> = Arc<TextTower<&'a dyn LanguageModel>>;

/// The frozen language model.
pub(crate) struct Text {
    lm: PretrainedLm,
    /// Its model once more on each further device; nothing where that is the same one.
    replicas: Vec<Option<Box<dyn LanguageModel>>>,
    /// Tokens that it read so far, those that fill up a batch included.
    pub(crate) tokens: Arc<AtomicU64>,
    backend: &'static str,
    precision: Precision,
    /// `cache/` of the root.
    cache: PathBuf,
    /// Its vectors of titles, once a method has asked for them: a run has one catalogue.
    features: OnceCell<Tensor<2>>,
}

impl Text {
    /// Loads the language model of a recipe onto each of `devices`, one at least.
    pub(crate) fn load(recipe: &Recipe, devices: &[Device], root: &Path) -> Result<Self> {
        let path = match &recipe.lm.path {
            Some(path) => path.clone(),
            None => fetch::locate_model(&recipe.lm.name, root)?,
        };
        let tokens = Arc::new(AtomicU64::new(0));
        let precision = recipe.lm.precision;
        let on = |device: &Device| -> Result<PretrainedLm> {
            let mut lm = ra_llm::load(&path, recipe.lm.pooling, device)?;
            let model = precision.of_matrices(lm.model, device)?;
            lm.model = Box::new(Counted { lm: model, tokens: tokens.clone() });
            Ok(lm)
        };
        let (first, further) = devices.split_first().context("a language model needs a device")?;
        let lm = on(first)?;
        let other = |device: &Device| (device != first).then(|| Ok(on(device)?.model)).transpose();
        let replicas = further.iter().map(other).collect::<Result<_>>()?;
        let misfits = recipe.align.misfits(&lm.model.spec()).into_iter().map(|problem| problem.within("align"));
        Problem::refuse(&misfits.collect::<Vec<_>>()).map_err(anyhow::Error::msg)?;
        Ok(Self {
            lm,
            replicas,
            tokens,
            backend: recipe.backend.name(),
            precision,
            cache: root.join("cache"),
            features: OnceCell::new(),
        })
    }

    pub(crate) fn lm(&self) -> &dyn LanguageModel {
        &*self.lm.model
    }

    /// The language model on each further device.
    pub(crate) fn replicas(&self) -> Vec<&dyn LanguageModel> {
        self.replicas.iter().map(|lm| lm.as_deref().unwrap_or(self.lm())).collect()
    }

    /// Fingerprint of the weights.
    pub(crate) fn fingerprint(&self) -> String {
        self.lm.fingerprint.to_string()
    }

    pub(crate) fn params(&self) -> usize {
        self.lm.params
    }

    /// A tower over a catalogue. What it computes of its texts stays in `cache/`.
    pub(crate) fn tower(
        &self,
        catalog: &Catalog,
        prompt: &PromptConfig,
        align: &AlignConfig,
        interests: usize,
    ) -> Result<Tower<'_>> {
        let lm = self.lm();
        // Rows that are tokens of the input take their places from the text.
        let rows = if align.placement == Placement::Input { align.n_ctx + align.n_tok * interests } else { 0 };
        let room = lm.spec().max_tokens.saturating_sub(rows);
        let prompts = Prompts::new(&self.lm.tokenizer, catalog, prompt, room);
        if prompts.user(&History { user: 0, items: &[] }).len() > room {
            bail!("prompt.user is longer than the {room} tokens that the language model has room for; shorten it");
        }
        let maker = self.maker(align);
        let path = self.cache.join(format!("text-{}.rows", ra_core::fingerprint([maker.as_bytes()])));
        let cache = match TextCache::new(lm, align).keep_in(&path, &maker) {
            Ok(cache) => cache,
            Err(error) => {
                tracing::warn!(%error, "texts stay in memory");
                TextCache::new(lm, align)
            }
        };
        Ok(Arc::new(TextTower { lm, prompts, cache, normalize: align.normalize }))
    }

    /// Its vectors of the titles of the run's catalogue.
    pub(crate) fn features(&self, catalog: &Catalog) -> &Tensor<2> {
        self.features.get_or_init(|| ra_align::title_vectors(self.lm(), &self.lm.tokenizer, catalog))
    }

    /// Constants of texts depend on the weights, the first injected layer, the pooling, what is asked of them and who
    /// computed them.
    fn maker(&self, align: &AlignConfig) -> String {
        let spec = self.lm().spec();
        format!(
            "{} {} {} {} {:?} {} {:?}{}{}",
            env!("CARGO_PKG_VERSION"),
            self.backend,
            self.lm.fingerprint,
            align.first_layer(&spec),
            spec.pooling,
            align.loss != AlignLoss::None,
            align.placement,
            if align.tune == Tuning::None { "" } else { " tuned" },
            if self.precision == Precision::F32 { "" } else { self.precision.name() },
        )
    }
}
