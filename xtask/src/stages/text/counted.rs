//! A language model that counts its tokens.
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::FrozenLinear;
use ra_core::{LanguageModel, LayerInput, LmSpec, PooledPath, TunableMatrices};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A wrapper that counts the tokens that enter a model and forwards everything else.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) lm: Arc<dyn LanguageModel>,
    pub(crate) tokens: Arc<AtomicU64>,
}

impl LanguageModel for Counted {
    fn spec(&self) -> LmSpec {
        self.lm.spec()
    }
    fn device(&self) -> Device {
        self.lm.device()
    }
    fn embed(&self, tokens: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let [texts, length] = tokens.dims();
        self.tokens.fetch_add((texts * length) as u64, Ordering::Relaxed);
        self.lm.embed(tokens, positions)
    }
    fn layer(&self, index: usize, input: LayerInput) -> Tensor<3> {
        self.lm.layer(index, input)
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.lm.finish(hidden)
    }
    fn project(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.lm.project(pooled)
    }
    fn output_width(&self) -> usize {
        self.lm.output_width()
    }
    fn pooled(&self) -> Option<&dyn PooledPath> {
        self.lm.pooled()
    }
    fn tunable(&self) -> Option<&dyn TunableMatrices> {
        self.lm.tunable().map(|_| self as &dyn TunableMatrices)
    }
}

impl TunableMatrices for Counted {
    fn with_linears(
        &self,
        first: usize,
        change: &mut dyn FnMut(&FrozenLinear) -> FrozenLinear,
    ) -> Box<dyn LanguageModel> {
        let lm = match self.lm.tunable() {
            Some(matrices) => matrices.with_linears(first, change).into(),
            // The model exposes no matrices, so none of them changes.
            None => self.lm.clone(),
        };
        Box::new(Self { lm, tokens: self.tokens.clone() })
    }
}
