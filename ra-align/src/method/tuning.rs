//! Changes of the language model's own weights, for rivals that tune it.
use crate::config::Tuning;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ra_core::kernels::FrozenLinear;
use ra_core::{Error, LanguageModel, Result, normal, rng};

/// The change of a weight matrix: `scale * down up`, or `scale * up`; zero at the start.
#[derive(Module, Debug)]
pub(crate) struct Delta {
    down: Option<Param<Tensor<2>>>,
    up: Param<Tensor<2>>,
}

/// Creates a change for each weight matrix of the layers of `lm` from `first_layer` up.
///
/// # Panics
/// If `lm` does not expose its weights.
pub(crate) fn init<L: LanguageModel + ?Sized>(
    tune: Tuning,
    first_layer: usize,
    lm: &L,
    seed: u64,
    device: &Device,
) -> Vec<Delta> {
    let random = &mut rng(seed, "lora", 0);
    let zeros = |shape: [usize; 2]| Param::from_tensor(Tensor::zeros(shape, device));
    let mut deltas = Vec::new();
    let mut add = |linear: &FrozenLinear| {
        let [input, output] = linear.dims();
        deltas.push(match tune {
            Tuning::Lora(rank) => {
                Delta { down: Some(normal([input, rank], 1.0, random, device)), up: zeros([rank, output]) }
            }
            _ => Delta { down: None, up: zeros([input, output]) },
        });
        linear.clone()
    };
    if tune != Tuning::None {
        let shown = lm.tunable().map(|matrices| matrices.with_linears(first_layer, &mut add));
        assert!(shown.is_some(), "tune needs a language model that shows its weights");
    }
    deltas
}

/// Checks that a language model that is to be tuned exposes its weights.
///
/// # Errors
/// [`Error::Missing`] if it does not.
pub(crate) fn require_tunable<L: LanguageModel + ?Sized>(tune: Tuning, lm: &L) -> Result<()> {
    if tune == Tuning::None || lm.tunable().is_some() {
        return Ok(());
    }
    let remedy = "set tune to none, or implement ra_core::TunableMatrices for this one";
    Err(Error::Missing { what: "a language model that shows its weights".into(), remedy: remedy.into() })
}

/// Returns the LoRA matrices of `deltas`, `[input, rank]` and `[rank, output]`, whose product is the change of a weight
/// matrix; nothing if there are none, or changes are not of low rank.
pub(crate) fn lora(deltas: &[Delta], scale: f32) -> Option<Vec<[Tensor<2>; 2]>> {
    let one = |Delta { down, up }: &Delta| Some([down.as_ref()?.val(), up.val() * scale]);
    deltas.iter().map(one).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

/// Returns `lm` with `scale` times each of `deltas` added to its matrices, in the order of [`init`].
pub(crate) fn apply<'a, L: LanguageModel>(
    deltas: &[Delta],
    scale: f32,
    first_layer: usize,
    lm: &'a L,
) -> Box<dyn LanguageModel + 'a> {
    let mut next = deltas.iter();
    let mut change = |linear: &FrozenLinear| match next.next() {
        Some(Delta { down, up }) => {
            let delta = match down {
                Some(down) => down.val().matmul(up.val()),
                None => up.val(),
            };
            linear.plus(delta * scale)
        }
        None => linear.clone(),
    };
    match lm.tunable() {
        Some(matrices) if !deltas.is_empty() => matrices.with_linears(first_layer, &mut change),
        _ => Box::new(lm),
    }
}
