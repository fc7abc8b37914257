//! Data: from raw files to a filtered, split and audited data set.
use crate::context::Context;
use crate::fetch;
use crate::recipe::{Recipe, rows};
use anyhow::{Context as _, Result, bail};
use ra_core::{Dataset, ItemId, UserId};
use ra_data::{DataConfig, Prepared, Severity};
use ra_eval::{AuditFinding, AuditLevel, EvalConfig, HeldOut, Part, Repeats};
use ra_idmodels::IdMethod;
use std::collections::HashSet;
use std::path::Path;

/// The data that a run trains and evaluates on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Data {
    /// The filtered and split data set.
    pub dataset: Dataset,
    /// The findings of the audit, for the report.
    pub audit: Vec<AuditFinding>,
    /// When each item of the catalogue was first seen, if the log has times.
    pub first_seen: Option<Vec<f64>>,
    /// The users that stages validate on, by number; empty if nothing is held out for validation.
    pub validation: Vec<UserId>,
}

/// Reads, filters and splits the data of a recipe, and checks that it supports the recipe's report.
///
/// # Errors
/// As [`ra_data::prepare`]; if no user could be evaluated, or if the recipe needs titles, a validation part or cold
/// items and the data has none.
pub fn data(recipe: &Recipe, cx: &Context) -> Result<Data> {
    let prepared = read(recipe, &cx.root)?;
    cx.say(ra_data::describe(&prepared));
    let (mut audit, first_seen) = (audit(&prepared), prepared.first_seen());
    audit.extend(recipe.start_from.as_deref().map(started));
    let dataset = prepared.dataset;
    check_support(recipe, &dataset)?;
    warn_of_full_users(&dataset);
    recipe.oddities().iter().for_each(|problem| tracing::warn!("{problem}"));
    let data = Data { validation: cx.validator.users(&dataset), dataset, audit, first_seen };
    check_choices(recipe, &data)?;
    check_criterion(&data, cx)?;
    Ok(data)
}

/// Returns the recipe for the catalogue of `data`, without methods that are not meant for so large a one. What is left out
/// is said, and told in the report.
///
/// # Errors
/// If the recipe cannot do without them.
pub fn recipe_for(recipe: &Recipe, data: &mut Data, cx: &Context) -> Result<Recipe> {
    let (recipe, left_out) = recipe.for_catalog(data.dataset.catalog.len())?;
    for told in left_out {
        cx.say(&told);
        let effect = "its row and its part in blends are missing".into();
        data.audit.push(AuditFinding { name: "methods".into(), level: AuditLevel::Note, told, effect });
    }
    Ok(recipe)
}

/// Locates, reads, filters and splits the data of a recipe.
pub(crate) fn read(recipe: &Recipe, root: &Path) -> Result<Prepared> {
    Ok(ra_data::prepare(&recipe.data_name, &located(recipe, root)?)?)
}

/// Returns how the data of a recipe are read, with the files of a data set that is known by name.
pub(crate) fn located(recipe: &Recipe, root: &Path) -> Result<DataConfig> {
    Ok(match recipe.data.interactions {
        Some(_) => recipe.data.clone(),
        None => fetch::locate_data(&recipe.data_name, root)?.into_config(recipe.data.clone()),
    })
}

/// Returns what is wrong with the data, for the report.
fn audit(prepared: &Prepared) -> Vec<AuditFinding> {
    let finding = |found: ra_data::AuditFinding| AuditFinding {
        name: found.name.into(),
        level: match found.level {
            Severity::Fine => AuditLevel::Fine,
            Severity::Note => AuditLevel::Note,
            Severity::Warning => AuditLevel::Warning,
        },
        told: found.told,
        effect: found.effect.into(),
    };
    ra_data::audit(prepared).findings.into_iter().map(finding).collect()
}

/// Says that trainings start from a bundle.
fn started(bundle: &Path) -> AuditFinding {
    AuditFinding {
        name: "start_from".into(),
        level: AuditLevel::Note,
        told: format!("trainings start from the models of {}", bundle.display()),
        effect:
            "if these have seen what is held out here, figures are too high: do not compare them with runs from scratch"
                .into(),
    }
}

/// Refuses metrics over no users, and rows that read titles if there are none.
fn check_support(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    let held_out = HeldOut::new(dataset, Part::Test);
    let users = held_out.evaluated(&recipe.eval);
    if users.is_empty() {
        let none = held_out.evaluated(&EvalConfig { repeats: Repeats::Kept, ..recipe.eval.clone() });
        match none.is_empty() {
            true => bail!("no user has a test interaction to evaluate; hold more out ({})", dataset.split),
            false => bail!(
                "eval.repeats is skipped and every target is an item that its user had before: nobody is left to \
                 evaluate; set eval.repeats to \"kept\""
            ),
        }
    }
    let strangers = users.iter().filter(|&&user| dataset.train.row(user).is_empty()).count();
    if let (true, Some(id)) = (strangers > 0, recipe.ids.iter().find(|id| id.knows_trained_users_only())) {
        tracing::warn!(
            users = strangers,
            of = users.len(),
            "users who are evaluated have no training interaction: {} has no vector for them, so the tie rule decides",
            id.kind()
        );
    }
    if recipe.reads_titles() || recipe.ids.iter().any(|id| id.reads_text() || id.reads_titles()) {
        let catalog = &dataset.catalog;
        let has_titles = catalog.titles().iter().any(|title| !title.trim().is_empty());
        let needs_titles = recipe.ids.iter().any(|id| id.reads_titles());
        if needs_titles && !has_titles || !catalog.all().any(|item| catalog.has_text(item)) {
            bail!(
                "none of the {} items has a title, but these read titles: {}; name the file of titles by data.items (its \
                 ids must be those of the log), or leave these out",
                dataset.catalog.len(),
                readers_of_titles(recipe).join(", ")
            );
        }
    }
    Ok(())
}

/// Returns the methods, settings and rows of a recipe that read titles.
fn readers_of_titles(recipe: &Recipe) -> Vec<String> {
    let methods = recipe.ids.iter().filter(|id| id.reads_features() || id.reads_titles());
    let methods = methods.map(|id| format!("[[id]] {}", id.kind()));
    let grounds = recipe.ids.iter().filter(|id| id.ground.is_some());
    let grounds = grounds.map(|id| format!("ground of {}", id.kind()));
    let text = recipe.has_row(rows::TEXT).then(|| rows::TEXT.to_owned());
    let towers = recipe.variants().iter().filter(|variant| variant.has_towers());
    let rows = text.into_iter().chain(towers.map(|variant| variant.name.clone()));
    methods.chain(grounds).chain(rows.map(|row| format!("row {row}"))).collect()
}

/// Warns about users who had every item in training: any negative drawn for them is an item that they had.
fn warn_of_full_users(dataset: &Dataset) {
    let items = dataset.catalog.len();
    let has_all = |row: &&[ItemId]| row.len() >= items && row.iter().collect::<HashSet<_>>().len() == items;
    let users = dataset.train.rows().filter(has_all).count();
    if users > 0 {
        let of = dataset.users.len();
        tracing::warn!(users, of, "users had every item in training: any negative drawn for them is an item they had");
    }
}

/// Refuses a criterion with a required term that no validation user can measure. Without validation nothing is chosen.
fn check_criterion(data: &Data, cx: &Context) -> Result<()> {
    let users = data.validation.len();
    if users == 0 {
        return Ok(());
    }
    let held_out = HeldOut::new(&data.dataset, Part::Valid).of_users(&data.validation);
    cx.validator.warn_of_idle(&held_out);
    let Some(measure) = cx.validator.lacking(&held_out) else { return Ok(()) };
    let group = measure.group.map_or("", |group| group.name());
    bail!(
        "eval.select asks for {measure}, but none of the {users} validation users has a {group} target; set \
         data.cold_items above 0 to hold items out of training, take another split, set eval.select_users to 0 for all \
         users, or leave {measure} out of eval.select"
    )
}

/// Refuses rows that need validation if nothing is held out for it, and the lift of cold items if no item is cold.
fn check_choices(recipe: &Recipe, data: &Data) -> Result<()> {
    let lifts = recipe.has_row(rows::COLD_LIFT);
    let weighs = |align: &ra_align::AlignConfig| align.departures.id_residual;
    let weighs = weighs(&recipe.align) || recipe.variants().iter().any(|variant| weighs(&variant.align));
    let blends = recipe.variants().iter().any(|variant| !variant.has_towers());
    let grounds = recipe.ids.iter().filter_map(|id| id.ground);
    let grounds = grounds.into_iter().any(|ground| ground.k.is_none() || ground.scale.is_none());
    let chosen = [
        (blends, "the weights of a blend", "the [[variant]] with blend out of eval.rows"),
        (grounds, "the strength of grounding", "id.ground out, or set its k and scale"),
        (
            recipe.for_catalog(data.dataset.catalog.len())?.0.chooses_backbone(),
            "the ID method that is aligned",
            "align = true in one [[id]] table alone",
        ),
        (weighs, "the weight of the ID's own score", "id-residual out of eval.rows and align.id_residual off"),
        (lifts, "the lift of cold items", "cold-lift out of eval.rows"),
    ];
    if let Some((_, what, leave)) = chosen.iter().find(|(asked, ..)| *asked && data.validation.is_empty()) {
        bail!(
            "validation chooses {what}, but the split {:?} holds nothing out for it; take another split, or \
             leave {leave}",
            data.dataset.split
        );
    }
    if lifts {
        ra_align::check_cold(&data.dataset).context("cold-lift needs data.cold_items above 0, or a later test part")?;
    }
    Ok(())
}
