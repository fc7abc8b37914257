//! The dense layers that some sentence encoders have after pooling.
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use ra_core::kernels::{Activation, FrozenLinear};

/// A dense layer after pooling, as sentence encoders have it.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    pub(crate) linear: FrozenLinear,
    pub(crate) activation: DenseActivation,
}

/// The activation of a [`Dense`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Identity,
    Tanh,
    Sigmoid,
    Kernel(Activation),
}

/// The dense layers after pooling, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DenseLayers(pub(crate) Vec<Dense>);

impl DenseLayers {
    /// Maps pooled vectors, `[batch, width]`, to the texts' vectors.
    pub(crate) fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.0.iter().fold(pooled, |vector, dense| dense.forward(vector))
    }

    /// The width of a text's vector if that of a pooled one is `width`.
    pub(crate) fn output_width(&self, width: usize) -> usize {
        self.0.last().map_or(width, |dense| dense.linear.dims()[1])
    }
}

impl Dense {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self.activation {
            DenseActivation::Identity => self.linear.forward(x),
            DenseActivation::Tanh => self.linear.forward(x).tanh(),
            DenseActivation::Sigmoid => sigmoid(self.linear.forward(x)),
            DenseActivation::Kernel(activation) => self.linear.activated(x, activation),
        }
    }
}
