//! A language model whose tokens are counted.
use burn::tensor::{Device, Int, Tensor};
use ra_core::kernels::FrozenLinear;
use ra_core::{LanguageModel, LayerInput, LmSpec, PooledText};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the tokens that enter; all else is the model's own.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) lm: Box<dyn LanguageModel>,
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
    fn layer_at(&self, index: usize, input: LayerInput, rows: Tensor<1, Int>) -> Tensor<3> {
        self.lm.layer_at(index, input, rows)
    }
    fn finish(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.lm.finish(hidden)
    }
    fn pooled_text(&self, input: LayerInput, rows: Tensor<1, Int>) -> Option<PooledText> {
        self.lm.pooled_text(input, rows)
    }
    fn pooled_layer(&self, text: &PooledText, prefix: Option<Tensor<3>>) -> Tensor<2> {
        self.lm.pooled_layer(text, prefix)
    }
    fn with_linears(
        &self,
        first: usize,
        change: &mut dyn FnMut(&FrozenLinear) -> FrozenLinear,
    ) -> Option<Box<dyn LanguageModel>> {
        let lm = self.lm.with_linears(first, change)?;
        Some(Box::new(Self { lm, tokens: self.tokens.clone() }))
    }
}
