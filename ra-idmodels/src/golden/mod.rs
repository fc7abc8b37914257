//! Recomputes stored reference cases with the models as they are trained and used.
//!
//! Public, so that anybody who builds for another device, back end or precision can check on the spot that the models
//! still compute the losses, gradients and scores of the reference implementations. Training does not need it.
mod factors;
mod sequences;

use crate::method::parameters::Parameter;
use burn::module::Param;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use ra_core::indices;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tensor by value: shape and numbers.
pub type Array = (Vec<usize>, Vec<f64>);

type Arrays = BTreeMap<String, Array>;

/// Computes every tensor of a case on `device` from its description and inputs, with the names of its expected file as
/// returned by [`comparable`]; `None` if the case is of a model that is not built in.
///
/// # Errors
/// Names the part of the case that is missing or has another shape than the model's.
pub fn verify_case(
    case: &Value,
    inputs: &BTreeMap<String, Array>,
    device: &Device,
) -> Option<Result<BTreeMap<String, Array>, String>> {
    let model = model(case);
    let case = Case { case, inputs, tracked: device.clone().autodiff(), device: device.clone() };
    Some(match model.as_str() {
        "sasrec" => sequences::sasrec(&case),
        "gru4rec" => sequences::gru4rec(&case),
        "bert4rec" => sequences::bert4rec(&case),
        "bpr-mf" => factors::mf(&case),
        "lightgcn" => factors::lightgcn(&case),
        _ => return None,
    })
}

/// Returns the comparable part of a case's `expected` arrays. BERT4Rec's reference also computes states at padding,
/// `[sequences, columns, width]`; this keeps those of the items, `[items, width]`, one sequence after another.
///
/// # Errors
/// Names the part of the case that is missing or has another shape than the model's.
pub fn comparable(case: &Value, inputs: &Arrays, mut expected: Arrays) -> Result<Arrays, String> {
    if model(case) != "bert4rec" {
        return Ok(expected);
    }
    let rows = Ragged::of(&grid(inputs, "seq")?);
    for name in ["encoder", "head"] {
        if let Some(states) = expected.get_mut(name) {
            *states =
                rows.gather(states).ok_or_else(|| format!("{name} is {:?}, not a state a cell of seq", states.0))?;
        }
    }
    Ok(expected)
}

/// Returns the model name of a case without what follows it, as in "BERT4Rec (RecBole structure)".
fn model(case: &Value) -> String {
    let name = case.get("model").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    name.split([' ', '(']).next().unwrap_or_default().to_owned()
}

/// Returns an input of whole numbers, row by row.
fn grid(inputs: &Arrays, name: &str) -> Result<Vec<Vec<i32>>, String> {
    let (shape, values) = inputs.get(name).ok_or(format!("the case lacks {name}"))?;
    let &[rows, width] = shape.as_slice() else { return Err(format!("{name} is not [rows, width]")) };
    let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
    Ok(if width == 0 { vec![Vec::new(); rows] } else { values.chunks(width).map(<[i32]>::to_vec).collect() })
}

/// A case and the device that computes it.
struct Case<'a> {
    case: &'a Value,
    inputs: &'a Arrays,
    device: Device,
    tracked: Device,
}

impl Case<'_> {
    fn number(&self, key: &str) -> Result<f64, String> {
        self.case.get(key).and_then(Value::as_f64).ok_or(format!("the case lacks {key}"))
    }

    fn size(&self, key: &str) -> Result<usize, String> {
        Ok(self.number(key)? as usize)
    }

    fn input(&self, name: &str) -> Result<&Array, String> {
        self.inputs.get(name).ok_or(format!("the case lacks {name}"))
    }

    /// Returns an input of whole numbers.
    fn ints(&self, name: &str) -> Result<Vec<i32>, String> {
        Ok(self.input(name)?.1.iter().map(|&v| v as i32).collect())
    }

    fn line(&self, values: &[i32]) -> Tensor<1, Int> {
        indices(values.iter().map(|&value| value as u32), &self.device)
    }

    /// Returns an input of whole numbers, row by row.
    fn grid(&self, name: &str) -> Result<Vec<Vec<i32>>, String> {
        grid(self.inputs, name)
    }

    /// Returns a float input.
    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>, String> {
        let (shape, values) = self.input(name)?;
        let shape: [usize; D] = shape.as_slice().try_into().map_err(|_| format!("{name} has not {D} axes"))?;
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// Loads the case's parameters into a model.
    fn fill(&self, parameters: Vec<(String, Parameter<'_>)>) -> Result<(), String> {
        for (name, parameter) in parameters {
            let checked = |found: &[usize], expected: &[usize]| {
                if found == expected { Ok(()) } else { Err(format!("{name}: {found:?}, expected {expected:?}")) }
            };
            match parameter {
                Parameter::Table(p) => {
                    let value = self.tensor::<2>(&name, &self.tracked)?;
                    checked(&value.dims(), &p.dims())?;
                    *p = Param::from_tensor(value);
                }
                Parameter::Matrix(p) => {
                    let value = self.tensor::<2>(&name, &self.tracked)?.transpose();
                    checked(&value.dims(), &p.dims())?;
                    *p = Param::from_tensor(value);
                }
                Parameter::Vector(p) => {
                    let value = self.tensor::<1>(&name, &self.tracked)?;
                    checked(&value.dims(), &p.dims())?;
                    *p = Param::from_tensor(value);
                }
            }
        }
        Ok(())
    }
}

/// Adds the gradients of a model's parameters as `grad.NAME`.
fn gradients(out: &mut Arrays, parameters: Vec<(String, Parameter<'_>)>, grads: &Gradients) -> Result<(), String> {
    for (name, parameter) in parameters {
        let missing = || format!("no gradient reaches {name}");
        let grad = match parameter {
            Parameter::Table(p) => array(p.val().grad(grads).ok_or_else(missing)?),
            Parameter::Matrix(p) => array(p.val().grad(grads).ok_or_else(missing)?.transpose()),
            Parameter::Vector(p) => array(p.val().grad(grads).ok_or_else(missing)?),
        };
        out.insert(format!("grad.{name}"), grad);
    }
    Ok(())
}

fn array<const D: usize>(x: Tensor<D>) -> Array {
    (x.dims().to_vec(), x.into_data().iter::<f64>().collect())
}

/// Padded rows as sequences: the length of each, and the cells of the padded grid that its items occupy.
struct Ragged {
    lengths: Arc<[usize]>,
    cells: Vec<i32>,
    /// The number of cells of the grid.
    of: usize,
}

impl Ragged {
    /// Finds the cells of `grid` that are not padding (0).
    fn of(grid: &[Vec<i32>]) -> Self {
        let width = grid.first().map_or(0, Vec::len) as i32;
        let filled = |(row, items): (i32, &Vec<i32>)| -> Vec<i32> {
            (row * width..).zip(items).filter(|(_, item)| **item != 0).map(|(cell, _)| cell).collect()
        };
        let rows: Vec<Vec<i32>> = (0..).zip(grid).map(filled).collect();
        let of = grid.len() * width as usize;
        Self { lengths: rows.iter().map(Vec::len).collect(), cells: rows.concat(), of }
    }

    /// Returns the values in these cells.
    fn pick(&self, grid: &[Vec<i32>]) -> Vec<i32> {
        let flat = grid.concat();
        self.cells.iter().map(|&cell| flat[cell as usize]).collect()
    }

    /// Returns the values of an array `[rows, columns, width]` in these cells, `[cells, width]`; `None` if the array
    /// has another grid.
    fn gather(&self, (shape, values): &Array) -> Option<Array> {
        let &[rows, columns, width] = shape.as_slice() else { return None };
        if rows != self.lengths.len() || rows * columns != self.of {
            return None;
        }
        let cell = |&cell: &i32| &values[cell as usize * width..][..width];
        Some((vec![self.cells.len(), width], self.cells.iter().flat_map(cell).copied().collect()))
    }

    /// Puts `[cells, width]` back into a grid of `rows` by `columns`, with zeros elsewhere.
    fn pad(&self, x: &Tensor<2>, rows: usize, columns: usize) -> Array {
        let [_, width] = x.dims();
        let mut out = vec![0.0; rows * columns * width];
        let values = x.to_data().iter::<f64>().collect::<Vec<_>>();
        for (&cell, values) in self.cells.iter().zip(values.chunks(width)) {
            out[cell as usize * width..][..width].copy_from_slice(values);
        }
        (vec![rows, columns, width], out)
    }
}
