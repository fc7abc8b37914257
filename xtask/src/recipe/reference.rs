//! The page of all recipe keys, generated from the structs that read them: types and meanings come from their source,
//! defaults from their values, and allowed values from their error messages.
use super::Recipe;
use super::known::BUILT_IN;
use super::tune::TuneConfig;
use super::variant::{OWN, VariantTable};
use crate::pages::source::{Field, Kind, Source};
use ra_idmodels::{GroundConfig, IdConfig};
use std::fmt::Write;
use toml::{Table, Value};

/// One table of the page.
struct Section {
    /// The heading as a recipe writes it: `[data.columns]`.
    title: String,
    /// The path of its keys in a recipe: `data.columns`.
    place: &'static str,
    /// The purpose of the table.
    told: String,
    /// The struct that reads it; empty if there is none.
    of: String,
    /// Keys that belong to the recipe itself, and the fields of [`Recipe`] that hold them.
    own: &'static [(&'static str, &'static str)],
    /// The ID method that the keys belong to.
    kind: Option<&'static str>,
}

/// Renders the page.
///
/// # Errors
/// Returns an error if a struct is missing from the source.
pub(crate) fn page(source: &Source) -> anyhow::Result<String> {
    let mut page = String::from(
        "# Recipe keys\n\n\
         A recipe is a TOML file. Every key is optional unless the text says otherwise, an unknown key is an error that \
         lists the\nallowed ones, and `--set table.key=value` changes a key from the command line. A key without effect is an \
         error too.\n\n\
         This page is generated from the source. *Default* is what a recipe gets that leaves the key out; *Allowed* is what \
         the\nprogram accepts.\n",
    );
    for section in sections(source)? {
        write(&mut page, &section, source)?;
    }
    page.push_str(SUITES);
    Ok(page)
}

/// The facts that no struct of a single recipe documents.
const SUITES: &str = r#"
## Suites

A file with the key `suite`, or with `recipe`, runs several recipes and makes one page of them. It has no other keys.

| key | type | meaning |
|---|---|---|
| `suite` | list of text | Names of recipes, which run in this order. |
| `recipe` | text | The recipe that is run in several settings. |
| `[set]` | table | Keys that differ from that recipe in all runs, as in `"train.steps" = 400`. |
| `[[axis]]` | table | One table per axis, with `name` and `values`; each value has a `name` and a table `set`. Every combination is a run. |
| `[published]` | table | Figures of a paper that the page shows beside ours. |

`--set` overrides `[set]` and never an axis. To run a single cell, give its keys to the recipe itself, for example
`ra-rec run scientific --set align.n_ctx=0 --out runs/without-instruction`. An axis called `seed` adds a table of means.
`--resume` makes only the runs that are missing.
"#;

/// Renders the page of the built-in recipes, each described by its first lines.
pub(crate) fn recipes() -> String {
    let mut page = String::from(
        "# Recipes\n\n\
         These recipes are built into the program: `ra-rec run NAME` runs one. Their files are in `xtask/recipes/`.\n\n\
         This page is generated from the comments at the top of each file.\n\n\
         | recipe | question, time and where results are |\n|---|---|\n",
    );
    for (file, text) in BUILT_IN {
        let lines = text.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
        let lines = lines.filter(|line| !line.trim().is_empty() && !line.trim().starts_with("cargo xtask run"));
        // An indented line is a command.
        let shown = |line: &str| match line.strip_prefix("   ") {
            Some(command) => format!("`{}`.", command.split('#').next().unwrap_or_default().trim()),
            None => line.trim().to_owned(),
        };
        let told =
            lines.map(shown).collect::<Vec<_>>().join(" ").replace('|', "\\|").replace("cargo xtask ", "ra-rec ");
        page.push_str(&format!("| `{}` | {told} |\n", file.trim_end_matches(".toml")));
    }
    page
}

fn sections(source: &Source) -> anyhow::Result<Vec<Section>> {
    let plain = |title: &str, place, told: &str, of: &str, own| Section {
        title: title.into(),
        place,
        told: told.into(),
        of: of.into(),
        own,
        kind: None,
    };
    let mut all = vec![
        plain("Top level", "", "", "", &[("seed", "seed"), ("start_from", "start_from")]),
        plain("`[device]`", "device", "", "", &[("backend", "backend"), ("count", "devices")]),
        plain(
            "`[data]`",
            "data",
            "The log, the items, the filters and the split. Give `name`, or `interactions`, with `items` for titles.",
            "DataConfig",
            &[("name", "data_name"), ("max_history", "max_history")],
        ),
        plain("`[data.columns]`", "data.columns", "The names of columns, if yours are others.", "Columns", &[]),
        plain("`[data.curate]`", "data.curate", "Which samples the alignment is trained on.", "CurateConfig", &[]),
        plain("`[lm]`", "lm", "The frozen language model.", "LmConfig", &[]),
        plain("`[prompt]`", "prompt", "How users and items are put into words.", "PromptConfig", &[]),
        plain("`[align]`", "align", "The alignment module and its losses.", "AlignConfig", &[]),
        plain("`[train]`", "train", "The training of the alignment.", "AlignTrain", &[]),
        plain(
            "`[eval]`",
            "eval",
            "The protocol, the metrics and the rows of the report.",
            "EvalConfig",
            &[("rows", "rows"), ("probes_of", "probes_of")],
        ),
        plain("`[[variant]]`", "variant", "A row that departs from `[align]`.", "VariantTable", &[]),
        plain("`[tune]`", "tune", "What `ra-rec tune` searches, on validation only.", "TuneConfig", &[]),
    ];
    let told = "One table per ID method, of the given `kind`. The last one is aligned, unless others have `align = true`. \
                The kinds:";
    let kinds: Vec<String> = source.methods.iter().map(|m| format!("- `{}`: {}", m.kind, m.doc)).collect();
    let own = "Keys of every kind, besides those of its own below:";
    all.push(plain("`[[id]]`", "id", &format!("{told}\n\n{}\n\n{own}", kinds.join("\n")), "IdTable", &[]));
    for method in &source.methods {
        let title = format!("`[[id]]` with `kind = \"{}\"`", method.kind);
        let kind = IdConfig::KINDS.iter().find(|kind| **kind == method.kind).copied();
        all.push(Section { kind, ..plain(&title, "id", "", &method.config, &[]) });
    }
    let shared = "How methods that learn are trained. A method may have other defaults: `ra-rec run RECIPE` writes all of \
                  them to\n`recipe.toml` in the run folder.";
    all.push(Section { kind: Some("sasrec"), ..plain("`[id.train]`", "id.train", shared, "TrainConfig", &[]) });
    let grounded = "How a method's vectors are [grounded in titles](../best.md#grounded-ids). The method then has a second \
                    row, and the\nalignment reads the grounded vectors. Write `ground = {}` for the defaults.";
    all.push(Section { kind: Some("sasrec"), ..plain("`[id.ground]`", "id.ground", grounded, "GroundConfig", &[]) });
    Ok(all)
}

fn write(page: &mut String, section: &Section, source: &Source) -> anyhow::Result<()> {
    writeln!(page, "\n## {}\n", section.title)?;
    if !section.told.is_empty() {
        writeln!(page, "{}\n", section.told)?;
    }
    let recipe = source.fields("Recipe")?;
    let own = section.own.iter().filter_map(|(key, name)| {
        let field = recipe.iter().find(|field| field.name == *name)?;
        let mut field = field.clone();
        field.name = (*key).into();
        Some(field)
    });
    let mut fields: Vec<Field> = own.collect();
    if !section.of.is_empty() {
        fields.extend(source.keys(&section.of)?);
    }
    let fields: Vec<Field> = fields.into_iter().filter(|field| !is_table(field, section)).collect();
    if fields.is_empty() {
        if section.kind.is_some() {
            writeln!(page, "It has no keys.")?;
        }
        return Ok(());
    }
    let usual = usual(section.kind)?;
    writeln!(page, "| key | type | default | allowed | meaning |\n|---|---|---|---|---|")?;
    for field in &fields {
        let default = value(&usual, section.place, &field.name).map_or_else(|| "unset".into(), |v| shown(&v));
        let allowed = allowed(field, section, source)?;
        let kind = source.kind(&field.of);
        let more = match &kind {
            Kind::Choice(names) => names
                .iter()
                .filter(|(_, told)| !told.is_empty())
                .map(|(name, told)| format!(" `{name}`: {told}"))
                .collect(),
            Kind::Other(told) if *told != field.doc => format!(" {told}"),
            _ => String::new(),
        };
        writeln!(page, "| `{}` | {} | {default} | {allowed} | {}{more} |", field.name, kind.told(), field.doc)?;
    }
    Ok(())
}

/// Formats a value as a person would write it.
fn shown(value: &Value) -> String {
    let number = |x: f64| {
        // Most values are stored as `f32`; print only its digits.
        let short = x as f32;
        if f64::from(short) == x { format!("{short:?}") } else { format!("{x:?}") }
    };
    match value {
        Value::Float(x) => format!("`{}`", number(*x)),
        Value::Array(all) if all.iter().all(Value::is_float) => {
            let all: Vec<String> = all.iter().filter_map(Value::as_float).map(number).collect();
            format!("`[{}]`", all.join(", "))
        }
        Value::String(text) if text.is_empty() => "required".into(),
        other => format!("`{other}`"),
    }
}

/// Returns whether a field has a section of its own.
fn is_table(field: &Field, section: &Section) -> bool {
    let own = [("data", "columns"), ("id", "train"), ("id", "ground")];
    own.iter().any(|(place, name)| section.place == *place && field.name == *name)
}

fn base(kind: Option<&str>) -> anyhow::Result<Table> {
    Ok(format!("[[id]]\nkind = {:?}", kind.unwrap_or("sasrec")).parse()?)
}

/// Returns a recipe with all defaults, including those that [`Recipe::to_table`] leaves out.
fn usual(kind: Option<&str>) -> anyhow::Result<Table> {
    let mut usual = Recipe::from_table("usual".into(), base(kind)?)?.to_table()?;
    usual.insert("variant".into(), Value::Array(vec![Value::try_from(VariantTable::default())?]));
    usual.insert("tune".into(), Value::try_from(TuneConfig::default())?);
    if let Some(Value::Array(ids)) = usual.get_mut("id")
        && let Some(Value::Table(id)) = ids.first_mut()
    {
        id.insert("ground".into(), Value::try_from(GroundConfig::default())?);
    }
    if let Some(Value::Table(eval)) = usual.get_mut("eval") {
        eval.insert("probes_of".into(), Value::try_from([OWN])?);
    }
    Ok(usual)
}

/// Returns the value under `place` and `key` in a recipe.
fn value(table: &Table, place: &str, key: &str) -> Option<Value> {
    let mut table = table;
    for part in place.split('.').filter(|part| !part.is_empty()) {
        table = match table.get(part)? {
            Value::Table(table) => table,
            Value::Array(tables) => tables.first()?.as_table()?,
            _ => return None,
        };
    }
    table.get(key).cloned()
}

/// Describes the allowed values of a key: the names of a choice, or the conditions in the errors about refused numbers.
fn allowed(field: &Field, section: &Section, source: &Source) -> anyhow::Result<String> {
    let kind = source.kind(&field.of);
    if let Kind::Choice(names) = &kind {
        return Ok(names.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    }
    let probes: Vec<Value> = match kind {
        Kind::Whole => [0, 1 << 40].map(Value::Integer).into(),
        Kind::Number => [-1.0, 0.0, 1.0, 2.0, f64::INFINITY].map(Value::Float).into(),
        _ => return Ok(String::new()),
    };
    let mut found: Vec<String> = Vec::new();
    for probe in probes {
        let Some(told) = refusal(field, section, probe)? else { continue };
        if let Some((_, must)) = told.split_once("it must be ")
            && !found.iter().any(|known| known == must)
        {
            found.push(must.to_owned());
        }
    }
    Ok(found.join("; "))
}

/// Returns the error about a recipe that has this value.
fn refusal(field: &Field, section: &Section, probe: Value) -> anyhow::Result<Option<String>> {
    let mut table = base(section.kind)?;
    let mut at = &mut table;
    for part in section.place.split('.').filter(|part| !part.is_empty()) {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(table) => table,
            Value::Array(tables) => match tables.first_mut().and_then(Value::as_table_mut) {
                Some(table) => table,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
    }
    at.insert(field.name.clone(), probe);
    let Ok(recipe) = Recipe::from_table("probe".into(), table) else { return Ok(None) };
    let key = if section.place.is_empty() { field.name.clone() } else { format!("{}.{}", section.place, field.name) };
    Ok(recipe.problems().into_iter().find(|problem| problem.key == key).map(|problem| problem.told))
}
