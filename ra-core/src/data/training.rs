//! What a training leaves to tell of itself: its curve, and what was trained.
use serde::{Deserialize, Serialize};

/// One trained tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamRow {
    /// Path of the parameter in its module.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its number of scalars.
    pub params: usize,
}

/// The sum of a table of parameters.
pub fn trainable_params(table: &[ParamRow]) -> usize {
    table.iter().map(|row| row.params).sum()
}

/// A point of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps done.
    pub step: usize,
    /// Mean training loss since the last point.
    pub loss: f64,
    /// Validation metric, higher is better.
    pub validation: Option<f64>,
}

/// A learning curve and where it was best.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The points in order of steps.
    pub points: Vec<CurvePoint>,
    /// Steps done when the model that was kept was seen.
    pub best_step: usize,
    /// Whether patience ran out before the steps did.
    pub stopped_early: bool,
    /// Wall seconds of the training, those before it was cut off included.
    #[serde(skip)]
    pub seconds: f64,
}
