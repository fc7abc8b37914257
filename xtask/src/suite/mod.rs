//! Suites: files that name other recipes, or one recipe in several settings. A suite starts runs; a run knows of no
//! suite.
use crate::context::{Context, Output};
use crate::recipe::{self, Recipe};
use crate::store::lock::take;
use crate::store::shared::{ID_MODELS, KIND};
use crate::store::{Earlier, Member};
use crate::terminal::words;
use anyhow::{Context as _, Result, bail};
use ra_core::{Backend, read_json, write_atomic, write_json};
use ra_eval::{Experiment, Published, Report};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::path::{Path, PathBuf};
use toml::Table;

/// Recipes that run in order and whose tables become one page.
#[derive(Debug)]
pub struct Suite {
    name: String,
    contents: Contents,
}

/// The folders and options of a suite.
#[non_exhaustive]
pub struct Settings<'a> {
    /// The root folder of recipes, data, models and caches.
    pub root: &'a Path,
    /// The folder of the suite, with a subfolder per run; `runs/NAME` under `root` by default.
    pub out: Option<&'a Path>,
    /// The treatment of an earlier suite in the folder.
    pub earlier: Earlier,
    /// Keys to change in every recipe, such as `align.n_tok=2`. Values on an axis take precedence.
    pub sets: &'a [String],
    /// The back end that computes tensors; the choice of each recipe by default.
    pub backend: Option<Backend>,
    /// Makes the receiver of each run's progress.
    pub output: &'a dyn Fn() -> Box<dyn Output>,
}

/// A file with the key `suite`, or with `recipe`, `axis` and perhaps `set` and `published`, and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// The recipes to run, in order.
    suite: Option<Vec<String>>,
    /// The recipe that all settings start from.
    recipe: Option<String>,
    /// Changes for all settings, keys and values as in `--set`, which is applied afterwards.
    #[serde(default)]
    set: Table,
    /// The axes. Each combination of one setting per axis is a run.
    #[serde(default)]
    axis: Vec<Axis>,
    /// Published figures to show next to ours.
    published: Option<Published>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Axis {
    name: String,
    values: Vec<Setting>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    name: String,
    /// Keys and values as in `--set`.
    #[serde(default)]
    set: Table,
}

/// The contents of a suite and its progress, in its folder's `suite.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    name: String,
    /// The folder of each run, its recipe, and the changes to it.
    runs: Vec<(String, String, Vec<String>)>,
    /// The folders of the runs that this suite has finished; runs of another suite do not count.
    done: Vec<String>,
}

const PLAN: &str = "suite.json";

const PAGES: [&str; 3] = ["overview.md", "overview.html", "overview.json"];

/// One run of a suite.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    labels: Vec<String>,
    recipe: String,
    sets: Vec<String>,
}

impl Contents {
    /// Reads the suite in `table`, if it is one.
    fn read(table: Table) -> Result<Option<Self>> {
        if !["suite", "axis", "recipe"].iter().any(|key| table.contains_key(*key)) {
            return Ok(None);
        }
        let suite: Self = table.try_into().map_err(|e| anyhow::anyhow!("a suite: {}", words(&e)))?;
        match (&suite.suite, &suite.recipe) {
            (Some(_), None) if suite.axis.is_empty() && suite.set.is_empty() && suite.published.is_none() => {}
            (None, Some(_)) if !suite.axis.is_empty() && suite.axis.iter().all(|axis| !axis.values.is_empty()) => {}
            _ => bail!("a suite holds only a list of recipes, or a recipe and axes with settings"),
        }
        check_keys(&suite.set).context("set")?;
        for (axis, setting) in suite.settings() {
            check_keys(&setting.set).with_context(|| format!("axis {:?}: {:?}", axis.name, setting.name))?;
        }
        let mut folders: Vec<String> = suite.members().iter().map(Cell::folder).collect();
        folders.sort();
        if let Some(pair) = folders.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two runs of the suite would share the folder {:?}; give their settings other names", pair[0]);
        }
        Ok(Some(suite))
    }

    /// Returns every setting with its axis.
    fn settings(&self) -> impl Iterator<Item = (&Axis, &Setting)> {
        self.axis.iter().flat_map(|axis| axis.values.iter().map(move |setting| (axis, setting)))
    }

    fn members(&self) -> Vec<Cell> {
        if let Some(list) = &self.suite {
            let member = |recipe: &String| Cell { labels: vec![recipe.clone()], recipe: recipe.clone(), sets: vec![] };
            return list.iter().map(member).collect();
        }
        let base = self.recipe.clone().unwrap_or_default();
        let mut members = vec![Cell { labels: vec![], recipe: base, sets: vec![] }];
        for axis in &self.axis {
            let with = |member: &Cell| {
                let member = member.clone();
                axis.values.iter().map(move |setting| {
                    let mut next = member.clone();
                    next.labels.push(setting.name.clone());
                    next.sets.extend(as_sets(&setting.set));
                    next
                })
            };
            members = members.iter().flat_map(with).collect();
        }
        members
    }

    /// Returns one line per key of the command line for which a setting of an axis has its own value.
    fn kept(&self, args: &[String]) -> Vec<String> {
        let keys: Vec<&str> = args.iter().filter_map(|set| set.split_once('=')).map(|(key, _)| key.trim()).collect();
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let own = self
            .settings()
            .flat_map(|(axis, setting)| setting.set.iter().map(move |(key, value)| (axis, setting, key, value)));
        own.filter(|(.., own, _)| keys.iter().any(|key| within(key, own) || within(own, key)))
            .map(|(axis, setting, key, value)| format!("{} {} keeps its {key}={value}", axis.name, setting.name))
            .collect()
    }

    /// Returns all changes to the recipe of `member`. Those of an axis come last, so that its labels stay true.
    fn sets(&self, args: &[String], member: &Cell) -> Vec<String> {
        as_sets(&self.set).chain(args.iter().chain(&member.sets).cloned()).collect()
    }
}

/// Returns keys and values as in `--set`.
fn as_sets(table: &Table) -> impl Iterator<Item = String> {
    table.iter().map(|(key, value)| format!("{key}={value}"))
}

fn check_keys(set: &Table) -> Result<()> {
    match set.iter().find(|(key, value)| !key.contains('.') && value.is_table()) {
        Some((key, _)) => bail!("it replaces all of [{key}]; quote the whole key: \"{key}.name\" = .."),
        None => Ok(()),
    }
}

impl Cell {
    fn folder(&self) -> String {
        if self.labels.is_empty() {
            return self.recipe.clone();
        }
        let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        self.labels.iter().map(|l| l.chars().map(plain).collect::<String>()).collect::<Vec<_>>().join("+")
    }
}

impl<'a> Settings<'a> {
    /// Creates the settings of a new suite of unchanged recipes in its default folder.
    pub fn new(root: &'a Path, output: &'a dyn Fn() -> Box<dyn Output>) -> Self {
        Self { root, out: None, earlier: Earlier::default(), sets: &[], backend: None, output }
    }
}

impl Debug for Settings<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { root, out, earlier, sets, backend, output: _ } = self;
        f.debug_tuple("Settings").field(root).field(out).field(earlier).field(sets).field(backend).finish()
    }
}

impl Suite {
    /// Reads the suite in the file `path`, or with that name, found as by [`Recipe::load`]. Returns nothing if it is a
    /// recipe.
    ///
    /// # Errors
    /// If there is no such file, or if it is neither a suite nor a recipe.
    pub fn load(path: impl AsRef<Path>, root: &Path) -> Result<Option<Self>> {
        let (path, table) = recipe::read(path, root)?;
        let contents = Contents::read(table).with_context(|| format!("recipe {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(contents.map(|contents| Self { name, contents }))
    }
}

/// Runs a suite.
///
/// The members run in order and their tables become one page. They share what is the same in all of them: an ID method
/// is trained once per configuration. A member that cannot run, for example because its data is missing, does not stop
/// the others. When the suite is resumed, finished members do not run again.
///
/// # Errors
/// If the folder does not belong to the suite, or, after all members, if some of them failed.
pub fn run(suite: &Suite, settings: &Settings<'_>) -> Result<()> {
    let Suite { name, contents } = suite;
    let output = (settings.output)();
    let out = settings.out.map_or_else(|| settings.root.join("runs").join(name), PathBuf::from);
    contents.kept(settings.sets).iter().for_each(|line| output.say(&format!("--set: {line}")));
    let members = contents.members();
    let plan = |member: &Cell| (member.folder(), member.recipe.clone(), contents.sets(settings.sets, member));
    let plan = Plan { name: name.clone(), runs: members.iter().map(plan).collect(), done: Vec::new() };
    let (mut plan, _lock) = begin(&out, plan, settings.earlier)?;
    let (mut cells, mut failed) = (Vec::new(), Vec::new());
    for member in &members {
        let folder = member.folder();
        output.say(&format!("== {folder}"));
        let sets = contents.sets(settings.sets, member);
        let place = Member { suite: out.clone(), kind: KIND, done: plan.done.contains(&folder) };
        match run_member(&member.recipe, &sets, settings, &out.join(&folder), place) {
            Ok(report) => {
                cells.push((member.labels.clone(), report));
                if !plan.done.contains(&folder) {
                    plan.done.push(folder);
                    write_json(&out.join(PLAN), &plan)?;
                }
            }
            Err(error) => {
                output.say(&format!("{folder}: {error:#}"));
                failed.push(format!("{folder}: {error:#}"));
            }
        }
        // Partial results can be viewed while the rest runs.
        write_page(contents, name, &cells, &out)?;
    }
    output.say(&out.join("overview.md").display().to_string());
    if !failed.is_empty() {
        bail!("{} of {} runs of the suite failed: {}", failed.len(), members.len(), failed.join("; "));
    }
    Ok(())
}

/// Runs one recipe of a suite under `sets` in the folder `out`.
fn run_member(recipe: &str, sets: &[String], settings: &Settings<'_>, out: &Path, place: Member) -> Result<Report> {
    let recipe = Recipe::load(recipe, sets, settings.root)?.on(settings.backend);
    let cx = Context::of_member(&recipe, settings.root, out, settings.earlier, Some(place))?;
    crate::run(&recipe, &cx.telling((settings.output)()))
}

/// Takes the folder `out` for the suite of `plan`, and returns its progress. An earlier suite there is resumed, or, if
/// it is the same suite, restarted: its ID methods are removed and its runs are repeated one by one. A finished run
/// counts if its recipe and settings are the same.
fn begin(out: &Path, plan: Plan, earlier: Earlier) -> Result<(Plan, File)> {
    let (mut files, lock) = take(out, KIND)?;
    let found: Option<Plan> = match files.owns(PLAN) && out.join(PLAN).exists() {
        true if earlier != Earlier::Replaced => Some(read_json(&out.join(PLAN))?),
        _ => None,
    };
    files.sweep()?;
    let plan = match found {
        Some(found) if earlier == Earlier::Resumed && found.name == plan.name => {
            let is_same = |folder: &String| plan.runs.iter().any(|run| run.0 == *folder && found.runs.contains(run));
            let done = found.done.iter().filter(|folder| is_same(folder)).cloned().collect();
            Plan { done, ..plan }
        }
        Some(found) if found.name != plan.name || found.runs != plan.runs => bail!(
            "{}: holds the suite {:?}, and this is {:?} with other runs or settings; name another folder by --out, or \
             replace it by --force",
            out.display(),
            found.name,
            plan.name
        ),
        _ => {
            files.remove(|name| name.starts_with(ID_MODELS))?;
            plan
        }
    };
    files.claim(&[&PAGES[..], &[PLAN]].concat())?;
    write_json(&out.join(PLAN), &plan)?;
    Ok((plan, lock))
}

fn write_page(suite: &Contents, name: &str, cells: &[(Vec<String>, Report)], out: &Path) -> Result<()> {
    let axes: Vec<String> = match &suite.suite {
        Some(_) => vec!["recipe".into()],
        None => suite.axis.iter().map(|axis| axis.name.clone()).collect(),
    };
    let experiment =
        Experiment::new(name, &axes, cells).with_published(suite.published.clone()).with_plotted(recipe::OWN);
    for (page, text) in PAGES.iter().zip([experiment.markdown(), experiment.html(), experiment.json()?]) {
        write_atomic(&out.join(page), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Result<Option<Contents>> {
        Contents::read(text.parse().unwrap())
    }

    #[test]
    fn axes_multiply_and_settings_read_as_set_does() {
        let text = "recipe = 'a'\n[[axis]]\nname = 'x'\nvalues = [{ name = '1 %', set = { 'data.curate.budget' = 0.01 } }, \
                    { name = 'all' }]\n[[axis]]\nname = 'seed'\nvalues = [{ name = '1', set = { seed = 1 } }, \
                    { name = '2', set = { seed = 2, 'align.projection' = { low_rank = 8 } } }]";
        let members = suite(text).unwrap().unwrap().members();
        assert_eq!(members.len(), 4);
        assert_eq!(members[1].labels, ["1 %", "2"]);
        assert_eq!(members[1].folder(), "1__+2");
        assert_eq!(
            members[1].sets,
            ["data.curate.budget=0.01", "align.projection={ low_rank = 8 }", "seed=2"],
            "{members:?}"
        );
        assert_eq!(members[2].sets, ["seed=1"]);
    }

    #[test]
    fn set_is_for_all_and_gives_way_to_the_command_line_which_gives_way_to_an_axis() {
        let axis = "[[axis]]\nname = 'x'\nvalues = [{ name = '1', set = { 'train.steps' = 3 } }, { name = '2' }]";
        let suite = suite(&format!("recipe = 'a'\n[set]\nseed = 5\n'prompt.titles' = 3\n{axis}")).unwrap().unwrap();
        let sets = suite.sets(&["prompt.titles=4".into()], &suite.members()[0]);
        assert_eq!(sets, ["prompt.titles=3", "seed=5", "prompt.titles=4", "train.steps=3"]);
        assert!(suite.kept(&["prompt.titles=4".into(), "train.step=1".into()]).is_empty());
        for set in ["train.steps = 4", "train={}", "train.steps.x=1"] {
            assert_eq!(suite.kept(&[set.into()]), ["x 1 keeps its train.steps=3"], "{set}");
        }
    }

    #[test]
    fn what_is_no_suite_and_what_is_a_wrong_one() {
        assert!(suite("[[id]]\nkind = 'pop'").unwrap().is_none());
        assert_eq!(suite("suite = ['a', 'b']").unwrap().unwrap().members().len(), 2);
        let settings = |list: &str| format!("recipe = 'a'\n[[axis]]\nname = 'x'\nvalues = [{list}]");
        let (table, twins) = ("{ name = 'suite', set = { align.n_tok = 2 } }", "{ name = 'a b' }, { name = 'a_b' }");
        assert!(format!("{:#}", suite(&settings(table)).unwrap_err()).contains("[align]"));
        assert!(suite(&settings(twins)).unwrap_err().to_string().contains("a_b"));
        let table = "recipe = 'a'\n[set]\ntrain.steps = 3\n[[axis]]\nname = 'x'\nvalues = [{ name = '1' }]";
        assert!(format!("{:#}", suite(table).unwrap_err()).contains("[train]"));
        let unfinished = "recipe = 'a'\nset = { seed = 1 }";
        for wrong in [
            "suite = ['a']\nseed = 1",
            "suite = ['a']\nset = { seed = 1 }",
            unfinished,
            "[[axis]]\nname = 'x'\nvalues = []",
            "suite = 1",
        ] {
            assert!(format!("{:#}", suite(wrong).unwrap_err()).contains("suite"), "{wrong}");
        }
    }

    #[test]
    fn every_recipe_of_the_repository_reads() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut runs = 0;
        for entry in std::fs::read_dir(root.join("xtask/recipes")).unwrap() {
            let path = entry.unwrap().path().to_string_lossy().into_owned();
            let (_, table) = recipe::read(&path, &root).unwrap();
            let all = match Contents::read(table).unwrap() {
                Some(suite) => suite.members().into_iter().map(|m| (m.recipe.clone(), suite.sets(&[], &m))).collect(),
                None => vec![(path.clone(), vec![])],
            };
            for (recipe, sets) in all {
                let read = Recipe::load(&recipe, &sets, &root);
                assert!(read.is_ok(), "{path} {sets:?}: {:#}", read.unwrap_err());
                runs += 1;
            }
        }
        assert!(runs > 40, "{runs} runs");
    }

    #[test]
    fn damaged_suites_are_taken_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let file = |name: &str| (name.to_owned(), std::fs::read(folder.join(name)).unwrap());
        let files = ["ablations.toml", "paper-main.toml", "paper-grid.toml"].map(file);
        let held = |read: &mut dyn FnMut()| allocation_counter::measure(read).bytes_max;
        let trial = ra_core::testkit::damage::Trial::new(2_000, |name| std::env::var(name).ok(), held);
        ra_core::testkit::damage::fuzz_reader(&files, trial, |_, bytes| {
            let Ok(table) = String::from_utf8_lossy(bytes).parse::<Table>() else { return false };
            Contents::read(table).is_ok_and(|suite| suite.is_some_and(|suite| !suite.members().is_empty()))
        });
    }
}
