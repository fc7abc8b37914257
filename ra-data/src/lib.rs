//! From raw interaction logs to clean, split and curated data sets.
