//! Methods that count or solve: nothing of them is trained by gradients.
mod ease;
mod markov;
mod popularity;

pub use ease::{Ease, EaseConfig};
pub use markov::{Markov, MarkovConfig};
pub use popularity::{Popularity, PopularityConfig};
