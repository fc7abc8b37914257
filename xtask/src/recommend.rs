//! `cargo xtask recommend`: titles and scores from a finished run.
use crate::aligned;
use crate::folder::RunFolder;
use crate::run::prepare;
use crate::text::Text;
use anyhow::{Context, Result, bail};
use ra_core::{Dataset, History, Recommender, open_device};
use std::collections::HashSet;
use std::path::Path;

/// For whom.
#[derive(Debug)]
pub(crate) enum Who {
    /// A user of the data set, by their own id.
    User(String),
    /// Titles, oldest first, separated by semicolons.
    History(String),
}

pub(crate) fn recommend(run: &Path, who: &Who, top: usize, root: &Path) -> Result<()> {
    let (folder, manifest) = RunFolder::finished(run)?;
    let recipe = manifest.recipe()?;
    let dataset = prepare(&recipe, root)?;
    manifest.check(&dataset)?;
    let (user, items) = read(&dataset, who)?;
    let device = open_device(recipe.backend)?;
    let text = Text::load(&recipe, std::slice::from_ref(&device), root)?;
    let config = recipe.ids.last().context("the run has no ID method")?;
    let features = config.reads_features().then(|| text.features(&dataset.catalog));
    let path = folder.id_checkpoint(config.name());
    let backbone = ra_idmodels::load(config, &dataset, features, &path, &device)?;
    let model = aligned::load(&folder, &recipe, (&backbone, &dataset), &text)?
        .with_context(|| format!("{}: the run has no ra-rec row", run.display()))?;
    let vectors = folder.items([dataset.catalog.len() + 1, model.dim()], &device)?;
    let scores = ra_core::scores(&model, &History { user, items: &items }, &vectors);
    let mut blocked: Vec<u32> = items.iter().copied().chain([ra_core::PADDING]).collect();
    blocked.sort_unstable();
    blocked.dedup();
    say!("after");
    items.iter().rev().take(10).rev().for_each(|&i| say!("          {}", dataset.catalog.title(i)));
    say!("recommended");
    for (item, score) in ra_eval::top_k(&scores, top, &blocked) {
        say!("  {score:>7.4} {}", dataset.catalog.title(item));
    }
    Ok(())
}

fn read(dataset: &Dataset, who: &Who) -> Result<(u32, Vec<u32>)> {
    match who {
        Who::User(id) => {
            let user = dataset.users.iter().position(|u| u == id);
            let user = user.with_context(|| format!("user {id:?} is not in {}", dataset.name))?;
            let parts = [&dataset.train, &dataset.valid, &dataset.test];
            Ok((user as u32, parts.iter().flat_map(|p| p.row(user)).copied().collect()))
        }
        Who::History(titles) => {
            let known = dataset.catalog.by_title();
            let find = |title: &str| {
                let wanted = title.trim().to_lowercase();
                match known.get(&wanted) {
                    Some(&item) => Ok(item),
                    None => bail!("{:?} is not a title of {}{}", title.trim(), dataset.name, near(dataset, &wanted)),
                }
            };
            let items = titles.split(';').filter(|t| !t.trim().is_empty()).map(find).collect::<Result<Vec<_>>>()?;
            if items.is_empty() {
                bail!("--history names no title; separate titles by semicolons, oldest first");
            }
            Ok((0, items))
        }
    }
}

/// Titles that contain what was asked for, or share most words with it.
fn near(dataset: &Dataset, wanted: &str) -> String {
    let words: HashSet<&str> = wanted.split_whitespace().collect();
    let likeness = |title: &str| {
        let title = title.to_lowercase();
        let shared = title.split_whitespace().filter(|w| words.contains(w)).count();
        shared + if title.contains(wanted) { words.len() } else { 0 }
    };
    let mut close: Vec<(usize, &String)> =
        dataset.catalog.titles().iter().map(|t| (likeness(t), t)).filter(|x| x.0 > 0).collect();
    close.sort_by_key(|x| (std::cmp::Reverse(x.0), x.1.len()));
    match close.as_slice() {
        [] => String::new(),
        some => format!(
            "; did you mean {}?",
            some.iter().take(3).map(|x| format!("{:?}", x.1)).collect::<Vec<_>>().join(" or ")
        ),
    }
}
