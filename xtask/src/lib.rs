//! RA-Rec as a whole: recipes, the stages of a run, and recommendations from finished runs.
//!
//! A [`Recipe`] describes what to do, a [`Context`] where and with which devices, and [`run`] does it, from raw files
//! to the report. Each stage is one function of [`stages`], and [`run`] chains them. [`suite`] calls it for many
//! recipes, and [`recommend`] reads the run folder that it leaves behind. [`tune`] searches for values of keys.
//!
//! ```no_run
//! use ra_rec::{Context, Earlier, Recipe, Who, recommend, run};
//! use std::path::Path;
//!
//! let root = Path::new("."); // data, models, caches and runs lie here
//! let out = root.join("runs/quickstart");
//! let recipe = Recipe::load("quickstart", &["train.steps=100".into()], root)?;
//! let report = run(&recipe, &Context::new(&recipe, root, &out, Earlier::Kept)?)?;
//! println!("{} rows", report.rows.len());
//!
//! let history = Who::Titles(vec!["Toy Story (1995)".into()]);
//! println!("{}", recommend(&out, &history, None, 10, root)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#[macro_use]
mod terminal;

mod bench;
pub mod bundle;
mod checks;
pub mod commands;
mod context;
mod estimate;
mod fetch;
mod machine;
mod names;
mod pages;
mod recipe;
mod recommend;
mod run;
pub mod serve;
pub mod stages;
mod store;
pub mod suite;
pub mod tune;
pub mod update;
mod verify;

pub use bundle::Bundle;
pub use context::{Context, Output};
pub use ra_eval::{Metric, Report, Row, RowKind};
pub use recipe::{IdTable, ItemNames, Recipe, Source, Variant};
pub use recommend::{Item, Recommendation, Recommended, RowName, Who, recommend};
pub use run::run;
pub use store::Earlier;

/// Compiles the Rust blocks of the README and the guide, and runs them if they can run.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/guide/src/quick-start.md")]
    struct QuickStart;
    #[doc = include_str!("../../docs/guide/src/id-methods.md")]
    struct IdMethods;
    #[doc = include_str!("../../docs/guide/src/language-models.md")]
    struct LanguageModels;
    #[doc = include_str!("../../docs/guide/src/serving.md")]
    struct Serving;
    #[doc = include_str!("../../docs/guide/src/backbones.md")]
    struct Backbones;
    #[doc = include_str!("../../docs/guide/src/paper.md")]
    struct Paper;
}
