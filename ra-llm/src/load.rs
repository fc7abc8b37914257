//! Loads a frozen model from a folder or file.
use crate::arch::Config;
use crate::arch::static_table::{self, LoadedTable};
use crate::dense::DenseLayers;
use crate::folder::adapter::{self, Adapter};
use crate::folder::prompts::ModelPrompts;
use crate::folder::{self, DenseFiles, Folder, TableKind, write_adapter};
use crate::gguf::{self, Gguf};
use crate::reading::{Reading, RequestedPooling};
use crate::transformer::Around;
use crate::weights::Weights;
use crate::{HfTokenizer, LlmError, Result};
use burn::tensor::{Device, Tensor};
use ra_core::{Error, Fingerprint, LanguageModel, Pooling, ensure_memory, fingerprint};
use std::path::{Path, PathBuf};

/// A frozen language model with its tokenizer.
#[derive(Debug)]
pub struct PretrainedLm {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its tokenizer.
    pub tokenizer: HfTokenizer,
    /// The model's identity: a fingerprint of everything in its files that can change a result.
    ///
    /// It covers the configuration as understood, with defaults filled in (not how its file is written); the
    /// tokenizer; the content of all weight files (of a GGUF model that is everything) and of an adapter; and what the
    /// folder around the model asks for: pooling, maximum length, lower-casing. It does not cover the caller's
    /// choices: the pooling given to [`load`], precision and device.
    pub fingerprint: Fingerprint,
    /// What the model's own files ask for. The caller's pooling takes precedence.
    pub asked: Reading,
    /// The prompts that its folder knows by name. They are not added to texts.
    pub prompts: ModelPrompts,
    /// The number of the model's parameters, all of them frozen.
    pub params: usize,
}

/// Loads a language model: a Hugging Face folder (`config.json`, `model.safetensors` or its shards, `tokenizer.json` or
/// `vocab.txt`), a sentence-transformers folder, a static table (model2vec), a GGUF file or a part of one, or a folder
/// with one such model.
/// `pooling` overrides that of the folder and of the architecture.
///
/// # Errors
/// [`LlmError`] with the file and what is wrong with it.
pub fn load(path: &Path, pooling: Option<Pooling>, device: &Device) -> Result<PretrainedLm> {
    load_adapted(path, None, pooling, device)
}

/// [`load`], with an adapter merged into the weights: a folder of PEFT with LoRA matrices (`adapter_config.json` and
/// `adapter_model.safetensors`), made for this model. Everything in it is used.
///
/// # Errors
/// Those of [`load`]; names what the adapter asks for that is not supported, and what of it is left over.
pub fn load_adapted(
    path: &Path,
    adapter: Option<&Path>,
    pooling: Option<Pooling>,
    device: &Device,
) -> Result<PretrainedLm> {
    let opened = Opened::open(path)?.adapted(adapter)?;
    let (tokenizer, from) = opened.tokenizer()?;
    let config = opened.identity().map_err(|e| Error::corrupt(&from, e.to_string()))?;
    let prompts = ModelPrompts::read(opened.folder().map_or(path, |folder| &folder.root))?;
    let (asked, around, tokens) = (opened.asked(), opened.asked_around(), tokenizer.vocabulary());
    let built = opened.build(pooling, device)?;
    if tokens > built.vocabulary {
        let problem = format!("{tokens} tokens, but the model knows {}; is it another model's?", built.vocabulary);
        return Err(Error::corrupt(from, problem).into());
    }
    let mut parts = vec![config, tokenizer.fingerprint().to_string(), built.fingerprint.to_string(), around];
    parts.extend((!prompts.is_empty()).then(|| format!("{prompts:?}")));
    let fingerprint = fingerprint(parts.iter().map(String::as_bytes));
    Ok(PretrainedLm { model: built.model, tokenizer, fingerprint, asked, prompts, params: built.params })
}

/// Writes LoRA matrices for the model at `path` as an adapter of PEFT, `adapter_config.json` and
/// `adapter_model.safetensors` in an existing `folder`. `changes` has `[input, rank]` and `[rank, output]` for each
/// weight matrix of the layers from `first_layer` up, in the order of [`ra_core::TunableMatrices`]; their product is
/// added to the weights. The adapter is for the model without a head, as `AutoModel` loads it.
///
/// # Errors
/// Those of [`load`]; names a file that cannot be written, or matrices that are not those of whole layers.
pub fn write_adapter(path: &Path, first_layer: usize, changes: &[[Tensor<2>; 2]], folder: &Path) -> Result<()> {
    let opened = Opened::open(path)?;
    let config = opened.config().ok_or_else(|| LlmError::from(of_table(path)))?;
    write_adapter::write(config, &path.to_string_lossy(), first_layer, changes, folder)
}

/// Loads a model without its tokenizer.
///
/// # Errors
/// Those of [`load`].
pub fn load_weights(path: &Path, pooling: Option<Pooling>, device: &Device) -> Result<Box<dyn LanguageModel>> {
    Ok(Opened::open(path)?.build(pooling, device)?.model)
}

/// An inspected and supported model, whose weights are still on disk.
struct Opened {
    source: Source,
    adapter: Option<Adapter>,
}

enum Source {
    Gguf(Gguf, Config),
    Folder(Folder, Config),
    Table(Folder, TableKind),
}

struct Built {
    model: Box<dyn LanguageModel>,
    params: usize,
    /// The number of rows of the token table.
    vocabulary: usize,
    /// The fingerprint of the weight files.
    fingerprint: Fingerprint,
}

/// The error for an adapter of a model that has no weight matrices.
fn of_table(path: &Path) -> Error {
    Error::corrupt(path, "a static table has no weight matrices that an adapter could change")
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let check = |config: Config, from: PathBuf| match config.any().check() {
            Ok(()) => Ok(config),
            Err(problem) => Err(Error::corrupt(from, problem)),
        };
        if let Some(files) = gguf::find(path)? {
            let gguf = Gguf::open(&files)?;
            let config = check(gguf::config(&gguf)?, gguf.path().into())?;
            return Ok(Self::Gguf(gguf, config));
        }
        if let Some(model) = adapter::model_of(path) {
            return Err(LlmError::AdapterAlone { path: path.into(), model });
        }
        let folder = Folder::open(path)?;
        if let Some(kind) = folder.table {
            return Ok(Self::Table(folder, kind));
        }
        let from = folder.config();
        Ok(Self::Folder(folder, check(folder::read_config(&from)?, from)?))
    }

    /// The folder around the model, unless it is a GGUF file.
    fn folder(&self) -> Option<&Folder> {
        match self {
            Self::Gguf(..) => None,
            Self::Folder(folder, _) | Self::Table(folder, _) => Some(folder),
        }
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self { source: Source::open(path)?, adapter: None })
    }

    /// Reads the adapter that is to be merged.
    fn adapted(self, adapter: Option<&Path>) -> Result<Self> {
        let stores_inputs_as_rows = matches!(self.config(), Some(Config::Gpt2(_)));
        let adapter = adapter.map(|folder| Adapter::open(folder, stores_inputs_as_rows)).transpose()?;
        Ok(Self { adapter, ..self })
    }

    /// The configuration of the architecture, if the model has one.
    fn config(&self) -> Option<&Config> {
        match &self.source {
            Source::Gguf(_, config) | Source::Folder(_, config) => Some(config),
            Source::Table(..) => None,
        }
    }

    /// The configuration as part of the model's identity.
    fn identity(&self) -> Result<String, serde_json::Error> {
        match &self.source {
            Source::Gguf(_, config) | Source::Folder(_, config) => config.identity(),
            Source::Table(_, kind) => Ok(format!("{kind:?}")),
        }
    }

    /// The folder around the model, unless it is a GGUF file.
    fn folder(&self) -> Option<&Folder> {
        self.source.folder()
    }

    /// The tokenizer and the file that it comes from.
    fn tokenizer(&self) -> Result<(HfTokenizer, PathBuf)> {
        match &self.source {
            Source::Gguf(gguf, _) => Ok((HfTokenizer::from_gguf(gguf)?, gguf.path().into())),
            Source::Folder(folder, config) => {
                HfTokenizer::of_folder(&folder.model, config.reads_words(), folder.lowercase)
            }
            Source::Table(folder, kind) => {
                let (tokenizer, from) = HfTokenizer::of_folder(&folder.model, false, folder.lowercase)?;
                Ok((tokenizer.of_table(*kind == TableKind::Model2Vec), from))
            }
        }
    }

    /// What the files around the model ask for, as part of its identity.
    fn asked_around(&self) -> String {
        // Of a GGUF model it is already part of the file.
        let Some(Folder { pooling, max_tokens, lowercase, dense, .. }) = self.folder() else { return String::new() };
        let pooling = pooling.as_ref().map(|(asked, _)| asked);
        let dense: Vec<String> = dense.iter().map(|dense| format!(" {}", dense.identity())).collect();
        format!("{pooling:?} {max_tokens:?} {lowercase}{}", dense.concat())
    }

    /// The pooling that the model's own files ask for, and the file that says so.
    fn asked_pooling(&self) -> Option<(RequestedPooling, PathBuf)> {
        match &self.source {
            Source::Gguf(gguf, _) => Some((gguf::pooling(gguf)?, gguf.path().into())),
            Source::Folder(folder, _) | Source::Table(folder, _) => folder.pooling.clone(),
        }
    }

    fn asked(&self) -> Reading {
        let pooling = match self.asked_pooling() {
            Some((RequestedPooling::Known(pooling), _)) => Some(pooling),
            _ => None,
        };
        Reading { pooling, max_tokens: self.folder().and_then(|folder| folder.max_tokens) }
    }

    /// Checks that the requested pooling is supported, unless the caller `wanted` another one.
    ///
    /// # Errors
    /// [`LlmError::Pooling`] if it is not.
    fn check_pooling(&self, wanted: Option<Pooling>) -> Result<()> {
        match (self.asked_pooling(), wanted) {
            (Some((RequestedPooling::Unknown(asked), path)), None) => Err(LlmError::Pooling { path, asked }),
            _ => Ok(()),
        }
    }

    fn build(self, pooling: Option<Pooling>, device: &Device) -> Result<Built> {
        self.check_pooling(pooling)?;
        let asked = self.asked();
        let reading = Reading { pooling: pooling.or(asked.pooling), ..asked };
        let Self { source, adapter } = self;
        let dense = source.folder().map_or(&[][..], |folder| &folder.dense);
        let loaded = dense.iter().map(|dense| dense.load(device)).collect::<Result<Vec<_>>>()?;
        let (layers, prints): (Vec<_>, Vec<_>) = loaded.into_iter().unzip();
        let around = Around { reading, dense: DenseLayers(layers) };
        let built = match &source {
            Source::Gguf(gguf, config) => {
                let mut weights = gguf::weights(gguf, config)?.adapted(adapter);
                let around = Around { reading, dense: gguf::dense(&mut weights, config, device) };
                build(config, weights, &around, device)?
            }
            Source::Folder(folder, config) => {
                let weights = folder::open_weights(&folder.model, config)?;
                build(config, weights.adapted(adapter), &around, device)?
            }
            Source::Table(folder, _) => match adapter {
                Some(_) => return Err(of_table(&folder.model).into()),
                None => static_table::load(&folder.model, &around, device)?.into(),
            },
        };
        DenseFiles::check_chain(dense, built.model.spec().width)?;
        let parts: Vec<String> = [&built.fingerprint].into_iter().chain(&prints).map(ToString::to_string).collect();
        let whole = || fingerprint(parts.iter().map(String::as_bytes));
        let fingerprint = if prints.is_empty() { built.fingerprint.clone() } else { whole() };
        Ok(Built { fingerprint, ..built })
    }
}

impl From<LoadedTable> for Built {
    fn from(LoadedTable { model, tokens, params, fingerprint }: LoadedTable) -> Self {
        Self { model, params, vocabulary: tokens, fingerprint }
    }
}

fn build(config: &Config, mut weights: Weights, around: &Around, device: &Device) -> Result<Built> {
    let params = weights.params();
    weights.require(config.large_params())?;
    let remedy = "free some memory, or use a smaller language model";
    ensure_memory(&format!("loading {}", weights.path().display()), params as u64, device, remedy)?;
    let model = config.any().build(&mut weights, around, device);
    let fingerprint = weights.fingerprint();
    let path = weights.path().to_path_buf();
    weights.finish()?;
    if model.spec().max_tokens == 0 {
        let problem = "the maximum length of a text is 0 (max_position_embeddings, n_positions or max_seq_length)";
        return Err(Error::corrupt(path, problem).into());
    }
    if model.spec().causal && model.spec().pooling == Pooling::First {
        tracing::warn!("pooling first: the first token of a causal model sees nothing of the text; use last or mean");
    }
    Ok(Built { model, params, vocabulary: config.any().vocabulary(), fingerprint })
}
