//! Golden cases of a language model with aligned prefixes.
use super::{Outcome, Place, largest, read_arrays, read_value};
use anyhow::{Context, Result, bail};
use burn::tensor::{Int, Tensor, TensorData};
use ra_align::{Candidates, Layerwise, Towers, bpr_in_batch, bpr_sampled, info_nce};
use ra_core::{
    Aligner, Device, Fit, FitConfig, LanguageModel, OptimConfig, Pooling, Prefix, TextBatch, mean_rows, pool,
    run_layers,
};
use ra_idmodels::golden::Array;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

type Arrays = BTreeMap<String, Array>;

/// One text of the case: tokens and ID vectors of users, positives or negatives.
struct Side {
    name: &'static str,
    text: TextBatch,
    ids: Tensor<2>,
}

struct Case {
    lm: Box<dyn LanguageModel>,
    sides: [Side; 3],
    towers: Towers<Layerwise>,
    user_ids: Vec<u32>,
    items: Vec<u32>,
    tau: f32,
    lambda: f32,
}

/// The result of a pass through the layers.
struct Pass {
    states: Vec<Tensor<3>>,
    last: Tensor<3>,
    pooled: Tensor<2>,
}

pub(super) fn run(folder: &Path, place: &Place, outcome: &mut Outcome) -> Result<()> {
    let json = read_value(&folder.join("case.json"))?;
    outcome.kind = json.get("arch").and_then(Value::as_str).unwrap_or("lm").into();
    let model = folder.parent().context("a case must be next to its model folder")?.join("model");
    let pooling = match json.get("pool").and_then(Value::as_str) {
        Some("cls") => Some(Pooling::First),
        Some("last") => Some(Pooling::Last),
        Some("mean") => Some(Pooling::Mean),
        _ => None,
    };
    let lm = match ra_llm::load_weights(&model, pooling, &place.device) {
        Err(ra_llm::LlmError::Architecture { found, .. }) => bail!("not yet supported: {found}"),
        other => other?,
    };
    let lm = place.rounding.precision().of_matrices(lm, &place.device)?;
    let case = Case::read(folder, &json, lm)?;
    let want = read_arrays(&folder.join("expected.safetensors"))?;
    let mut got = Arrays::new();
    case.forward(&mut got);
    case.losses(&mut got);
    let scores = want.iter().filter(|(name, _)| name.starts_with("score")).flat_map(|(_, (_, values))| values);
    let largest_score = largest(scores);
    outcome.compare_all(&got, &want, |name| match name {
        n if n.starts_with("grad") => place.tolerance(&json, "grad"),
        n if n.starts_with("loss") => place.tolerance(&json, "loss"),
        // The dot products of a few pairs may all be small, so the scale is that of the vectors.
        n if n.starts_with("score") => place.tolerance_of_sum(&json, "forward", largest_score),
        _ => place.tolerance(&json, "forward"),
    });
    case.trajectory(&json, place, outcome)
}

impl Case {
    fn read(folder: &Path, json: &Value, lm: Box<dyn LanguageModel>) -> Result<Self> {
        let inputs = read_arrays(&folder.join("input.safetensors"))?;
        let number =
            |key: &str| json.get(key).and_then(Value::as_f64).with_context(|| format!("case.json lacks {key}"));
        let get = |name: &str| inputs.get(name).with_context(|| format!("input.safetensors lacks {name}"));
        let (plain, tracked) = (lm.device(), lm.device().autodiff());
        let side = |name: &'static str| -> Result<Side> {
            let text = TextBatch {
                tokens: ints(get(&format!("ids_{name}"))?, &plain),
                mask: floats(get(&format!("mask_{name}"))?, &plain),
            };
            Ok(Side { name, text, ids: floats(get(&format!("e_{name}"))?, &tracked).require_grad() })
        };
        let n_tok = number("n_tok")? as usize;
        let tower = |who: &str| -> Result<Layerwise> {
            let layer = |l: usize| {
                let (w, b) = (get(&format!("{who}.W.{l}"))?, get(&format!("{who}.b.{l}"))?);
                let c = inputs.get(&format!("{who}.c.{l}")).map(|c| floats(c, &tracked));
                Ok((floats(w, &tracked), floats(b, &tracked), c))
            };
            Ok(Layerwise::from_parts(0, n_tok, (0..lm.spec().layers).map(layer).collect::<Result<_>>()?))
        };
        let list = |name: &str| -> Result<Vec<u32>> { Ok(get(name)?.1.iter().map(|&x| x as u32).collect()) };
        Ok(Self {
            sides: [side("user")?, side("pos")?, side("neg")?],
            towers: Towers::new(tower("user")?, tower("item")?),
            user_ids: list("user_id")?,
            items: list("pos_id")?,
            tau: number("tau")? as f32,
            lambda: number("lambda")? as f32,
            lm,
        })
    }

    fn prefix(&self, towers: &Towers<Layerwise>, side: &Side) -> Prefix {
        let tower = if side.name == "user" { &towers.user } else { &towers.item };
        tower.prefix(side.ids.clone().unsqueeze_dim(1))
    }

    fn pass(&self, side: &Side, prefix: Option<&Prefix>) -> Pass {
        let spec = self.lm.spec();
        let embedded = self.lm.embed(side.text.tokens.clone(), side.text.positions());
        let mut states = vec![embedded.clone()];
        let hidden = run_layers(&self.lm, 0..spec.layers, embedded, &side.text, prefix, |_, h| states.push(h.clone()));
        let last = self.lm.finish(hidden);
        let pooled = pool(spec.pooling, last.clone(), &side.text.mask);
        Pass { states, last, pooled }
    }

    fn forward(&self, got: &mut Arrays) {
        for side in &self.sides {
            let name = side.name;
            let [batch, tokens] = side.text.mask.dims();
            let shown = |x: &Tensor<3>| array(plain(x) * side.text.mask.clone().reshape([batch, tokens, 1]));
            let prefix = self.prefix(&self.towers, side);
            for (l, layer) in prefix.layers().iter().enumerate() {
                got.insert(format!("d_{name}.{l}"), array(plain(layer)));
            }
            let (text, hybrid) = (self.pass(side, None), self.pass(side, Some(&prefix)));
            for (kind, pass) in [("text", &text), ("hyb", &hybrid)] {
                for (l, state) in pass.states.iter().enumerate() {
                    got.insert(format!("{kind}_hs_{name}.{l}"), shown(state));
                }
                got.insert(format!("{kind}_last_{name}"), shown(&pass.last));
            }
            got.insert(format!("text_pooled_{name}"), array(text.pooled));
            got.insert(format!("pooled_{name}"), array(plain(&hybrid.pooled)));
            let mean = pool(Pooling::Mean, plain(&hybrid.last), &side.text.mask);
            got.insert(format!("pooled_mean_{name}"), array(mean));
        }
    }

    /// Computes InfoNCE of a side. With `shift` 0 the target is the text-only state that enters a layer, with 1 the one
    /// after it.
    fn alignment(&self, towers: &Towers<Layerwise>, side: &Side, ids: &[u32], shift: usize) -> Tensor<1> {
        let text = self.pass(side, None);
        let prefix = self.prefix(towers, side);
        let layer = |(l, rows): (usize, &Tensor<3>)| {
            let target = mean_rows(text.states[l + shift].clone(), &side.text.mask);
            info_nce(rows.clone().mean_dim(1).squeeze_dim(1), target, ids, self.tau)
        };
        Tensor::cat(prefix.layers().iter().enumerate().map(layer).collect(), 0).mean()
    }

    fn vectors(&self, towers: &Towers<Layerwise>) -> [Tensor<2>; 3] {
        [0, 1, 2].map(|s| self.pass(&self.sides[s], Some(&self.prefix(towers, &self.sides[s]))).pooled)
    }

    fn total(&self, towers: &Towers<Layerwise>, pair: Tensor<1>) -> Tensor<1> {
        let ua = self.alignment(towers, &self.sides[0], &self.user_ids, 1);
        let ia = self.alignment(towers, &self.sides[1], &self.items, 1);
        pair + (ua + ia) * self.lambda
    }

    fn sampled(&self, towers: &Towers<Layerwise>) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
        let [user, positive, negative] = self.vectors(towers);
        let rows = user.dims()[0];
        let dot = |item: Tensor<2>| (user.clone() * item).sum_dim(1).reshape([rows]);
        let (p, n) = (dot(positive), dot(negative));
        (bpr_sampled(p.clone(), n.clone()), p, n)
    }

    fn losses(&self, got: &mut Arrays) {
        let towers = &self.towers;
        let [user, positive, _] = self.vectors(towers);
        let matrix = user.matmul(positive.transpose());
        got.insert("score_matrix".into(), array(plain(&matrix)));
        let in_batch = bpr_in_batch(matrix, &Candidates::in_batch(&self.items, &self.lm.device()));
        let (sampled, p, n) = self.sampled(towers);
        for (name, score) in [("score_pos", p), ("score_neg", n)] {
            got.insert(name.into(), array(plain(&score)));
        }
        for (shift, name) in [(0, "input"), (1, "output")] {
            for (side, ids, tower) in [(0, &self.user_ids, "ua"), (1, &self.items, "ia")] {
                let loss = self.alignment(towers, &self.sides[side], ids, shift);
                got.insert(format!("loss.{tower}_{name}"), array(plain(&loss)));
            }
        }
        for (name, pair) in [("sampled", sampled), ("inbatch", in_batch)] {
            got.insert(format!("loss.bpr_{name}"), array(plain(&pair)));
            let total = self.total(towers, pair);
            got.insert(format!("loss.total_{name}"), array(plain(&total)));
            let grads = total.backward();
            for side in &self.sides {
                // The in-batch loss never reads the sampled negatives: their gradient is zero by definition.
                let grad = side.ids.grad(&grads).unwrap_or_else(|| plain(&side.ids).zeros_like());
                got.insert(format!("grad_{name}.e_{}", side.name), array(grad));
            }
            for (who, tower) in [("user", &towers.user), ("item", &towers.item)] {
                for (l, (w, b, c)) in tower.parts().into_iter().enumerate() {
                    let mut put = |part: &str, grad: Option<Array>| {
                        got.extend(grad.map(|g| (format!("grad_{name}.{who}.{part}.{l}"), g)));
                    };
                    put("W", w.grad(&grads).map(array));
                    put("b", b.grad(&grads).map(array));
                    put("c", c.and_then(|c| c.grad(&grads)).map(array));
                }
            }
        }
    }

    fn trajectory(&self, json: &Value, place: &Place, outcome: &mut Outcome) -> Result<()> {
        let adamw = json.get("adamw").context("case.json lacks adamw")?;
        let number = |key: &str| {
            adamw.pointer(key).and_then(Value::as_f64).with_context(|| format!("case.json: adamw lacks {key}"))
        };
        let want: Vec<f64> =
            serde_json::from_value(adamw["trajectory"].clone()).context("case.json: adamw.trajectory")?;
        let config = FitConfig {
            steps: want.len(),
            optim: OptimConfig {
                lr: number("/lr")?,
                betas: [number("/betas/0")? as f32, number("/betas/1")? as f32],
                epsilon: number("/eps")? as f32,
                weight_decay: number("/weight_decay")? as f32,
                ..OptimConfig::default()
            },
            ..FitConfig::default()
        };
        let loss = |towers: &Towers<Layerwise>, _| self.total(towers, self.sampled(towers).0);
        let (_, curve) = Fit::new("trajectory", &config).run(self.towers.clone(), loss)?;
        let got: Vec<f64> = curve.points.iter().map(|p| p.loss).collect();
        if got.len() != want.len() {
            bail!("the trajectory has {} steps, expected {}", got.len(), want.len());
        }
        for (step, (g, w)) in got.iter().zip(&want).enumerate() {
            outcome.compare(
                &format!("trajectory.{step}"),
                &[*g],
                &[*w],
                place.loosen((0.0, number("/tol_rel")?), "loss"),
            );
        }
        Ok(())
    }
}

fn plain<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.clone().inner() } else { x.clone() }
}

fn array<const D: usize>(x: Tensor<D>) -> Array {
    (x.dims().to_vec(), x.into_data().iter::<f64>().collect())
}

fn floats<const D: usize>((shape, values): &Array, device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape.clone()), device)
}

fn ints((shape, values): &Array, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
    Tensor::from_data(TensorData::new(values, shape.clone()), device)
}
