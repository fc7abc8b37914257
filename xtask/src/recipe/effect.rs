//! Keys of a recipe that other keys make ineffective. A user who sets a key expects an effect.
use super::{Recipe, rows};
use ra_align::{AlignConfig, AlignLoss, PairLoss, ProjectionKind, Tuning};
use ra_core::Problem;
use ra_idmodels::{IdConfig, IdMethod, Loss};

/// A key without effect, and the keys that may have removed its effect.
struct Idle {
    key: &'static str,
    /// The `[[id]]` table of the key, counted from 0; nothing for other keys.
    method: Option<usize>,
    by: &'static [&'static str],
    why: &'static str,
}

/// Returns the keys that are `given`, in the recipe or by `sets`, and have no effect: errors first, then warnings.
///
/// A key of the recipe that a `--set` makes ineffective is only a warning. Otherwise the settings of a suite would need
/// separate recipes.
pub(crate) fn without_effect(
    recipe: &Recipe,
    given: impl Fn(&str, Option<usize>) -> bool,
    sets: &[String],
) -> (Vec<Problem>, Vec<Problem>) {
    let is_set = |key: &str, method: Option<usize>| {
        // A key of methods belongs to the last one, or to the last one of its kind; `id` means all of them.
        let is_last = method.is_none_or(|at| at + 1 == recipe.ids.len());
        let mut own = sets.iter().filter_map(|set| set.split_once('=')).map(|(own, _)| own.trim());
        own.any(|own| match (of_kind(own), method) {
            (Some((kind, own)), Some(at)) => {
                recipe.ids.iter().rposition(|id| id.kind() == kind) == Some(at)
                    && key.strip_prefix("id.").is_some_and(|key| covers(own, key))
            }
            _ => (is_last || own == "id") && covers(own, key),
        })
    };
    let found = idle(recipe).into_iter().filter(|idle| given(idle.key, idle.method));
    let (told, wrong): (Vec<Idle>, Vec<Idle>) =
        found.partition(|idle| idle.by.iter().any(|by| is_set(by, idle.method)) && !is_set(idle.key, idle.method));
    let problem = |idle: Idle, told: String| {
        let problem = Problem::new(idle.key, told);
        match idle.method {
            Some(at) => recipe.of_method(problem, &recipe.ids[at]),
            None => problem,
        }
    };
    let wrong = wrong.into_iter().map(|idle| {
        let told = format!("has no effect: {}; leave it out", idle.why);
        problem(idle, told)
    });
    let told = told.into_iter().map(|idle| {
        let told = format!("has no effect beside this --set: {}", idle.why);
        problem(idle, told)
    });
    (wrong.collect(), told.collect())
}

/// Returns the kind and the rest of a key such as `id.bsarec.dim`.
fn of_kind(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("id.")?.split_once('.').filter(|(kind, _)| IdConfig::KINDS.contains(kind))
}

/// Returns whether setting `outer` also sets `key`.
fn covers(outer: &str, key: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns all keys that have no effect in this recipe, given or not.
fn idle(recipe: &Recipe) -> Vec<Idle> {
    let (align, train) = (&recipe.align, &recipe.train);
    let variants: Vec<&AlignConfig> =
        recipe.variants().iter().filter(|variant| variant.has_towers()).map(|variant| &variant.align).collect();
    // The recipe's own configuration, and those of the variants.
    let any = |has: &dyn Fn(&AlignConfig) -> bool| has(align) || variants.iter().any(|variant| has(variant));
    let tunes = any(&|align| align.tuning.tune != Tuning::None);
    let distills = any(&|align| align.departures.distill > 0.0);
    let ties = any(&|align| align.loss.loss != AlignLoss::None);
    let contrasts = any(&|align| align.loss.loss == AlignLoss::InfoNce);
    let is_softmax = any(&|align| align.loss.pair_loss == PairLoss::SoftmaxInBatch);
    let projects = variants.iter().any(|variant| variant.module.projection != ProjectionKind::None);
    let crosses = variants.iter().any(|variant| variant.departures.cross_fit > 0 && variant.reads_ids());
    // A row without IDs turns the ID rows into instruction rows.
    let has_n_tok = projects || variants.iter().any(|variant| variant.module.n_ctx != align.module.n_ctx);
    let looks_closer = recipe.has_row(rows::PROBES) || recipe.has_row(rows::COLD_LIFT);
    let never = train.patience > 0 && train.validate_every == 0;
    let late = train.patience > 0 && train.min_epochs == 0 && train.validate_every > train.steps;
    let is_bound = train.max_steps > 0 && train.max_steps <= train.steps;
    let of_steps: &[&str] = &["train.steps", "train.min_epochs", "train.max_steps"];
    let (other_loss, no_loss) = ("align.pair_loss is not softmax_in_batch", "align.loss is none");
    let no_id = "no row of eval.rows reads IDs by align.projection";
    let (of_pairs, of_ids): (&[&str], &[&str]) = (&["align.pair_loss"], &["align.projection", "eval.rows"]);
    let of_texts: &[&str] = &["align.loss"];
    let mut found: Vec<(bool, &str, &[&str], &str)> = vec![
        (align.loss.extra_negatives > 0 && !is_softmax, "align.extra_negatives", of_pairs, other_loss),
        (!is_softmax, "align.temperature", of_pairs, other_loss),
        (align.loss.learn_temperature && !is_softmax, "align.learn_temperature", of_pairs, other_loss),
        (!ties, "align.lambda", of_texts, no_loss),
        (!contrasts, "align.tau", of_texts, "align.loss is not infonce"),
        (
            !distills,
            "align.distill_scale",
            &["align.distill", "eval.rows"],
            "nothing is distilled (align.distill, eval.rows)",
        ),
        (!tunes, "align.tune_scale", &["align.tune", "eval.rows"], "nothing is tuned (align.tune, eval.rows)"),
        (
            align.departures.cross_fit > 0 && !crosses,
            "align.cross_fit",
            of_ids,
            "no row of eval.rows reads IDs in training",
        ),
        (!projects, "align.id_noise", of_ids, no_id),
        (!projects, "align.id_dropout", of_ids, no_id),
        (!projects, "align.id_drop", of_ids, no_id),
        (!projects, "align.item_id_drop", of_ids, no_id),
        (!has_n_tok, "align.n_tok", of_ids, no_id),
        (
            !looks_closer && !recipe.probes_of.is_empty(),
            "eval.probes_of",
            &["eval.rows"],
            "eval.rows has neither probes nor cold-lift",
        ),
        (
            train.min_epochs == 0 && train.max_steps > 0,
            "train.max_steps",
            of_steps,
            "train.min_epochs is 0: steps alone count",
        ),
        (is_bound && train.min_epochs > 0, "train.min_epochs", of_steps, "train.max_steps is not above train.steps"),
        (never, "train.patience", &["train.validate_every"], "train.validate_every is 0: nothing is validated"),
        (
            late,
            "train.patience",
            &["train.validate_every", "train.steps"],
            "train.validate_every is above train.steps: only the end is validated",
        ),
        (recipe.lm.path.is_some(), "lm.name", &["lm.path"], "lm.path names the model"),
    ];
    let mut idle: Vec<Idle> = Vec::new();
    let of = |method| move |(_, key, by, why)| Idle { key, method, by, why };
    idle.extend(found.drain(..).filter(|(is_idle, ..)| *is_idle).map(of(None)));
    for (at, id) in recipe.ids.iter().enumerate() {
        let of_loss = match &id.method {
            IdConfig::SasRec(config) => Some(config.loss),
            IdConfig::Gru4Rec(config) => Some(config.loss),
            IdConfig::ComiRec(config) => Some(config.loss),
            IdConfig::BsaRec(config) => Some(config.loss),
            IdConfig::UniSRec(config) => Some(config.loss),
            _ => None,
        };
        if let Some(loss) = of_loss {
            found.push((loss == Loss::Softmax, "id.negatives", &["id.loss"], "id.loss is softmax, over all items"));
            found.push((loss != Loss::Gbce, "id.calibration", &["id.loss"], "id.loss is not gbce"));
        }
        if let Some(train) = id.train() {
            let never = train.patience > 0 && train.validate_every == 0;
            let why = "id.train.validate_every is 0: nothing is validated";
            found.push((never, "id.train.patience", &["id.train.validate_every"], why));
        }
        idle.extend(found.drain(..).filter(|(is_idle, ..)| *is_idle).map(of(Some(at))));
    }
    idle
}
