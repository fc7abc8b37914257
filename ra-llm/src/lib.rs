//! Frozen pretrained language models as people have them: a Hugging Face folder in, a [`ra_core::LanguageModel`] and a
//! [`ra_core::Tokenizer`] out.
//!
//! The crate stands apart because loading weights is a trade of its own (names, shapes, number formats, tokenizers) and
//! because nothing else in the workspace may depend on `tokenizers`. No Python, no pickles: weights are safetensors.
//!
//! Architectures: BERT (MiniLM and other sentence encoders), GPT-2, Llama, Mistral, Qwen2 and Qwen3. Files: a Hugging Face
//! folder (`config.json`, `model.safetensors` or shards, `tokenizer.json` or BERT's `vocab.txt`; f32, f16, bf16), a folder
//! of sentence-transformers around one, whose pooling and longest text hold, or GGUF with everything in it, whole or in
//! parts.
//!
//! # Example
//! ```no_run
//! use ra_core::{Backend, TextBatch, Tokenizer, encode, open_device};
//!
//! let device = open_device(Backend::Cpu)?;
//! let lm = ra_llm::load("models/minilm".as_ref(), None, &device)?;
//! let (open, close) = lm.tokenizer.special_tokens();
//! let words = lm.tokenizer.tokenize(&["Toy Story"])?.remove(0);
//! let text: Vec<u32> = [open, words, close].concat();
//! let vector = encode(&lm.model, &TextBatch::from_rows(&[&text], &device), None).pooled; // [1, width]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![recursion_limit = "256"]

mod arch;
mod error;
mod folder;
mod gguf;
mod load;
mod reading;
mod tokenizer;
mod transformer;
#[cfg(feature = "untrained")]
mod untrained;
mod weights;

pub use error::{LlmError, Result};
pub use load::{PretrainedLm, load, load_weights};
pub use reading::Reading;
pub use tokenizer::HfTokenizer;
#[cfg(feature = "untrained")]
pub use untrained::{UNTRAINED_GPT2_FILES, write_untrained_gpt2};
