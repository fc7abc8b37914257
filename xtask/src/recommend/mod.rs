//! `cargo xtask recommend`: what a row of a finished run recommends, with ids, titles and scores.
mod named;

pub(crate) use named::Who;

use crate::recipe::Recipe;
use crate::stages::align::{self as aligned, Plan};
use crate::stages::evaluate::prepare;
use crate::stages::text::Text;
use crate::store::RunFolder;
use crate::terminal::printable;
use anyhow::{Context, Result, bail};
use ra_core::{Catalog, History, Recommender, open_device};
use ra_eval::{Report, item_vectors};
use ra_idmodels::IdConfig;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Items of a history that are shown, the latest ones, and letters of a title.
const SHOWN: usize = 10;
const LETTERS: usize = 160;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) run: PathBuf,
    pub(crate) who: Who,
    /// A row of the report, by kind or name.
    pub(crate) row: Option<String>,
    pub(crate) top: usize,
    pub(crate) json: bool,
}

/// A row of a report that can recommend, and what it is made of.
struct Source {
    /// As the report has it.
    name: String,
    kind: String,
    /// NDCG at the smallest K of the report, to choose among rows; below all where there is none.
    figure: f64,
    model: Model,
}

impl Source {
    /// Whether the ID method's vectors of users enter.
    fn reads_users(&self) -> bool {
        match &self.model {
            Model::Id(_) => true,
            Model::Text => false,
            Model::Aligned(plan) => plan.reads_users(),
        }
    }
}

enum Model {
    Id(IdConfig),
    Text,
    Aligned(Plan),
}

pub(crate) fn recommend(asked: &Asked, root: &Path) -> Result<()> {
    if asked.top == 0 {
        bail!("--top is 0, it must be at least 1");
    }
    let (folder, manifest) = RunFolder::finished(&asked.run)?;
    let recipe = manifest.recipe()?;
    let report = Report::read(&asked.run)?;
    let sources = sources(&report, &recipe);
    let source = chosen(&sources, &report, asked.row.as_deref()).with_context(|| asked.run.display().to_string())?;
    let aligned_to = recipe.ids.last().context("the run has no ID method")?;
    let config = if let Model::Id(config) = &source.model { config } else { aligned_to };
    refuse_strangers(source, config, &asked.who, &sources)?;
    let dataset = prepare(&recipe, root)?;
    manifest.check(&dataset)?;
    let mut notes = Vec::new();
    let (user, items) = asked.who.history(&dataset, recipe.data.dedupe, &mut notes)?;
    if let Who::User(id) = &asked.who
        && source.reads_users()
        && config.knows_trained_users_only()
        && dataset.train.row(user as usize).is_empty()
    {
        bail!("user {id:?} has no training interaction, and {} knows only users it was trained on", config.name());
    }

    let device = open_device(recipe.backend)?;
    let reads_text = config.reads_features() || !matches!(source.model, Model::Id(_));
    let text = reads_text.then(|| Text::load(&recipe, std::slice::from_ref(&device), root)).transpose()?;
    text.iter().try_for_each(|text| manifest.check_text(text))?;
    let reader = text.as_ref().filter(|_| config.reads_features());
    let features = reader.map(|text| text.features(&dataset.catalog)).transpose()?;
    folder.id_mark(config.name(), config)?;
    let backbone = ra_idmodels::load(config, &dataset, features, &folder.id_checkpoint(config.name()), &device)?;
    let text = || text.as_ref().context("a language model is loaded for every row that reads text");
    let (tower, aligned);
    let model: &dyn Recommender = match &source.model {
        Model::Id(_) => &*backbone.model,
        Model::Text => {
            let interests = backbone.model.interests();
            tower = text()?.tower(&dataset.catalog, &recipe.prompt, &recipe.align, interests)?;
            &*tower
        }
        Model::Aligned(plan) => {
            let found = aligned::load(&folder, (&recipe, plan), (&backbone, &dataset), text()?)?;
            aligned =
                found.with_context(|| format!("{}: the row {} was not kept", asked.run.display(), source.name))?;
            &aligned
        }
    };
    let n = dataset.catalog.len();
    let kept = match &source.model {
        Model::Aligned(_) => folder.items(&source.kind, [n + 1, model.dim()], &device)?,
        _ => None,
    };
    let vectors = kept.unwrap_or_else(|| item_vectors(model, n));
    let blocked: Vec<u32> = items.iter().copied().chain([ra_core::PADDING]).collect();
    let scores = ra_core::scores(model, &[History { user, items: &items }], &vectors);
    let scores: Vec<f32> = scores.into_data().iter().collect();
    if scores[1..].iter().any(|score| !score.is_finite()) {
        bail!("{}: {} gives scores that are no numbers: the model is broken", asked.run.display(), source.name);
    }
    let found = ra_eval::top_k(&scores, asked.top, &blocked);
    if found.is_empty() {
        notes.push("nothing is left to recommend: the history holds every item".into());
    } else if found.len() < asked.top {
        notes.push(format!("only {} items are left that the history does not hold", found.len()));
    }
    let user = if let Who::User(id) = &asked.who { Some(id.as_str()) } else { None };
    match asked.json {
        true => {
            say!("{}", serde_json::to_string_pretty(&as_json(source, user, &dataset.catalog, &items, &found, &notes))?)
        }
        false => show(source, &dataset.catalog, &items, &found, &notes),
    }
    Ok(())
}

/// The rows of a report that can recommend.
fn sources(report: &Report, recipe: &Recipe) -> Vec<Source> {
    let model = |row: &ra_eval::Row| match row.kind.as_str() {
        "id" => recipe.ids.iter().find(|id| id.name() == row.name).cloned().map(Model::Id),
        "text" => Some(Model::Text),
        kind => {
            let mut plans = recipe.rows.iter().filter_map(|&asked| Plan::of(asked, recipe));
            plans.find(|plan| plan.name == kind).map(Model::Aligned)
        }
    };
    let figure = |row: &ra_eval::Row| {
        let at = |(key, value): (&String, &f64)| Some((key.strip_prefix("ndcg@")?.parse::<usize>().ok()?, *value));
        row.metrics.iter().filter_map(at).min_by_key(|(k, _)| *k).map_or(f64::NEG_INFINITY, |(_, value)| value)
    };
    let source = |row: &ra_eval::Row| {
        Some(Source { name: row.name.clone(), kind: row.kind.clone(), figure: figure(row), model: model(row)? })
    };
    report.rows.iter().filter_map(source).collect()
}

/// The row that is asked for by kind or name; without, RA-Rec, else the one that evaluated best.
fn chosen<'a>(sources: &'a [Source], report: &Report, asked: Option<&str>) -> Result<&'a Source> {
    let names = |of: &[&Source]| of.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join("; ");
    let all: Vec<&Source> = sources.iter().collect();
    let Some(asked) = asked else {
        let best = || sources.iter().max_by(|a, b| a.figure.total_cmp(&b.figure));
        let found = sources.iter().find(|source| source.kind == "ra-rec").or_else(best);
        return found
            .context("the report has no row to recommend from; run a recipe with eval.rows = [\"id\"] at least");
    };
    // What `eval.rows` calls probes are rows of the kind probe.
    let kind = if asked == "probes" { "probe" } else { asked };
    let meant: Vec<&Source> = all.iter().filter(|s| s.kind == asked || s.name == asked).copied().collect();
    match meant[..] {
        [source] => Ok(source),
        [] if report.rows.iter().any(|row| row.kind == kind || row.name == kind) => {
            bail!("--row {asked:?}: is in the report, but its model is not kept; there are {}", names(&all))
        }
        [] => bail!("--row {asked:?}: no row of that kind or name recommends; there are {}", names(&all)),
        _ => bail!("--row {asked:?}: this may be {}; say which by its name", names(&meant)),
    }
}

/// Refuses a history where only a user that training knows has a vector: nobody else's may stand in for it.
fn refuse_strangers(source: &Source, config: &IdConfig, who: &Who, all: &[Source]) -> Result<()> {
    if matches!(who, Who::User(_)) || !source.reads_users() || !config.knows_trained_users_only() {
        return Ok(());
    }
    let others = all.iter().filter(|other| match &other.model {
        Model::Id(own) => !own.knows_trained_users_only(),
        Model::Text => true,
        Model::Aligned(plan) => !plan.reads_users(),
    });
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    let otherwise =
        if others.is_empty() { String::new() } else { format!(", or a row by --row: {}", others.join("; ")) };
    bail!(
        "{}: {} knows only the users it was trained on, and a history is none of them; name a user by --user{otherwise}",
        source.name,
        config.name()
    )
}

fn show(source: &Source, catalog: &Catalog, items: &[u32], found: &[(u32, f32)], notes: &[String]) {
    let shown = &items[items.len().saturating_sub(SHOWN)..];
    let all = shown.iter().chain(found.iter().map(|(item, _)| item));
    let width = all.map(|&item| printable(catalog.id(item)).chars().count()).max().unwrap_or(0).min(24);
    let title = |item: u32| match printable(catalog.name(item)) {
        long if long.chars().count() > LETTERS => long.chars().take(LETTERS).chain("..".chars()).collect(),
        whole => whole,
    };
    let line = |item: u32| format!("{:<width$}  {}", printable(catalog.id(item)), title(item));
    say!("row {}", printable(&source.name));
    match items.len() - shown.len() {
        0 => say!("after"),
        earlier => say!("after {earlier} earlier items and"),
    }
    shown.iter().for_each(|&item| say!("           {}", line(item)));
    say!("recommended");
    found.iter().for_each(|(item, score)| say!("  {score:>7.4}  {}", line(*item)));
    notes.iter().for_each(|note| say!("note: {}", printable(note)));
}

fn as_json(
    source: &Source,
    user: Option<&str>,
    catalog: &Catalog,
    items: &[u32],
    found: &[(u32, f32)],
    notes: &[String],
) -> Value {
    let item = |&item: &u32| json!({ "item": catalog.id(item), "title": catalog.title(item) });
    let scored = |(item, score): &(u32, f32)| json!({ "item": catalog.id(*item), "title": catalog.title(*item), "score": score });
    json!({
        "row": { "name": source.name, "kind": source.kind },
        "user": user,
        "history": items.iter().map(item).collect::<Vec<_>>(),
        "recommended": found.iter().map(scored).collect::<Vec<_>>(),
        "notes": notes,
    })
}
