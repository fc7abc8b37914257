//! Methods that count or solve, without gradient training.
pub(crate) mod decayed;
mod ease;
mod item_knn;
mod lexical;
mod local_ease;
mod markov;
mod popularity;
mod recent;
mod spectrum;
mod title_ease;
mod title_pairs;
mod title_svd;
mod titles;

pub use ease::{Ease, EaseConfig};
pub use item_knn::{ItemKnn, ItemKnnConfig, Similarity};
pub use lexical::{Lexical, LexicalConfig};
pub use markov::{Markov, MarkovConfig};
pub use popularity::{Popularity, PopularityConfig};
pub use recent::RecentConfig;
pub use title_ease::{TitleEase, TitleEaseConfig};
pub use title_pairs::{TitlePairs, TitlePairsConfig};
pub use title_svd::{TitleSvd, TitleSvdConfig};
