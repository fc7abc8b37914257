//! Keys of a recipe that do nothing beside the others: whoever sets one expects that it does something.
use crate::recipe::{Recipe, Row};
use ra_align::{AlignLoss, PairLoss, ProjectionKind, Tuning};
use ra_core::Problem;
use ra_idmodels::{IdConfig, Loss};

/// A key without effect, and the key that takes the effect from it.
struct Idle {
    key: &'static str,
    by: &'static str,
    why: &'static str,
}

/// The keys that are `given`, in the recipe or by `sets`, and have no effect: errors first, then what is only told.
///
/// A key of the recipe that a `--set` leaves without effect is told and no more: the settings of a suite would need
/// recipes of their own.
pub(crate) fn without_effect(
    recipe: &Recipe,
    given: impl Fn(&str) -> bool,
    sets: &[String],
) -> (Vec<Problem>, Vec<Problem>) {
    let is_set = |key: &str| sets.iter().filter_map(|set| set.split_once('=')).any(|(own, _)| covers(own.trim(), key));
    let found = idle(recipe).into_iter().filter(|idle| given(idle.key));
    let (told, wrong): (Vec<Idle>, Vec<Idle>) = found.partition(|idle| is_set(idle.by) && !is_set(idle.key));
    let problem = |idle: Idle| Problem::new(idle.key, format!("has no effect: {}; leave it out", idle.why));
    (wrong.into_iter().map(problem).collect(), told.into_iter().map(problem).collect())
}

/// Whether setting `outer` sets `key` as well.
fn covers(outer: &str, key: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// All keys that have no effect in this recipe, given or not.
fn idle(recipe: &Recipe) -> Vec<Idle> {
    let (align, train, rows) = (&recipe.align, &recipe.train, &recipe.rows);
    let asked = |wanted: &[Row]| rows.iter().any(|row| wanted.contains(row));
    let tunes = asked(&[Row::Lora, Row::LoraText, Row::FineTuned, Row::FineTunedText]) || align.tune != Tuning::None;
    let distills = align.distill > 0.0 || asked(&[Row::Distilled]);
    let is_softmax = align.pair_loss == PairLoss::SoftmaxInBatch;
    let other_loss = "align.pair_loss is not softmax_in_batch";
    let no_loss = "align.loss is none";
    let mut found = vec![
        (align.extra_negatives > 0 && !is_softmax, "align.extra_negatives", "align.pair_loss", other_loss),
        (!is_softmax, "align.temperature", "align.pair_loss", other_loss),
        (align.learn_temperature && !is_softmax, "align.learn_temperature", "align.pair_loss", other_loss),
        (align.loss == AlignLoss::None, "align.lambda", "align.loss", no_loss),
        (align.loss != AlignLoss::InfoNce, "align.tau", "align.loss", "align.loss is not infonce"),
        (!distills, "align.distill_scale", "align.distill", "nothing is distilled (align.distill, eval.rows)"),
        (!tunes, "align.tune_scale", "align.tune", "nothing is tuned (align.tune, eval.rows)"),
        (
            align.projection == ProjectionKind::None && align.cross_fit > 0,
            "align.cross_fit",
            "align.projection",
            "align.projection is none: no ID is read",
        ),
        (
            train.patience > 0 && train.validate_every == 0,
            "train.patience",
            "train.validate_every",
            "train.validate_every is 0: nothing is validated",
        ),
        (recipe.lm.path.is_some(), "lm.name", "lm.path", "lm.path names the model"),
    ];
    if let Some(id) = recipe.ids.last() {
        let of_loss = match id {
            IdConfig::Sasrec(config) => Some(config.loss),
            IdConfig::Gru4Rec(config) => Some(config.loss),
            IdConfig::ComiRec(config) => Some(config.loss),
            _ => None,
        };
        if let Some(loss) = of_loss {
            found.push((loss == Loss::Softmax, "id.negatives", "id.loss", "id.loss is softmax, over all items"));
            found.push((loss != Loss::Gbce, "id.calibration", "id.loss", "id.loss is not gbce"));
        }
        if let Some(train) = id.train() {
            let never = train.patience > 0 && train.validate_every == 0;
            let why = "id.train.validate_every is 0: nothing is validated";
            found.push((never, "id.train.patience", "id.train.validate_every", why));
        }
    }
    found.into_iter().filter(|(is_idle, ..)| *is_idle).map(|(_, key, by, why)| Idle { key, by, why }).collect()
}
