//! Methods that count or solve, without gradient training.
mod ease;
mod markov;
mod popularity;

pub use ease::{Ease, EaseConfig};
pub use markov::{Markov, MarkovConfig};
pub use popularity::{Popularity, PopularityConfig};
