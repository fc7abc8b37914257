//! Parameters under the names that the golden cases have for them.
use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

/// A parameter and how golden files store it.
pub(crate) enum Parameter<'a> {
    /// As it is.
    Table(&'a mut Param<Tensor<2>>),
    /// Transposed.
    Matrix(&'a mut Param<Tensor<2>>),
    /// As it is.
    Vector(&'a mut Param<Tensor<1>>),
}

/// Names a linear layer's weight and bias.
pub(crate) fn linear<'a>(all: &mut Vec<(String, Parameter<'a>)>, name: &str, layer: &'a mut Linear) {
    all.push((format!("{name}.w"), Parameter::Matrix(&mut layer.weight)));
    all.extend(layer.bias.as_mut().map(|b| (format!("{name}.b"), Parameter::Vector(b))));
}

/// Names a layer norm's scale and shift.
pub(crate) fn norm<'a>(all: &mut Vec<(String, Parameter<'a>)>, name: &str, layer: &'a mut LayerNorm) {
    all.push((format!("{name}.w"), Parameter::Vector(&mut layer.gamma)));
    all.extend(layer.beta.as_mut().map(|b| (format!("{name}.b"), Parameter::Vector(b))));
}
