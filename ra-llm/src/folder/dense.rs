//! The dense layers that some sentence encoders have after pooling.
use super::document::read_json;
use super::weight_files;
use crate::Result;
use crate::arch::activation;
use crate::dense::{Dense, DenseActivation};
use burn::tensor::Device;
use ra_core::{Error, Fingerprint};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A dense layer whose weights are still on disk.
#[derive(Debug)]
pub(crate) struct DenseFiles {
    folder: PathBuf,
    dims: [usize; 2],
    bias: bool,
    activation: DenseActivation,
}

/// The `config.json` of a dense module.
#[derive(Deserialize)]
struct Config {
    in_features: usize,
    out_features: usize,
    #[serde(default = "with_bias")]
    bias: bool,
    /// The class of the activation, with its Python modules.
    #[serde(default = "tanh")]
    activation_function: String,
    /// What it reads: the vector of a text, unless it is a layer for tokens.
    #[serde(default)]
    module_input_name: Option<String>,
    /// Whether its input is added to its output; not supported.
    #[serde(default)]
    use_residual: bool,
}

fn with_bias() -> bool {
    true
}

fn tanh() -> String {
    "Tanh".into()
}

impl DenseFiles {
    /// Reads the configuration in `folder`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let Config { in_features, out_features, bias, activation_function, module_input_name, use_residual } =
            read_json(&path)?;
        let input = module_input_name.unwrap_or_else(|| "sentence_embedding".into());
        if input != "sentence_embedding" || use_residual {
            let problem = format!(
                "module_input_name {input:?} and use_residual {use_residual} are not supported (supported: \
                 sentence_embedding and false)"
            );
            return Err(Error::corrupt(path, problem).into());
        }
        let class = activation_function.rsplit('.').next().unwrap_or_default();
        let activation = match class {
            "Identity" => DenseActivation::Identity,
            "Tanh" => DenseActivation::Tanh,
            "Sigmoid" => DenseActivation::Sigmoid,
            _ => DenseActivation::Kernel(activation(&class.to_lowercase()).ok_or_else(|| {
                let known = "Identity, Tanh, Sigmoid, ReLU, GELU, SiLU";
                Error::corrupt(&path, format!("activation_function {class:?} is not supported (supported: {known})"))
            })?),
        };
        if in_features == 0 || out_features == 0 {
            let problem = format!("a dense layer from {in_features} to {out_features} numbers");
            return Err(Error::corrupt(path, problem).into());
        }
        Ok(Self { folder: folder.into(), dims: [in_features, out_features], bias, activation })
    }

    /// Everything that affects the computation, besides the weights.
    pub(crate) fn identity(&self) -> String {
        format!("{:?} {:?}", self.dims, self.activation)
    }

    /// Checks that every layer reads as many numbers as the one before it writes, and the first `width`.
    ///
    /// # Errors
    /// Names the configuration of the layer that does not fit.
    pub(crate) fn check_chain(layers: &[Self], width: usize) -> Result<()> {
        layers.iter().try_fold(width, |width, Self { folder, dims: [input, output], .. }| {
            if *input == width {
                return Ok(*output);
            }
            let problem = format!("in_features is {input}, but the vectors before it have {width} numbers");
            Err(Error::corrupt(folder.join("config.json"), problem))
        })?;
        Ok(())
    }

    /// Loads the weights; returns their fingerprint too.
    ///
    /// # Errors
    /// Names the file, and the tensors that are missing or of the wrong shape.
    pub(crate) fn load(&self, device: &Device) -> Result<(Dense, Fingerprint)> {
        let mut weights = weight_files::open_plain(&self.folder)?;
        let [input, output] = self.dims.map(|n| n as u64);
        weights.require(input.checked_mul(output))?;
        let fingerprint = weights.fingerprint();
        let linear = weights.linear("linear", self.dims, self.bias, device);
        weights.finish()?;
        Ok((Dense { linear, activation: self.activation }, fingerprint))
    }
}
