//! Settings that cannot work, by key: what a configuration reports before anything is read or trained.
use crate::{Error, Result};
use std::fmt::{self, Display};

/// A configuration that can check its own values before anything is read or trained.
pub trait Check {
    /// The settings that cannot work, by key.
    fn problems(&self) -> Vec<Problem>;

    /// The settings that work but are rarely intended, by key; a reader of the results must know about them.
    fn oddities(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Returns an error that lists all problems in one line.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is any problem.
    fn check(&self) -> Result<()> {
        Problem::refuse(&self.problems())
    }
}

/// A setting that cannot work or is rarely intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key as in its own table, such as `lr`; [`within`](Self::within) prepends the table.
    pub key: String,
    /// The value and what is allowed, as the words after the key: `is -1, it must be above 0`.
    pub told: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.told)
    }
}

impl Problem {
    /// Creates a problem; `told` follows the key in a sentence.
    pub fn new(key: impl Into<String>, told: impl Into<String>) -> Self {
        Self { key: key.into(), told: told.into() }
    }

    /// The same problem with the table's name before the key.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }

    /// A `patience` that ends training at the first validation (one per `validate_every` steps or epochs) without
    /// progress.
    pub fn if_impatient(patience: usize, validate_every: usize) -> Option<Self> {
        let told = "is 1: training stops at the first validation without improvement";
        (patience == 1 && validate_every > 0).then(|| Self::new("patience", told))
    }

    /// A number that is not positive and finite.
    pub fn unless_positive<T: Copy + Display + Into<f64>>(key: &str, value: T) -> Option<Self> {
        let number: f64 = value.into();
        let told = || Self::new(key, format!("is {value}, it must be above 0 and finite"));
        (!(number > 0.0 && number.is_finite())).then(told)
    }

    /// A number that is negative or not finite.
    pub fn if_negative<T: Copy + Display + Into<f64>>(key: &str, value: T) -> Option<Self> {
        let number: f64 = value.into();
        let told = || Self::new(key, format!("is {value}, it must be 0 or above and finite"));
        (!(number >= 0.0 && number.is_finite())).then(told)
    }

    /// A share that is not in `0..1` (1 excluded).
    pub fn unless_share<T: Copy + Display + Into<f64>>(key: &str, value: T) -> Option<Self> {
        let told = || Self::new(key, format!("is {value}, it must be from 0 up to, not including, 1"));
        (!(0.0..1.0).contains(&value.into())).then(told)
    }

    /// A count below `least`.
    pub fn if_below(key: &str, value: usize, least: usize) -> Option<Self> {
        (value < least).then(|| Self::new(key, format!("is {value}, it must be at least {least}")))
    }

    /// A count above `most`.
    pub fn if_above(key: &str, value: usize, most: usize) -> Option<Self> {
        (value > most).then(|| Self::new(key, format!("is {value}, it must be at most {most}")))
    }

    /// A count below 1 or above `most`.
    pub fn unless_within(key: &str, value: usize, most: usize) -> Option<Self> {
        Self::if_below(key, value, 1).or_else(|| Self::if_above(key, value, most))
    }

    /// Returns an error that lists all problems in one line.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is any problem.
    pub fn refuse(problems: &[Self]) -> Result<()> {
        let told: Vec<String> = problems.iter().map(Self::to_string).collect();
        if told.is_empty() { Ok(()) } else { Err(Error::Settings(told.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_with_their_key_and_what_is_allowed() {
        for wrong in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(Problem::unless_positive("lr", wrong).is_some(), "{wrong}");
        }
        assert_eq!(Problem::unless_positive("lr", 0.1f32), None);
        assert!(Problem::if_negative("clip", -1.0f32).is_some() && Problem::if_negative("clip", 0.0f32).is_none());
        assert!(Problem::unless_share("dropout", 1.0).is_some() && Problem::unless_share("dropout", 0.0).is_none());
        let all: Vec<Problem> = [Problem::if_below("batch", 0, 1), Problem::unless_positive("lr", 0.1f32 - 0.2)]
            .into_iter()
            .flatten()
            .map(|problem| problem.within("train"))
            .collect();
        let told = "train.batch is 0, it must be at least 1; train.lr is -0.1, it must be above 0 and finite";
        assert_eq!(Problem::refuse(&all).unwrap_err().to_string(), told);
        assert!(Problem::refuse(&[]).is_ok());
    }
}
