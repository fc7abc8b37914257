//! Frozen pretrained language models: loads a folder or file as a [`ra_core::LanguageModel`] and a
//! [`ra_core::Tokenizer`].
//!
//! Loading weights (names, shapes, number formats, tokenizers) is a task of its own, so it has its own crate, the only
//! one of the workspace that depends on `tokenizers`. Nothing runs Python, and no pickle is opened.
//!
//! # What it reads
//!
//! | | |
//! |---|---|
//! | encoders | BERT (MiniLM and most sentence encoders), RoBERTa, XLM-R, CamemBERT, DistilBERT, MPNet, ModernBERT, |
//! | | Nomic BERT, T5 and mT5 encoders, EmbeddingGemma |
//! | language models | GPT-2, Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma 1 to 3 |
//! | static tables | model2vec, `StaticEmbedding` |
//! | Hugging Face folder | `config.json`, `model.safetensors` or shards (f32, f16, bf16), a tokenizer or word list |
//! | adapters | a PEFT folder with LoRA matrices, merged at load |
//! | sentence-transformers | `modules.json`: its pooling, dense layers, maximum length and lower-casing apply |
//! | GGUF | one file or its parts; all number formats that llama.cpp writes |
//!
//! To use any other model, implement [`ra_core::LanguageModel`] in your own crate. If a file asks for something that
//! this crate cannot compute, you get an error that names the file and the key, never a silent approximation. One error
//! lists all problems of the weights.
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
//! `examples/encode_titles.rs` compares titles by such vectors.
//!
//! # Features
//! - `matrix-unit` (default): matrix products on the processor's matrix unit, if it has one.
//! - `untrained`: `write_untrained_gpt2` makes a small GPT-2 with random weights, for examples and as a baseline.
#![recursion_limit = "256"]

mod arch;
mod dense;
mod error;
mod folder;
mod gguf;
mod layer;
mod load;
mod positions;
mod reading;
mod tokenizer;
mod transformer;
#[cfg(feature = "untrained")]
mod untrained;
mod weights;

pub use error::{LlmError, Result};
pub use folder::prompts::ModelPrompts;
pub use folder::write_adapter::ADAPTER_FILES;
pub use load::{PretrainedLm, load, load_adapted, load_weights, write_adapter};
pub use reading::Reading;
pub use tokenizer::HfTokenizer;
#[cfg(feature = "untrained")]
pub use untrained::{UNTRAINED_GPT2_FILES, write_untrained_gpt2};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
