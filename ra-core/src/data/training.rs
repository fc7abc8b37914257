//! The records of a training: its learning curve and its trained parameters.
use serde::{Deserialize, Serialize};

/// One trained tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamRow {
    /// The path of the parameter in its module.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The number of scalars.
    pub params: usize,
}

/// The number of scalars in a table of parameters.
pub fn trainable_params(table: &[ParamRow]) -> usize {
    table.iter().map(|row| row.params).sum()
}

/// A point of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The number of steps done.
    pub step: usize,
    /// The mean training loss since the last point.
    pub loss: f64,
    /// The validation metric; higher is better.
    pub validation: Option<f64>,
}

/// A learning curve and its best point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The points in the order of steps.
    pub points: Vec<CurvePoint>,
    /// The number of steps done when the kept model was validated.
    pub best_step: usize,
    /// Whether patience ended the training before its last step.
    pub stopped_early: bool,
    /// The wall-clock seconds of the training, including those before an interruption.
    #[serde(skip)]
    pub seconds: f64,
}
