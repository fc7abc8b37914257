//! ID representation alignment: layer-wise soft prompts for a frozen language model.
