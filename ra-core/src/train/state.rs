//! The saved state of a training: one safetensors file from which it resumes as if it had not been interrupted.
use super::adamw::Moments;
use super::checkpoint::{module_from_bytes, module_to_bytes};
use super::fit::FitCursor;
use super::steps::Stored;
use crate::{Error, Result, read_bytes, write_atomic};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The tensor with the step of each row.
const LAST: &str = "last";

/// The model with the best validation so far.
#[derive(Debug)]
pub(crate) struct Best<M> {
    pub(crate) metric: f64,
    pub(crate) model: M,
}

/// Everything that a training needs to resume.
#[derive(Debug)]
pub(crate) struct State<M> {
    pub(crate) at: FitCursor,
    pub(crate) model: M,
    pub(crate) best: Option<Best<M>>,
    pub(crate) moments: Vec<Option<Moments>>,
    /// The step of each row, of a training by rows.
    pub(crate) last: Option<Vec<u32>>,
}

/// Everything that is not a tensor, as JSON in the file's metadata.
#[derive(Debug, Serialize, Deserialize)]
struct StateHeader {
    key: String,
    at: FitCursor,
    best: Option<f64>,
    parameters: usize,
}

impl<M: Module> State<M> {
    /// Writes the state with [`write_atomic`].
    pub(crate) fn write(
        path: &Path,
        key: &str,
        at: &FitCursor,
        Stored { model, moments, last }: &Stored<M>,
        best: Option<&Best<M>>,
    ) -> Result<()> {
        let fail = |e: String| Error::corrupt(path, format!("the state cannot be written: {e}"));
        let notes =
            StateHeader { key: key.into(), at: at.clone(), best: best.map(|b| b.metric), parameters: moments.len() };
        let notes = serde_json::to_string(&notes).map_err(|e| fail(e.to_string()))?;
        let mut parts = vec![("model".to_string(), Dtype::U8, module_to_bytes(model, path)?)];
        if let Some(best) = best {
            parts.push(("best".into(), Dtype::U8, module_to_bytes(&best.model, path)?));
        }
        let floats = |x: &Tensor<1>| x.to_data().iter::<f32>().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        for (index, moments) in moments.iter().enumerate() {
            if let Some(Moments { first, second }) = moments {
                parts.push((format!("first.{index}"), Dtype::F32, floats(first)));
                parts.push((format!("second.{index}"), Dtype::F32, floats(second)));
            }
        }
        if !last.is_empty() {
            parts.push((LAST.into(), Dtype::U32, last.iter().flat_map(|step| step.to_le_bytes()).collect()));
        }
        let mut views = Vec::with_capacity(parts.len());
        for (name, dtype, bytes) in &parts {
            let width = if *dtype == Dtype::U8 { 1 } else { 4 };
            views.push((
                name.as_str(),
                TensorView::new(*dtype, vec![bytes.len() / width], bytes).map_err(|e| fail(e.to_string()))?,
            ));
        }
        let notes = HashMap::from([("notes".to_string(), notes)]);
        write_atomic(path, &safetensors::serialize(views, Some(notes)).map_err(|e| fail(e.to_string()))?)
    }

    /// Reads a state that was written under `key`; `fresh` determines shapes and device.
    pub(crate) fn read(path: &Path, key: &str, fresh: &M) -> Result<Self> {
        let bytes = read_bytes(path)?;
        let broken = |e: String| Error::corrupt(path, format!("damaged training state: {e}; delete it to start over"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
        let notes = header.metadata().as_ref().and_then(|m| m.get("notes")).ok_or_else(|| broken("no notes".into()))?;
        let notes: StateHeader = serde_json::from_str(notes).map_err(|e| broken(e.to_string()))?;
        if notes.key != key {
            return Err(Error::corrupt(
                path,
                format!("the training was started with other settings ({}); delete it to start over", notes.key),
            ));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
        let part =
            |name: &str| file.tensor(name).map(|view| view.data().to_vec()).map_err(|e| broken(format!("{name}: {e}")));
        let device: Device = fresh.devices().into_iter().next().unwrap_or_else(Device::flex).inner();
        let floats = |name: String| -> Result<Tensor<1>> {
            let values: Vec<f32> =
                part(&name)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let n = values.len();
            Ok(Tensor::from_data(TensorData::new(values, [n]), &device))
        };
        let moments = (0..notes.parameters).map(|index| {
            if file.tensor(&format!("first.{index}")).is_err() {
                return Ok(None);
            }
            let [first, second] = ["first", "second"].map(|name| floats(format!("{name}.{index}")));
            Ok(Some(Moments { first: first?, second: second? }))
        });
        let moments = moments.collect::<Result<Vec<_>>>()?;
        let words =
            |bytes: Vec<u8>| bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let last = file.tensor(LAST).is_ok().then(|| part(LAST).map(words)).transpose()?;
        let load = |name| module_from_bytes(fresh.clone(), part(name)?, path);
        let best = match notes.best {
            Some(metric) => Some(Best { metric, model: load("best")? }),
            None => None,
        };
        Ok(Self { at: notes.at, model: load("model")?, best, moments, last })
    }
}
