//! ID-based recommenders and their training.
