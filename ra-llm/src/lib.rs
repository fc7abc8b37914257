//! Frozen pretrained language models and their tokenizers.
