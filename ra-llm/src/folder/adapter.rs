//! An adapter as a folder of PEFT: `adapter_config.json` and `adapter_model.safetensors`. It is added to the weights
//! of its model as they are read, `W + scale * B A` (LoRA, Hu et al., ICLR 2022).
use super::document::read_json;
use super::weight_files::format;
use crate::Result;
use crate::weights::{Entry, Order, Weights};
use ra_core::{Error, Fingerprint, SafetensorsHeader, TensorHeader, fingerprint};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts before the name of every module.
pub(super) const PREFIX: &str = "base_model.model.";

/// Keys that say nothing about the merged weights. Any other key that is unknown here must be off.
const WITHOUT_EFFECT: [&str; 17] = [
    "arrow_config",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    // PEFT goes by the kind of the layer too.
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "loftq_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
];

/// The keys of `adapter_config.json` that matter.
#[derive(Debug, Deserialize)]
struct AdapterConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default = "none")]
    bias: String,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(default)]
    target_modules: Option<Targets>,
    #[serde(default)]
    layers_to_transform: Option<Layers>,
    #[serde(default)]
    rank_pattern: Option<BTreeMap<String, usize>>,
    #[serde(default)]
    alpha_pattern: Option<BTreeMap<String, f64>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn none() -> String {
    "none".into()
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Targets {
    /// `all-linear`, or a pattern that matches whole names.
    Pattern(String),
    /// Names, or ends of names.
    Ends(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Layers {
    One(usize),
    Several(Vec<usize>),
}

impl AdapterConfig {
    /// What this crate cannot compute.
    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.peft_type != "LORA" {
            found.push(format!("peft_type is {:?} (supported: LORA)", self.peft_type));
        }
        if self.bias != "none" {
            found.push(format!("bias is {:?} (supported: none)", self.bias));
        }
        // These begin with other weights of the model itself.
        let changes_model =
            |how: &str| ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|own| how.starts_with(own));
        if let Some(how) = self.init_lora_weights.as_str().filter(|how| changes_model(how)) {
            found.push(format!(
                "init_lora_weights is {how:?}, which changes the model itself; convert it to plain LoRA"
            ));
        }
        let is_off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let others =
            self.others.iter().filter(|(key, value)| !WITHOUT_EFFECT.contains(&key.as_str()) && !is_off(value));
        found.extend(others.map(|(key, value)| match key.as_str() {
            "use_dora" => "use_dora is true: DoRA is not supported; merge it into its model with peft".into(),
            _ => format!("{key} is {value}, which is not supported"),
        }));
        found
    }

    /// Whether PEFT would change the module.
    fn names(&self, module: &str) -> std::result::Result<bool, String> {
        let is_target = match &self.target_modules {
            None => true,
            Some(Targets::Pattern(pattern)) if pattern == "all-linear" => true,
            Some(Targets::Pattern(pattern)) => {
                expression(&format!("^(?:{pattern})$"), "target_modules")?.is_match(module)
            }
            Some(Targets::Ends(ends)) => ends.iter().any(|end| module == end || module.ends_with(&format!(".{end}"))),
        };
        let layers = match &self.layers_to_transform {
            None => return Ok(is_target),
            Some(Layers::One(layer)) => std::slice::from_ref(layer),
            Some(Layers::Several(layers)) => layers,
        };
        let layer = module.split('.').rev().find_map(|part| part.parse().ok());
        Ok(is_target && layer.is_none_or(|layer| layers.contains(&layer)))
    }

    /// The factor of a module's change, of this rank.
    fn scale(&self, module: &str, rank: usize) -> std::result::Result<f64, String> {
        let alpha = pattern(self.alpha_pattern.as_ref(), module, "alpha_pattern")?.unwrap_or(self.lora_alpha);
        let scale = if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 };
        if scale.is_finite() { Ok(scale) } else { Err(format!("the scale of {module} is {scale}")) }
    }

    fn rank(&self, module: &str) -> std::result::Result<usize, String> {
        Ok(pattern(self.rank_pattern.as_ref(), module, "rank_pattern")?.unwrap_or(self.r))
    }
}

fn expression(pattern: &str, key: &str) -> std::result::Result<Regex, String> {
    Regex::new(pattern).map_err(|_| format!("{key} is {pattern:?}, which is not a supported expression"))
}

/// The value of the pattern that matches the end of a module's name.
fn pattern<T: Copy + PartialEq>(
    patterns: Option<&BTreeMap<String, T>>,
    module: &str,
    key: &str,
) -> std::result::Result<Option<T>, String> {
    let mut found = None;
    for (pattern, value) in patterns.into_iter().flatten() {
        if expression(&format!(r"^(?:.*\.)?(?:{pattern})$"), key)?.is_match(module) {
            if found.is_some_and(|found| found != *value) {
                return Err(format!("several patterns of {key} match {module}"));
            }
            found = Some(*value);
        }
    }
    Ok(found)
}

/// The changes of an adapter that have not been merged yet.
#[derive(Debug)]
pub(crate) struct Adapter {
    path: PathBuf,
    changes: BTreeMap<String, Change>,
    problems: Vec<String>,
    fingerprint: Fingerprint,
}

/// The change of one matrix, `left right`, in the layout of the matrix.
#[derive(Debug)]
struct Change {
    left: Vec<f32>,
    right: Vec<f32>,
    rank: usize,
}

impl Adapter {
    /// Reads the adapter in a folder. `conv1d` says that the model stores its matrices as `[input, output]`.
    ///
    /// # Errors
    /// Names the file, and everything in it that this crate does not support.
    pub(crate) fn open(folder: &Path, conv1d: bool) -> Result<Self> {
        let file = folder.join(CONFIG);
        if !file.is_file() {
            let told =
                "not found; an adapter is a folder of PEFT, with adapter_config.json and adapter_model.safetensors";
            return Err(Error::corrupt(file, told).into());
        }
        let config: AdapterConfig = read_json(&file)?;
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(Error::corrupt(file, problems.join("; ")).into());
        }
        let path = weights_of(folder)?;
        let mut tensors = Tensors::open(&path)?;
        let (mut changes, mut problems, mut scales) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (module, kind) in tensors.modules() {
            match tensors.change(&config, &module, kind, conv1d) {
                Ok((change, scale)) => {
                    scales.push(format!("{module} {scale:?}"));
                    changes.insert(module, change);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if changes.is_empty() && problems.is_empty() {
            problems.push("it holds no LoRA matrices".into());
        }
        if !problems.is_empty() {
            return Err(Error::corrupt(path, listed(&problems)).into());
        }
        let fingerprint =
            fingerprint([tensors.weights.fingerprint().to_string().as_bytes(), scales.join(" ").as_bytes()]);
        tensors.weights.finish()?;
        Ok(Self { path, changes, problems, fingerprint })
    }

    /// The fingerprint of everything in it that changes weights.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Adds the change of the tensor `name`, if there is one.
    pub(crate) fn merge(&mut self, name: &str, shape: &[usize], values: &mut [f32]) {
        let Some(stem) = name.strip_suffix(".weight") else { return };
        let Some(module) = self.module(stem) else { return };
        let Some(Change { left, right, rank }) = self.changes.remove(&module) else { return };
        let [rows, columns] = [left.len() / rank, right.len() / rank];
        if shape != [rows, columns] {
            self.problems
                .push(format!("{module} is for {:?}, and the matrix of the model is {shape:?}", [rows, columns]));
            return;
        }
        for (row, factors) in values.chunks_exact_mut(columns).zip(left.chunks_exact(rank)) {
            for (factor, right) in factors.iter().zip(right.chunks_exact(columns)) {
                row.iter_mut().zip(right).for_each(|(value, right)| *value += factor * right);
            }
        }
    }

    /// The module of the adapter that changes a matrix: it may have more before its name.
    fn module(&self, stem: &str) -> Option<String> {
        let is_of =
            |module: &str| module.strip_suffix(stem).is_some_and(|before| before.is_empty() || before.ends_with('.'));
        self.changes.keys().find(|module| is_of(module)).cloned()
    }

    /// Drops changes of tensors that a frozen encoder does not use.
    pub(crate) fn ignore(&mut self, unused: impl Fn(&str) -> bool) {
        // What stands before a name is unknown, so every end of it counts.
        let ends = |module: &str| {
            let starts = std::iter::once(0).chain(module.match_indices('.').map(|(at, _)| at + 1));
            starts.map(|at| format!("{}.weight", &module[at..])).collect::<Vec<_>>()
        };
        self.changes.retain(|module, _| !ends(module).iter().any(|name| unused(name)));
    }

    /// Checks that everything was merged.
    ///
    /// # Errors
    /// Names what is left over, or does not fit the model.
    pub(crate) fn finish(self) -> Result<()> {
        let left = self.changes.keys().map(|module| format!("{module} is no matrix of the model"));
        let problems: Vec<String> = self.problems.into_iter().chain(left).collect();
        match problems.is_empty() {
            true => Ok(()),
            false => {
                Err(Error::corrupt(self.path, format!("{}; is it another model's adapter?", listed(&problems))).into())
            }
        }
    }
}

/// The first problems, and the number of the others.
fn listed(problems: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if problems.len() > SHOWN { format!("{first} and {} more", problems.len() - SHOWN) } else { first }
}

/// What a module's matrices are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Embedding,
}

/// The tensors of an adapter.
struct Tensors {
    weights: Weights,
    /// The name of each tensor in the file, and its shape, by module and by `A` or `B`.
    known: BTreeMap<(String, char), (String, Vec<usize>, Kind)>,
}

impl Tensors {
    fn open(path: &Path) -> Result<Self> {
        let header = SafetensorsHeader::read(path)?;
        let (mut entries, mut known, mut left) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, TensorHeader { dtype, shape, offset, bytes }) in header.tensors {
            let (Some((module, side, kind)), Some(format)) = (place(&name), format(dtype)) else {
                left.push(format!("{name} ({dtype:?}) is left over"));
                continue;
            };
            known.insert((module.to_owned(), side), (name.clone(), shape.clone(), kind));
            entries.insert(name, Entry { file: 0, shape, format, offset, bytes, order: Order::Plain });
        }
        if !left.is_empty() {
            return Err(Error::corrupt(path, listed(&left)).into());
        }
        Ok(Self { weights: Weights::new(path.into(), &[path.into()], entries)?, known })
    }

    /// The names of the modules.
    fn modules(&self) -> Vec<(String, Kind)> {
        let mut all: Vec<(String, Kind)> =
            self.known.iter().map(|((module, _), (.., kind))| (module.clone(), *kind)).collect();
        all.dedup_by(|one, other| one.0 == other.0);
        all
    }

    /// Takes the change of a module, with its scale.
    fn change(
        &mut self,
        config: &AdapterConfig,
        module: &str,
        kind: Kind,
        conv1d: bool,
    ) -> std::result::Result<(Change, f64), String> {
        if !config.names(module)? {
            return Err(format!("{module} is left over: target_modules and layers_to_transform do not name it"));
        }
        let mut take = |side: char| -> std::result::Result<(Vec<f32>, [usize; 2]), String> {
            let (name, shape, _) = self
                .known
                .get(&(module.to_owned(), side))
                .ok_or_else(|| format!("{module} lacks its matrix {side}"))?;
            let &[rows, columns] = &shape[..] else { return Err(format!("{name} is {shape:?}, and not a matrix")) };
            Ok((self.weights.take(name, shape), [rows, columns]))
        };
        let ((down, [rank, input]), (up, [output, other])) = (take('A')?, take('B')?);
        let asked = config.rank(module)?;
        if rank != asked || rank != other || rank == 0 {
            return Err(format!("{module} has matrices of rank {rank} and {other}, and r is {asked}"));
        }
        let scale = config.scale(module, rank)?;
        let scaled = |values: Vec<f32>| values.into_iter().map(|value| (f64::from(value) * scale) as f32).collect();
        // `B A` is `[output, input]`; tables of embeddings, and the matrices of GPT-2, have inputs as rows.
        let (left, right) = match conv1d || kind == Kind::Embedding {
            true => (transposed(&down, [rank, input]), scaled(transposed(&up, [output, rank]))),
            false => (scaled(up), down),
        };
        Ok((Change { left, right, rank }, scale))
    }
}

fn transposed(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect()
}

/// The module and the side of a tensor: `base_model.model.MODULE.lora_A.weight`, or with the name of the adapter before
/// `weight`; embeddings have `lora_embedding_A`.
fn place(name: &str) -> Option<(&str, char, Kind)> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    for (mark, kind) in [(".lora_", Kind::Linear), (".lora_embedding_", Kind::Embedding)] {
        for side in ['A', 'B'] {
            let Some((module, rest)) = name.split_once(&format!("{mark}{side}")) else { continue };
            let is_one = match kind {
                Kind::Linear => rest.ends_with(".weight") && rest.matches('.').count() <= 2,
                Kind::Embedding => rest.matches('.').count() <= 1,
            };
            return is_one.then_some((module, side, kind));
        }
    }
    None
}

/// The file with the matrices.
fn weights_of(folder: &Path) -> Result<PathBuf> {
    let path = folder.join(WEIGHTS);
    if path.is_file() {
        return Ok(path);
    }
    let told = match folder.join("adapter_model.bin").is_file() {
        true => "not found; adapter_model.bin is a pickle, which is not supported: load it with peft and save it again",
        false => "not found; download the weights of the adapter",
    };
    Err(Error::corrupt(path, told).into())
}

/// The model that an adapter without its model belongs to, if `folder` is one.
pub(crate) fn model_of(folder: &Path) -> Option<String> {
    let is_model = ["config.json", "bert_config.json"].iter().any(|name| folder.join(name).is_file());
    let config: Map<String, Value> = read_json(&folder.join(CONFIG)).ok().filter(|_| !is_model)?;
    let name = config.get("base_model_name_or_path").and_then(Value::as_str).unwrap_or_default();
    Some(if name.is_empty() { "its model".into() } else { name.into() })
}
