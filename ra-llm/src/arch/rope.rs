//! Rotary positions as configurations write them: a base and a scaling, at the top level or in a table of their own.
use crate::positions::rotary_frequencies;
use serde_json::Value;
use std::f64::consts::TAU;

/// The base of rotary angles and what scales them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rope {
    theta: f64,
    scaling: Scaling,
}

#[derive(Debug, Clone, PartialEq)]
enum Scaling {
    None,
    /// All angles are divided by the factor.
    Linear(f64),
    /// Slow angles are divided by the factor, fast ones stay (Llama 3.1).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        trained: f64,
    },
    /// A scaling that is not supported, by its name.
    Unknown(String),
}

impl Rope {
    /// `theta` is the base unless a table has its own, as in transformers; the first of `tables` that names a scaling decides.
    pub(super) fn new(theta: Option<f64>, tables: &[Option<&Value>], usual: f64) -> Self {
        let tables = || tables.iter().flatten().filter(|table| !table.is_null());
        // A base that is no number is refused by `problems`.
        let base = |table: &Value| {
            let written = table.get("rope_theta").filter(|base| !base.is_null())?;
            Some(written.as_f64().unwrap_or(f64::NAN))
        };
        let newer = tables().find_map(|table| base(table));
        let scaling = tables().map(|table| Scaling::read(table)).find(|scaling| *scaling != Scaling::None);
        Self { theta: newer.or(theta).unwrap_or(usual), scaling: scaling.unwrap_or(Scaling::None) }
    }

    /// What is not supported, for [`unsupported`](super::limits::unsupported).
    pub(super) fn problems(&self) -> [(bool, String); 2] {
        let theta = self.theta;
        let unknown = if let Scaling::Unknown(name) = &self.scaling { Some(name) } else { None };
        [
            (!(theta > 0.0 && theta.is_finite()), format!("rope_theta {theta} (it must be above 0)")),
            (
                unknown.is_some(),
                format!("rope_scaling {:?} (supported: none, linear, llama3)", unknown.map_or("", String::as_str)),
            ),
        ]
    }

    /// The angle per position of each pair of a head.
    pub(super) fn frequencies(&self, head: usize) -> Vec<f64> {
        let plain = rotary_frequencies(head, self.theta);
        plain.into_iter().map(|frequency| self.scaling.of(frequency)).collect()
    }
}

impl Scaling {
    fn read(table: &Value) -> Self {
        let number = |key: &str| table.get(key).and_then(Value::as_f64);
        let named = ["rope_type", "type"].iter().find_map(|key| table.get(key).filter(|kind| !kind.is_null()));
        let Some(kind) = named else {
            // A table of the base alone.
            return if number("factor").is_none() { Self::None } else { Self::Unknown(table.to_string()) };
        };
        let kind = kind.as_str().unwrap_or_default();
        let positive = |key: &str| number(key).filter(|&x| x > 0.0 && x.is_finite());
        match kind {
            "default" => Self::None,
            "linear" => positive("factor").map_or_else(|| Self::lacking(table), Self::Linear),
            "llama3" => {
                let all = ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"];
                let [Some(factor), Some(low), Some(high), Some(trained)] = all.map(positive) else {
                    return Self::lacking(table);
                };
                if high > low { Self::Llama3 { factor, low, high, trained } } else { Self::lacking(table) }
            }
            other => Self::Unknown(other.into()),
        }
    }

    /// A table without all that its scaling needs.
    fn lacking(table: &Value) -> Self {
        Self::Unknown(table.to_string())
    }

    fn of(&self, frequency: f64) -> f64 {
        match *self {
            Self::None | Self::Unknown(_) => frequency,
            Self::Linear(factor) => frequency / factor,
            Self::Llama3 { factor, low, high, trained } => {
                let turns = trained * frequency / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * kept + frequency / factor * (1.0 - kept)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_of_the_base_alone_scales_nothing() {
        let table = json!({ "rope_theta": 5e5, "rope_type": "default" });
        let rope = Rope::new(None, &[None, Some(&table)], 1e4);
        assert_eq!(rope, Rope { theta: 5e5, scaling: Scaling::None });
        assert_eq!(Rope::new(Some(7.0), &[], 1e4).theta, 7.0);
    }

    #[test]
    fn llama_3_keeps_fast_angles_and_divides_slow_ones() {
        let table = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
        let rope = Rope::new(Some(1e4), &[Some(&table)], 1e4);
        let (plain, scaled) = (rotary_frequencies(16, 1e4), rope.frequencies(16));
        assert_eq!(scaled[0], plain[0], "64 / (2 pi) = 10 turns");
        assert_eq!(scaled[7], plain[7] / 8.0);
        // 3.2 turns: (3.2 - 1) / 3 of the way.
        assert!(scaled[1] < plain[1] && scaled[1] > plain[1] / 2.0, "{scaled:?}");
    }

    #[test]
    fn other_scalings_and_incomplete_ones_are_named() {
        for table in [json!({ "type": "yarn", "factor": 4.0 }), json!({ "type": "linear" }), json!({ "factor": 2.0 })] {
            let rope = Rope::new(None, &[Some(&table)], 1e4);
            let [(_, _), (wrong, told)] = rope.problems();
            assert!(wrong && told.contains("rope_scaling"), "{told}");
        }
    }
}
