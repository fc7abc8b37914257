//! The language model of a run and the text towers over it.
mod counted;

use crate::context::{Context, Costs};
use crate::fetch::{self, Found};
use crate::recipe::{ItemNames, Recipe, Variant};
use crate::store::Pin;
use anyhow::{Context as _, Result};
use burn::tensor::Tensor;
use counted::Counted;
use ra_align::{AlignConfig, AlignLoss, Placement, PromptConfig, TextTower, Tuning};
use ra_core::{Catalog, Device, Fingerprint, LanguageModel, LmSpec, NoProgress, Precision, Problem, Progress};
use ra_llm::{HfTokenizer, ModelPrompts, PretrainedLm, Reading};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;

/// The version of this program, which defines what is kept of texts, and the form in which it is kept.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), ", 20 bits");

/// A text tower that shares its language model.
pub(crate) type Tower = Arc<TextTower<Arc<dyn LanguageModel>>>;

/// The frozen language model.
#[derive(Debug, Clone)]
pub struct FrozenText {
    lm: Arc<dyn LanguageModel>,
    tokenizer: Arc<HfTokenizer>,
    fingerprint: Fingerprint,
    /// What the model's own files ask for.
    asked: Reading,
    /// Its prompts, by name.
    prompts: ModelPrompts,
    params: usize,
    /// A copy of the model on each further device, or nothing if that is the first device again.
    replicas: Vec<Option<Arc<dyn LanguageModel>>>,
    backend: &'static str,
    precision: Precision,
    /// The model on a hub that it is.
    source: Option<Pin>,
    /// The folder `cache/` of the root; nothing if what is computed of texts stays in memory.
    cache: Option<PathBuf>,
    /// Its vectors of titles, once a method has needed them. A run has one catalogue.
    features: OnceLock<Tensor<2>>,
}

/// Loads the language model of a recipe if a row or an ID method reads texts.
///
/// # Errors
/// As [`ra_llm::load`]; if the alignment of the recipe does not fit the model's shape.
pub fn text(recipe: &Recipe, cx: &Context) -> Result<Option<FrozenText>> {
    let since = Instant::now();
    let load = || FrozenText::load(recipe, cx);
    let text = recipe.reads_text().then(load).transpose()?;
    if text.is_some() {
        cx.costs.add("load language model", since);
    }
    Ok(text)
}

impl FrozenText {
    /// Loads the language model of a recipe onto each device. A run that is resumed takes the commit that it began with,
    /// wherever the branch of the hub is now.
    fn load(recipe: &Recipe, cx: &Context) -> Result<Self> {
        let (asked, read) = (&recipe.lm.name, |path: &Path| Self::read(recipe, path, &cx.devices, &cx.root, &cx.costs));
        if let Some(path) = &recipe.lm.path {
            return read(path);
        }
        let pinned = cx.store.resumed().and_then(|run| run.source).filter(|pin| pin.asked == *asked);
        let model = fetch::locate_model(pinned.as_ref().map_or(asked, |pin| &pin.name), &cx.root)?;
        let pin = |found: &Found| -> Result<Pin> {
            Ok(Pin { asked: asked.clone(), name: found.name.to_string(), files: found.sums()? })
        };
        Ok(Self { source: model.found.as_ref().map(pin).transpose()?, ..read(&model.path)? })
    }

    /// Loads it for the use of a finished run.
    pub(crate) fn load_kept(recipe: &Recipe, device: &Device, root: &Path) -> Result<Self> {
        let path = Self::kept_path(recipe, root)?;
        Self::read(recipe, &path, std::slice::from_ref(device), root, &Costs::default())
    }

    /// Returns where the model of a finished run is: one that is not there any more is not downloaded.
    pub(crate) fn kept_path(recipe: &Recipe, root: &Path) -> Result<PathBuf> {
        match &recipe.lm.path {
            Some(path) => Ok(path.clone()),
            None => fetch::kept_model(&recipe.lm.name, root),
        }
    }

    /// Loads the model at `path` for a service: it writes nothing, and what it computes of texts stays in memory.
    pub(crate) fn in_memory(recipe: &Recipe, path: &Path, device: &Device) -> Result<Self> {
        let own = Self::read(recipe, path, std::slice::from_ref(device), Path::new(""), &Costs::default())?;
        Ok(Self { cache: None, ..own })
    }

    /// Returns the same model for a catalogue whose titles have the vectors `features`, `[items + 1, width]`.
    pub(crate) fn with_features(&self, features: Tensor<2>) -> Self {
        Self { features: features.into(), ..self.clone() }
    }

    /// Encodes the titles of a catalogue, `[items + 1, width]` with padding in row 0.
    pub(crate) fn encode(&self, catalog: &Catalog) -> Result<Tensor<2>> {
        Ok(ra_align::encode_titles(self.lm(), &*self.tokenizer, catalog, &NoProgress)?)
    }

    fn read(recipe: &Recipe, path: &Path, devices: &[Device], root: &Path, costs: &Costs) -> Result<Self> {
        let precision = recipe.lm.precision;
        let on = |device: &Device| -> Result<PretrainedLm> {
            let mut lm = ra_llm::load_adapted(path, recipe.lm.adapter.as_deref(), recipe.lm.pooling, device)?;
            let model = precision.of_matrices(lm.model, device)?;
            lm.model = Box::new(Counted { lm: model.into(), tokens: costs.tokens().clone() });
            Ok(lm)
        };
        let (first, further) = devices.split_first().context("a language model needs a device")?;
        let PretrainedLm { model, tokenizer, fingerprint, asked, prompts, params, .. } = on(first)?;
        with_model_prompts(&recipe.prompt, &prompts)?;
        let other = |device: &Device| (device != first).then(|| Ok(on(device)?.model.into())).transpose();
        let replicas = further.iter().map(other).collect::<Result<_>>()?;
        check_fit(recipe, &model.spec())?;
        let (lm, backend, cache) = (model.into(), recipe.backend.name(), Some(root.join("cache")));
        Ok(Self {
            lm,
            tokenizer: Arc::new(tokenizer),
            fingerprint,
            asked,
            prompts,
            params,
            replicas,
            backend,
            precision,
            source: None,
            cache,
            features: OnceLock::new(),
        })
    }

    /// Refuses a recipe whose alignment does not fit the model's shape, if the model was loaded for another recipe.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<()> {
        check_fit(recipe, &self.lm().spec())
    }

    /// Returns the model itself.
    pub fn lm(&self) -> &dyn LanguageModel {
        &*self.lm
    }

    /// Returns the language model on each further device.
    pub(crate) fn replicas(&self) -> Vec<Arc<dyn LanguageModel>> {
        self.replicas.iter().map(|lm| lm.clone().unwrap_or_else(|| self.lm.clone())).collect()
    }

    /// Returns the key of everything that its vectors depend on, see [`identity`].
    pub(crate) fn identity(&self) -> String {
        identity(&self.fingerprint, &self.lm().spec(), self.precision)
    }

    /// Returns the model on a hub that it is, if it came from one.
    pub(crate) fn source(&self) -> Option<&Pin> {
        self.source.as_ref()
    }

    /// Logs how texts are read, and the settings in the model's own files.
    pub(crate) fn log_reading(&self) {
        let (spec, asked) = (self.lm().spec(), self.asked);
        tracing::info!(
            pooling = ?spec.pooling,
            max_tokens = spec.max_tokens,
            asked_pooling = ?asked.pooling,
            asked_max_tokens = ?asked.max_tokens,
            default_prompt = ?self.prompts.default_prompt(),
            "language model"
        );
    }

    pub(crate) fn params(&self) -> usize {
        self.params
    }

    /// Creates a tower over a catalogue, for an ID method with this many `interests`. The constants of its texts are
    /// kept in `cache/`.
    pub(crate) fn tower(
        &self,
        catalog: &Catalog,
        items: ItemNames,
        prompt: &PromptConfig,
        align: &AlignConfig,
        interests: usize,
    ) -> Result<Tower> {
        let own = (items == ItemNames::Number).then(|| numbered(catalog));
        let catalog = own.as_ref().unwrap_or(catalog);
        let prompt = &with_model_prompts(prompt, &self.prompts)?;
        let mut tower = TextTower::of_titles(self.lm.clone(), &*self.tokenizer, catalog, prompt, align, interests)?;
        let Some(cache) = &self.cache else { return Ok(Arc::new(tower)) };
        let maker = self.rows_key(align).maker();
        let path = cache.join(format!("text-{}.rows", ra_core::fingerprint([maker.as_bytes()])));
        if let Err(error) = tower.keep_in(&path, &maker) {
            tracing::warn!(%error, "the text cache cannot be used: texts stay in memory");
        }
        Ok(Arc::new(tower))
    }

    /// Returns the key of everything that distinguishes towers within a run, which has one catalogue and set of
    /// prompts.
    pub(crate) fn tower_key(&self, items: ItemNames, align: &AlignConfig, interests: usize) -> String {
        let (rows, normalize) = (align.module.input_tokens(interests), align.loss.normalize);
        format!("{} {items:?} {rows} {normalize} {}", self.rows_key(align).maker(), align.cache_mib)
    }

    /// Returns its vectors of the titles of the run's catalogue.
    pub(crate) fn features(&self, catalog: &Catalog) -> Result<&Tensor<2>> {
        self.features_with(catalog, &NoProgress)
    }

    /// Returns its vectors of the titles of the run's catalogue, and reports the progress of the first time.
    pub(crate) fn features_with(&self, catalog: &Catalog, progress: &dyn Progress) -> Result<&Tensor<2>> {
        if let Some(known) = self.features.get() {
            return Ok(known);
        }
        let (lm, tokenizer) = (self.lm(), &*self.tokenizer);
        let vectors = match &self.cache {
            None => ra_align::encode_titles(lm, tokenizer, catalog, progress)?,
            Some(cache) => {
                let maker = self.titles_maker();
                let path = cache.join(format!("titles-{}.rows", ra_core::fingerprint([maker.as_bytes()])));
                ra_align::encode_titles_in(&path, &maker, lm, tokenizer, catalog, progress).or_else(|error| {
                    tracing::warn!(%error, "the cache of titles cannot be used: they are encoded again");
                    ra_align::encode_titles(lm, tokenizer, catalog, progress)
                })?
            }
        };
        Ok(self.features.get_or_init(|| vectors))
    }

    /// Returns the key of everything that the kept vectors of titles depend on, besides their tokens.
    fn titles_maker(&self) -> String {
        let instructions = ra_core::kernels::instructions();
        format!("{VERSION} {} {instructions:?} {} titles", self.backend, self.identity())
    }

    fn rows_key(&self, align: &AlignConfig) -> RowsKey {
        let instructions = ra_core::kernels::instructions();
        RowsKey::new(align, &self.lm().spec(), self.backend, instructions, self.identity())
    }
}

/// Refuses a recipe whose alignment does not fit the shape of the language model.
fn check_fit(recipe: &Recipe, spec: &LmSpec) -> Result<()> {
    if recipe.variants().iter().any(Variant::has_towers) {
        AlignConfig::require_layers(spec)?;
    }
    let mut misfits = recipe.align.misfits(spec);
    for variant in recipe.variants() {
        let own = variant.align.misfits(spec).into_iter().filter(|problem| !misfits.contains(problem));
        misfits.extend(own.collect::<Vec<_>>());
    }
    let misfits: Vec<Problem> = misfits.into_iter().map(|problem| problem.within("align")).collect();
    Ok(Problem::refuse(&misfits)?)
}

/// Returns the prompts with the texts that their sentences stand for, see [`ModelPrompts::sentence`].
fn with_model_prompts(prompt: &PromptConfig, model: &ModelPrompts) -> Result<PromptConfig> {
    let text = |key: &str, written: &str| model.sentence(written).with_context(|| format!("prompt.{key}"));
    let (user, item) = (text("user", &prompt.user)?, text("item", &prompt.item)?);
    Ok(PromptConfig { user, item, ..prompt.clone() })
}

/// Returns a catalogue whose items are named by number, as in P5.
fn numbered(catalog: &Catalog) -> Catalog {
    let all = || catalog.all();
    Catalog::new(all().map(|i| catalog.id(i).to_owned()).collect(), all().map(|i| format!("item_{i}")).collect())
}

/// Returns the key of everything that the vectors of a language model depend on: configuration, tokenizer and weights
/// ([`PretrainedLm::fingerprint`]), the pooling and maximum length of a text, and the number format of matrices.
fn identity(own: &Fingerprint, spec: &LmSpec, precision: Precision) -> String {
    let parts = [own.to_string(), format!("{:?}", spec.pooling), spec.max_tokens.to_string(), precision.name().into()];
    ra_core::fingerprint(parts.iter().map(String::as_bytes)).to_string()
}

/// Everything that the cached constants of a text depend on, besides its tokens.
#[derive(Debug)]
struct RowsKey {
    /// The version of this program, which defines the constants, and how they are kept.
    version: &'static str,
    /// The back end, because numbers differ in their last bits.
    backend: &'static str,
    instructions: String,
    /// The language model, [`FrozenText::identity`].
    lm: String,
    /// The first layer with a prefix: the constants are of the layers below it.
    first_layer: usize,
    /// Whether the means of the layers above are included.
    means: bool,
    placement: Placement,
    /// Whether the layers above are trained.
    tuned: bool,
}

impl RowsKey {
    fn new(align: &AlignConfig, spec: &LmSpec, backend: &'static str, instructions: String, lm: String) -> Self {
        Self {
            version: VERSION,
            backend,
            instructions,
            lm,
            first_layer: align.module.first_layer(spec),
            means: align.loss.loss != AlignLoss::None,
            placement: align.module.placement,
            tuned: align.tuning.tune != Tuning::None,
        }
    }

    fn maker(&self) -> String {
        // Destructured, so that no field is forgotten.
        let Self { version, backend, instructions, lm, first_layer, means, placement, tuned } = self;
        format!(
            "{version} {backend} {instructions:?} {lm} layer {first_layer} means {means} {placement:?} tuned {tuned}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::Pooling;

    #[test]
    fn a_change_of_anything_changes_the_key_of_cached_rows() {
        let align = AlignConfig::default();
        let key = |align: &AlignConfig, who: (&'static str, &str, &str)| {
            RowsKey::new(align, &SPEC, who.0, who.1.into(), who.2.into()).maker()
        };
        let who = ("cpu", "AVX", "lm");
        let base = key(&align, who);
        for other in [("cuda", "AVX", "lm"), ("cpu", "AVX, AMX", "lm"), ("cpu", "AVX", "another lm")] {
            assert_ne!(key(&align, other), base, "{other:?}");
        }
        let changed: [fn(&mut AlignConfig); 6] = [
            |align| align.module.first_layer = 1,
            |align| align.module.first_layer = -1,
            |align| align.loss.loss = AlignLoss::None,
            |align| align.module.placement = Placement::Input,
            |align| align.tuning.tune = Tuning::Full,
            |align| align.tuning.tune = Tuning::Lora(2),
        ];
        for change in changed {
            let other = align.clone().with(change);
            assert_ne!(key(&other, who), base, "{other:?}");
        }
        // What is trained on top of the constants does not change them.
        let same: [fn(&mut AlignConfig); 2] = [
            |align| align.module.first_layer = -3,
            |align| {
                (align.module.n_tok, align.module.n_ctx, align.loss.tau) = (7, 9, 0.5);
                (align.departures.distill, align.loss.loss) = (2.0, AlignLoss::Mse);
            },
        ];
        for change in same {
            let other = align.clone().with(change);
            assert_eq!(key(&other, who), base, "{other:?}");
        }
    }

    #[test]
    fn a_change_of_the_model_or_of_how_it_reads_changes_its_identity() {
        let own = |content: &[u8]| ra_core::fingerprint([content]);
        let base = identity(&own(b"model"), &SPEC, Precision::F32);
        let others = [
            identity(&own(b"other"), &SPEC, Precision::F32),
            identity(&own(b"model"), &LmSpec { pooling: Pooling::Mean, ..SPEC }, Precision::F32),
            identity(&own(b"model"), &LmSpec { max_tokens: 8, ..SPEC }, Precision::F32),
            identity(&own(b"model"), &SPEC, Precision::Bf16),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    const SPEC: LmSpec = LmSpec { layers: 3, width: 4, max_tokens: 9, causal: false, pooling: Pooling::First };
}
