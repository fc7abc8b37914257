//! Recommendations by a row of a finished run, with ids, titles and scores.
mod named;

pub use named::Who;

use crate::recipe::{IdTable, OWN, Recipe, Variant, remedies, rows};
use crate::stages::{FrozenText, IdModels, ItemVectors, Saved, load, read, row as row_of};
use crate::store::RunFolder;
use crate::terminal::printable;
use anyhow::{Context, Result, bail};
use ra_core::{Catalog, History, ItemId, Recommender, host_numbers, open_device};
use ra_eval::{Metric, Report, item_vectors};
use ra_idmodels::IdMethod;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

/// The number of history items to show, the latest ones, and the number of letters per title.
const SHOWN: usize = 10;
const LETTERS: usize = 160;

/// The recommendations by a row of a finished run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Recommendation {
    /// The row of the report.
    pub row: RowName,
    /// The user, if one of the data set was given.
    pub user: Option<String>,
    /// The known history, oldest first.
    pub history: Vec<Item>,
    /// The recommended items, best first.
    pub recommended: Vec<Recommended>,
    /// Remarks that the reader must know.
    pub notes: Vec<String>,
}

/// A row of a report.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RowName {
    /// The name in the report.
    pub name: String,
    /// The kind of the row.
    pub kind: String,
}

/// An item of a catalogue.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Item {
    /// The id in the log.
    #[serde(rename = "item")]
    pub id: String,
    /// The title, empty if there is none.
    pub title: String,
}

impl Item {
    fn new(catalog: &Catalog, item: ItemId) -> Self {
        Self { id: catalog.id(item).to_owned(), title: catalog.title(item).to_owned() }
    }
}

/// An item with its score.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Recommended {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The score of the row's model, comparable within one list.
    pub score: f32,
}

/// A row of a report that can recommend, and its components.
struct Source {
    /// The name in the report.
    name: String,
    kind: String,
    /// The criterion on the validation part, if the report has it.
    validation: Option<f64>,
    /// NDCG at the smallest K of the report, to choose among rows; below all others if there is none.
    figure: f64,
    model: Model,
}

impl Source {
    /// Returns the name that the recipe has for the row.
    fn row(&self) -> &str {
        match &self.model {
            Model::Id => &self.name,
            Model::Text => rows::TEXT,
            Model::Aligned(variant) => &variant.name,
        }
    }
}

enum Model {
    Id,
    Text,
    Aligned(Box<Variant>),
}

/// Returns the `top` items that the run in the folder `run` recommends to `who`. `row` names a row of its report by
/// kind or name; the default is the row that validates best, or RA-Rec if nothing was held out for validation. Data, models and caches are under `root`.
///
/// # Errors
/// If the run is not finished or its inputs have changed; if the row or the user is unknown, or if the row cannot
/// recommend to that user.
pub fn recommend(run: &Path, who: &Who, row: Option<&str>, top: usize, root: &Path) -> Result<Recommendation> {
    recommended(run, who, row, top, root).map_err(remedies::in_recipe)
}

fn recommended(run: &Path, who: &Who, row: Option<&str>, top: usize, root: &Path) -> Result<Recommendation> {
    if top == 0 {
        bail!("--top is 0, it must be at least 1");
    }
    let (folder, manifest) = RunFolder::finished(run)?;
    let recipe = manifest.recipe()?;
    let report = Report::read(run)?;
    let sources = sources(&report, &recipe);
    let source = chosen(&sources, &report, row, "--row").with_context(|| run.display().to_string())?;
    let made_of = recipe.made_of(source.row());
    let users_of = users_of(&recipe, &made_of);
    refuse_strangers(source, &users_of, who, &sources, &recipe)?;
    let dataset = read(&recipe, root)?.dataset;
    manifest.check(&dataset)?;
    let mut notes = Vec::new();
    let (user, items) = who.history(&dataset, recipe.data.dedupe, &mut notes)?;
    if let (Who::User(id), Some(method)) = (who, users_of.first())
        && dataset.train.row(user).is_empty()
    {
        let kind = method.kind();
        bail!("user {id:?} has no training interaction, and {kind} knows only users it was trained on");
    }

    let device = open_device(recipe.backend)?;
    let reads_text = recipe.rows_read_text(&made_of);
    let load_text = || FrozenText::load_kept(&recipe, &device, root);
    let text = reads_text.then(load_text).transpose()?;
    text.iter().try_for_each(|text| manifest.check_lm(&text.identity()))?;
    let known = dataset.catalog.len();
    let vectors = &ItemVectors::default();
    let saved = Saved { recipe: &recipe, folder: &folder, dataset: &dataset, known, vectors, device: &device };
    let ids = IdModels::load(saved, &made_of, text.as_ref())?;
    let aligned = load(saved, &made_of, &ids, text.as_ref())?;
    let model = row_of(source.row(), &ids, &aligned)?;
    let catalog = &dataset.catalog;
    let n = catalog.len();
    let kept = match &source.model {
        Model::Aligned(variant) if variant.has_towers() => folder.items(&source.kind, [n + 1, model.dim()], &device)?,
        _ => None,
    };
    let vectors = kept.unwrap_or_else(|| item_vectors(&model, n));
    let blocked: Vec<ItemId> = items.iter().copied().chain([ItemId::PADDING]).collect();
    let scores = host_numbers(ra_core::scores(&model, &[History { user, items: &items }], &vectors));
    if scores[1..].iter().any(|score| !score.is_finite()) {
        bail!("{}: {} gives scores that are not numbers: the model is broken", run.display(), source.name);
    }
    let found = ra_eval::top_k(&scores, top, &blocked);
    if found.is_empty() {
        notes.push("nothing is left to recommend: the history holds every item".into());
    } else if found.len() < top {
        notes.push(left(found.len()));
    }
    let recommended = |(item, score)| Recommended { item: Item::new(catalog, item), score };
    Ok(Recommendation {
        row: RowName { name: source.name.clone(), kind: source.kind.clone() },
        user: if let Who::User(id) = who { Some(id.clone()) } else { None },
        history: items.iter().map(|&item| Item::new(catalog, item)).collect(),
        recommended: found.into_iter().map(recommended).collect(),
        notes,
    })
}

/// Returns the rows of a report that can recommend.
fn sources(report: &Report, recipe: &Recipe) -> Vec<Source> {
    let model = |row: &ra_eval::Row| match row.kind.as_str() {
        rows::ID => recipe.id_rows().contains(&row.name).then_some(Model::Id),
        rows::TEXT => Some(Model::Text),
        kind => recipe
            .variants()
            .iter()
            .find(|variant| variant.name == kind)
            .cloned()
            .map(|own| Model::Aligned(Box::new(own))),
    };
    let figure = |row: &ra_eval::Row| {
        let at = |(metric, value): (&Metric, &f64)| match metric {
            Metric::Ndcg(k) => Some((*k, *value)),
            _ => None,
        };
        row.metrics.iter().filter_map(at).min_by_key(|(k, _)| *k).map_or(f64::NEG_INFINITY, |(_, value)| value)
    };
    let source = |row: &ra_eval::Row| {
        Some(Source {
            name: row.name.clone(),
            kind: row.kind.as_str().into(),
            validation: row.validation,
            figure: figure(row),
            model: model(row)?,
        })
    };
    report.rows.iter().filter_map(source).collect()
}

/// Returns how many items are left to recommend, if these are fewer than were asked for.
pub(crate) fn left(items: usize) -> String {
    match items {
        0 => "no item is left to recommend".into(),
        1 => "only one item is left to recommend".into(),
        _ => format!("only {items} items are left to recommend"),
    }
}

/// Returns the row with the given kind or name; by default the row that the report recommends. If it names none, as older
/// reports do, it is the first of the rows that validate best; without validation RA-Rec, or the row with the best metrics.
fn chosen<'a>(sources: &'a [Source], report: &Report, asked: Option<&str>, option: &str) -> Result<&'a Source> {
    let names = |of: &[&Source]| of.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join("; ");
    let all: Vec<&Source> = sources.iter().collect();
    let Some(asked) = asked else {
        let named = sources.iter().find(|source| report.recommended.as_ref() == Some(&source.name));
        let best = || sources.iter().max_by(|a, b| a.figure.total_cmp(&b.figure));
        let validated = || {
            let known = sources.iter().rev().filter(|source| source.validation.is_some());
            known.max_by(|a, b| a.validation.unwrap_or(f64::NAN).total_cmp(&b.validation.unwrap_or(f64::NAN)))
        };
        let found = named.or_else(validated).or_else(|| sources.iter().find(|source| source.kind == OWN)).or_else(best);
        return found
            .context("the report has no row to recommend from; run a recipe with eval.rows = [\"id\"] at least");
    };
    // Rows that `eval.rows` calls probes have the kind probe.
    let kind = if asked == rows::PROBES { rows::PROBE } else { asked };
    let meant: Vec<&Source> = all.iter().filter(|s| s.kind == asked || s.name == asked).copied().collect();
    match meant[..] {
        [source] => Ok(source),
        [] if report.rows.iter().any(|row| row.kind.as_str() == kind || row.name == kind) => {
            bail!("{option} {asked:?}: is in the report, but its model was not saved; there are {}", names(&all))
        }
        [] => bail!("{option} {asked:?}: no row of that kind or name recommends; there are {}", names(&all)),
        _ => bail!("{option} {asked:?}: this may be {}; give the name of one", names(&meant)),
    }
}

/// Returns the name that a recipe has for the row with the given kind or name, and its name in the report; by default the row
/// that the report recommends. An error names the `option` that asks.
pub(crate) fn chosen_row(
    report: &Report,
    recipe: &Recipe,
    asked: Option<&str>,
    option: &str,
) -> Result<(String, String)> {
    let sources = sources(report, recipe);
    let source = chosen(&sources, report, asked, option)?;
    Ok((source.row().to_owned(), source.name.clone()))
}

/// Returns the kind of an ID method that keeps a row from answering for anybody but the users it was trained on.
pub(crate) fn knows_users_only(recipe: &Recipe, row: &str) -> Option<&'static str> {
    users_of(recipe, &recipe.made_of(row)).first().map(|method| method.kind())
}

/// Returns the ID methods among the rows `made_of` that know only users they were trained on.
fn users_of<'a>(recipe: &'a Recipe, made_of: &[String]) -> Vec<&'a IdTable> {
    let own = recipe.ids.iter().filter(|id| id.rows().iter().any(|row| made_of.contains(row)));
    let reads_users = |id: &&IdTable| {
        let is_aligned = recipe.ids.last().is_some_and(|last| last.kind() == id.kind());
        let variants = || recipe.variants().iter().filter(|variant| made_of.contains(&variant.name));
        // Towers may read only the items of the method that they are aligned to.
        let is_part = variants().any(|variant| variant.parts().iter().any(|part| id.rows().contains(part)));
        let is_row = made_of.first().is_some_and(|row| id.rows().contains(row));
        is_row || is_part || is_aligned && variants().any(Variant::reads_users)
    };
    own.filter(|id| id.knows_trained_users_only()).filter(reads_users).collect()
}

/// Refuses a history if only users known from training have a vector: nobody else's may stand in for it. `users_of` are
/// the ID methods of the row that know no others.
fn refuse_strangers(source: &Source, users_of: &[&IdTable], who: &Who, all: &[Source], recipe: &Recipe) -> Result<()> {
    let Some(method) = users_of.first().filter(|_| !matches!(who, Who::User(_))) else { return Ok(()) };
    let others = all.iter().filter(|other| self::users_of(recipe, &recipe.made_of(other.row())).is_empty());
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    let otherwise =
        if others.is_empty() { String::new() } else { format!(", or a row by --row: {}", others.join("; ")) };
    bail!(
        "{}: {} knows only the users it was trained on, so it cannot use a history; name a user by --user{otherwise}",
        source.name,
        method.kind()
    )
}

impl Display for Recommendation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = &self.history[self.history.len().saturating_sub(SHOWN)..];
        let all = shown.iter().chain(self.recommended.iter().map(|found| &found.item));
        let width = all.map(|item| printable(&item.id).chars().count()).max().unwrap_or(0).min(24);
        let line = |item: &Item| {
            // Named as in the catalogue: by id if it has no title.
            let name = if item.title.trim().is_empty() { &item.id } else { &item.title };
            let title = match printable(name) {
                long if long.chars().count() > LETTERS => long.chars().take(LETTERS).chain("..".chars()).collect(),
                whole => whole,
            };
            format!("{:<width$}  {title}", printable(&item.id))
        };
        writeln!(f, "row {}", printable(&self.row.name))?;
        match self.history.len() - shown.len() {
            0 => writeln!(f, "after")?,
            earlier => writeln!(f, "after {earlier} earlier items and")?,
        }
        shown.iter().try_for_each(|item| writeln!(f, "           {}", line(item)))?;
        write!(f, "recommended")?;
        self.recommended.iter().try_for_each(|found| write!(f, "\n  {:>7.4}  {}", found.score, line(&found.item)))?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {}", printable(note)))
    }
}
