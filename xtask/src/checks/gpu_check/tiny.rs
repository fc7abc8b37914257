//! A run that takes seconds even if a CPU stands in for the GPU: a data set in which each item has a fixed successor,
//! and the language model of the golden cases with a tokenizer of as many words.
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

const USERS: usize = 48;
const ITEMS: usize = 24;

/// Writes the recipe `tiny` into `root`, and its data and language model into `folder`. The recipe names files as `folder`
/// does; if that is not absolute, it is below `root`, where the run must then be started.
///
/// # Errors
/// If the golden cases hold no `bert/model`, or a file cannot be written.
pub(in crate::checks) fn write(root: &Path, folder: &Path, cases: &Path) -> Result<()> {
    let inputs = root.join(folder);
    let file = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))
    };
    let rows = (0..USERS).flat_map(|u| (0..7).map(move |t| format!("u{u}\ti{}\t{t}\n", (u + t) % ITEMS)));
    file(inputs.join("log.tsv"), &format!("user\titem\tpos\n{}", rows.collect::<String>()))?;
    let titles: String = (0..ITEMS).map(|i| format!("i{i}\ttitle w{i}\n")).collect();
    file(inputs.join("items.tsv"), &format!("item\ttitle\n{titles}"))?;
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "title", ";"].map(str::to_owned);
    let words = words.into_iter().chain((0..ITEMS).map(|i| format!("w{i}")));
    let vocabulary: serde_json::Map<String, serde_json::Value> = words.zip(0..).map(|(w, i)| (w, json!(i))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    });
    file(inputs.join("lm/tokenizer.json"), &tokenizer.to_string())?;
    for name in ["config.json", "model.safetensors"] {
        let from = cases.join("bert/model").join(name);
        std::fs::copy(&from, inputs.join("lm").join(name)).with_context(|| format!("{}: is needed", from.display()))?;
    }
    let recipe = format!(
        "[data]\nname = 'tiny'\ninteractions = {:?}\nitems = {:?}\n\
         [[id]]\nkind = 'pop'\n[[id]]\nkind = 'sasrec'\ndim = 16\nmax_length = 8\n[id.train]\nepochs = 8\nbatch = 48\n\
         [lm]\npath = {:?}\n[align]\nfirst_layer = 1\nextra_negatives = 8\nn_tok = 2\n\
         [train]\nbatch = 48\nsteps = 12\nlr = 0.05\nvalidate_every = 6\n[eval]\nks = [10]\n",
        folder.join("log.tsv"),
        folder.join("items.tsv"),
        folder.join("lm"),
    );
    file(root.join("xtask/recipes/tiny.toml"), &recipe)
}
