//! Parameters under their names in the golden cases.
use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

/// A parameter and its layout in golden files.
pub(crate) enum Parameter<'a> {
    /// Stored as it is.
    Table(&'a mut Param<Tensor<2>>),
    /// Stored transposed.
    Matrix(&'a mut Param<Tensor<2>>),
    /// Stored as it is.
    Vector(&'a mut Param<Tensor<1>>),
}

/// Adds a linear layer's weight and bias under their names.
pub(crate) fn linear<'a>(all: &mut Vec<(String, Parameter<'a>)>, name: &str, layer: &'a mut Linear) {
    all.push((format!("{name}.w"), Parameter::Matrix(&mut layer.weight)));
    all.extend(layer.bias.as_mut().map(|b| (format!("{name}.b"), Parameter::Vector(b))));
}

/// Adds a layer norm's scale and shift under their names.
pub(crate) fn norm<'a>(all: &mut Vec<(String, Parameter<'a>)>, name: &str, layer: &'a mut LayerNorm) {
    all.push((format!("{name}.w"), Parameter::Vector(&mut layer.gamma)));
    all.extend(layer.beta.as_mut().map(|b| (format!("{name}.b"), Parameter::Vector(b))));
}
