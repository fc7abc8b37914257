//! Files of vectors: their location, format and content.
use ra_core::{Error, Problem};
use std::fmt::Display;
use std::path::Path;

/// One file of vectors and the settings for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct VectorFile<'a> {
    /// `item` or `user`.
    pub(super) kind: &'static str,
    /// The configuration field that names the file.
    pub(super) key: &'static str,
    pub(super) path: &'a Path,
    pub(super) ids: Option<&'a Path>,
    pub(super) tensor: Option<&'a str>,
}

impl VectorFile<'_> {
    /// Returns what cannot work, without opening the file.
    pub(super) fn problem(&self) -> Option<Problem> {
        let Self { kind, key, path: file, .. } = self;
        let format = match Format::of(file) {
            Ok(format) => format,
            Err(problem) => return Some(Problem::new(*key, format!("is {}: {problem}", file.display()))),
        };
        if self.tensor.is_some() && format != Format::Safetensors {
            let told = format!("names a tensor of a .safetensors file, {key} is {}", file.display());
            return Some(Problem::new(format!("{key}_tensor"), told));
        }
        let ids = format!("{kind}_ids");
        match self.ids {
            Some(path) if path.as_os_str().is_empty() => Some(Problem::new(ids, "is empty, it must be a file")),
            Some(_) if format.has_ids() => {
                let told = format!("is for .safetensors and .npy: {} carries its own ids", file.display());
                Some(Problem::new(ids, told))
            }
            _ => None,
        }
    }

    pub(super) fn corrupt(&self, problem: impl Into<String>) -> Error {
        Error::corrupt(self.path, problem)
    }
}

/// The supported extensions of a file of vectors.
pub(super) const EXTENSIONS: &str = ".safetensors, .npy, .parquet, .arrow, .ipc or .feather";

/// The format of a file of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Npy,
    Parquet,
    Arrow,
}

impl Format {
    /// Determines the format by the file name. Pickles are refused, because reading one can run code.
    pub(super) fn of(path: &Path) -> std::result::Result<Self, String> {
        let extension = path.extension().map_or_else(String::new, |e| e.to_string_lossy().to_lowercase());
        match extension.as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "npy" => Ok(Self::Npy),
            "parquet" => Ok(Self::Parquet),
            "arrow" | "ipc" | "feather" => Ok(Self::Arrow),
            "pt" | "pth" | "ckpt" | "bin" | "pkl" | "pickle" | "joblib" => {
                Err("a pickle, which can run code when it is read; save the matrix instead, in Python: \
                 safetensors.torch.save_file({\"items\": model.item_emb.weight.detach().contiguous()}, \
                 \"items.safetensors\"), or of an array: numpy.save(\"items.npy\", vectors)"
                    .into())
            }
            "npz" => Err("an archive of arrays; save the one that holds the vectors, in Python: \
                          numpy.save(\"items.npy\", numpy.load(\"items.npz\")[\"NAME\"])"
                .into()),
            _ => Err(format!("unsupported file type: the name must end in {EXTENSIONS}")),
        }
    }

    /// Returns whether rows carry their ids.
    pub(super) fn has_ids(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// The vectors of a file.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// One id per row, or `None` if the file has no ids.
    pub(super) ids: Option<Vec<String>>,
    pub(super) dim: usize,
    /// `[rows, dim]`.
    pub(super) values: Vec<f32>,
}

impl Vectors {
    pub(super) fn rows(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }
}

/// Lists the first five names.
pub(super) fn few(names: &[impl Display]) -> String {
    let mut text: Vec<String> = names.iter().take(5).map(ToString::to_string).collect();
    if names.len() > 5 {
        text.push("...".into());
    }
    text.join(", ")
}
