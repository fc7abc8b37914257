//! `recommend`: what a finished run or a bundle recommends, to one or to many.
use crate::bundle::{Answer, BatchConfig, Bundle, Fallback, Past, PastEntry, Request};
use crate::recommend::{self, Who};
use crate::terminal::printable;
use crate::terminal::progress::Bars;
use anyhow::{Context, Result, bail};
use ra_core::{Backend, open_device};
use ra_data::{Columns, text_lines};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of a finished run.
    #[arg(long, required_unless_present = "bundle", conflicts_with = "bundle")]
    run: Option<PathBuf>,
    /// The folder of a bundle, which needs neither the run nor its data.
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// A user of the data set, by id.
    #[arg(long)]
    user: Option<String>,
    /// An item of the history, by id or title; may be given several times, oldest first.
    #[arg(long, value_name = "ID")]
    item: Vec<String>,
    /// An item of the history, by title only; may be given several times, oldest first.
    #[arg(long)]
    title: Vec<String>,
    /// Titles or ids of the history, oldest first, separated by semicolons; write `\;` for a semicolon within a title.
    #[arg(long)]
    history: Option<String>,
    /// A row, by kind (such as `distilled`) or name; by default the row that validates best, which the report recommends,
    /// or the first of the bundle.
    #[arg(long)]
    row: Option<String>,
    /// The number of items to recommend.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    many: Many,
}

/// Options that a bundle alone has.
#[derive(clap::Args)]
struct Many {
    /// A file of many users' histories: a log in any format that a run reads, or JSON lines with `user` and `history`.
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with_all = [
        "run", "user", "item", "title", "history", "json", "explain",
    ])]
    histories: Option<PathBuf>,
    /// The file of lists: .parquet, .csv or .jsonl.
    #[arg(long, value_name = "FILE", requires = "histories", conflicts_with = "run")]
    out: Option<PathBuf>,
    /// A column of the log, as in user=customer; also item, time and rating.
    #[arg(long, value_name = "ROLE=COLUMN", requires = "histories")]
    column: Vec<String>,
    /// A file with the ids of the only items that may be recommended, one per line.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    allow: Option<PathBuf>,
    /// A file with the ids of items that must not be recommended, one per line.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    deny: Option<PathBuf>,
    /// Also recommend items of the history.
    #[arg(long, conflicts_with = "run")]
    seen: bool,
    /// At most this many items of each group.
    #[arg(long, value_name = "N", conflicts_with = "run")]
    per_group: Option<usize>,
    /// Say where scores come from.
    #[arg(long, conflicts_with = "run")]
    explain: bool,
    /// Also write user vectors, in the column `vector` of each user's first row.
    #[arg(long, requires = "histories")]
    vectors: bool,
    /// Go on after the last finished part of a batch that was cut off.
    #[arg(long, requires = "histories")]
    resume: bool,
    /// Items similar to this one, by id or title, instead of a user's.
    #[arg(long, value_name = "ITEM", conflicts_with_all = [
        "run", "histories", "user", "item", "title", "history", "allow", "deny", "seen", "per_group", "explain",
    ])]
    similar: Option<String>,
    /// The language model of a bundle that was exported without it.
    #[arg(long, value_name = "PATH", conflicts_with = "run")]
    lm: Option<PathBuf>,
}

impl Args {
    /// Returns whom to recommend to, which is given in one of four ways.
    fn who(&self) -> Result<Who> {
        let Self { user, item, title, history, .. } = self;
        match (user, item.is_empty(), title.is_empty(), history) {
            (Some(user), true, true, None) => Ok(Who::User(user.clone())),
            (None, false, true, None) => Ok(Who::Items(item.clone())),
            (None, true, false, None) => Ok(Who::Titles(title.clone())),
            (None, true, true, Some(history)) => Ok(Who::History(history.clone())),
            _ => bail!("give exactly one of --user ID, --item ID .., --title TITLE .. and --history \"TITLE; TITLE\""),
        }
    }

    /// Returns what to ask of a bundle, without a history.
    fn request(&self) -> Result<Request> {
        let Many { allow, deny, seen, per_group, explain, .. } = &self.many;
        let ids = |file: &Option<PathBuf>| file.as_ref().map(|file| lines(file)).transpose();
        let mut request = Request::default();
        (request.top, request.row, request.seen) = (Some(self.top), self.row.clone(), *seen);
        (request.allow, request.deny) = (ids(allow)?, ids(deny)?.unwrap_or_default());
        // Nothing could be recommended. A list of what to deny may well be empty.
        if let (Some(file), Some([])) = (allow, request.allow.as_deref()) {
            bail!("--allow {}: holds no id; write one id per line, or leave the option out", file.display());
        }
        (request.per_group, request.explain) = (*per_group, *explain);
        Ok(request)
    }
}

/// Returns the lines of a file that are not empty.
fn lines(file: &Path) -> Result<Vec<String>> {
    let lines = text_lines(file)?;
    let lines = lines.with_context(|| format!("{}: is no text; write one id per line", file.display()))?;
    Ok(lines.map(|line| line.map(|(_, text)| text.trim().to_owned())).collect::<Result<_, _>>()?)
}

pub(super) fn recommend(args: &Args, root: &Path) -> Result<()> {
    // What --histories conflicts with makes clap forget that --out requires it.
    if let (Some(out), None) = (&args.many.out, &args.many.histories) {
        bail!("--out {}: is for the lists of many users, by --histories; for one, print by --json", out.display());
    }
    if let Some(bundle) = &args.bundle {
        return from_bundle(args, bundle);
    }
    let run = args.run.as_deref().context("give --run or --bundle")?;
    let found = recommend::recommend(run, &args.who()?, args.row.as_deref(), args.top, root)?;
    match args.json {
        // Converted to a value first, whose keys are in alphabetical order.
        true => say!("{}", serde_json::to_string_pretty(&serde_json::to_value(&found)?)?),
        false => say!("{found}"),
    }
    Ok(())
}

fn from_bundle(args: &Args, folder: &Path) -> Result<()> {
    let mut request = args.request()?;
    let many = &args.many;
    // What can be wrong without the bundle is told before it is read.
    let who = if many.histories.is_none() && many.similar.is_none() { Some(args.who()?) } else { None };
    let columns = columns(&many.column)?;
    let bundle = Bundle::open(folder, many.lm.as_deref(), &open_device(Backend::Cpu)?)?;
    if let Some(item) = &many.similar {
        let found = bundle.similar(item, args.row.as_deref(), args.top)?;
        match args.json {
            true => say!("{}", serde_json::to_string_pretty(&found)?),
            false => {
                say!("row {}, similar to {}", found.row, printable(&found.item));
                found.similar.iter().for_each(|own| {
                    say!("  {:>7.4}  {}  {}", own.score, printable(&own.item), printable(&own.title));
                });
            }
        }
        return Ok(());
    }
    if let (Some(histories), Some(out)) = (&many.histories, &many.out) {
        let batch = BatchConfig {
            histories: histories.clone(),
            out: out.clone(),
            columns,
            reads: many.allow.iter().chain(&many.deny).cloned().collect(),
            request,
            vectors: many.vectors,
            resume: many.resume,
        };
        let summary = bundle.recommend_file(&batch, &Bars::new())?;
        say!("{}: lists of {} users", out.display(), summary.users - summary.without);
        summary.notes.iter().for_each(|note| say!("note: {}", printable(note)));
        if summary.short > 0 {
            let none =
                if summary.without > 0 { format!(", and none for {} of them", summary.without) } else { String::new() };
            say!("note: fewer than {} items are left for {} users{none}", args.top, summary.short);
        }
        if summary.fallbacks > 0 {
            let why = "their history is empty or unknown, or says nothing to the row";
            say!("note: {} of the users got the most popular items: {why}", summary.fallbacks);
        }
        if summary.unknown > 0 {
            say!("note: {} entries of histories are no items of the bundle", summary.unknown);
        }
        if summary.rejected > 0 {
            say!("note: {} rows could not be read", summary.rejected);
        }
        return Ok(());
    }
    let title = |title: String| Past::Entry(PastEntry { title: Some(title), ..PastEntry::default() });
    match who.context("give a history")? {
        Who::User(user) => request.user = Some(user),
        Who::Items(items) => request.history = items.into_iter().map(Past::Name).collect(),
        Who::Titles(titles) => request.history = titles.into_iter().map(title).collect(),
        Who::History(text) => request.history = bundle.split_history(&text),
    }
    let answer = bundle.recommend(&request)?;
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&serde_json::to_value(&answer)?)?),
        false => told(&answer, &bundle).iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}

/// Returns an answer in words.
fn told(answer: &Answer, bundle: &Bundle) -> Vec<String> {
    let mut lines = vec![format!("row {}, after {} items", printable(&answer.row), answer.history)];
    if let Some(why) = answer.fallback {
        let why = match why {
            Fallback::NoSignal => "because the row has nothing to say about this history",
            _ => "because no item of the history is known",
        };
        lines.push(format!("the most popular items, {why}"));
    }
    for own in &answer.recommended {
        lines.push(format!("  {:>7.4}  {}  {}", own.score, printable(&own.item), printable(&own.title)));
        let Some(explained) = &own.explain else { continue };
        let parts: Vec<String> = explained.parts.iter().map(|(name, value)| format!("{name} {value:+.3}")).collect();
        let because = explained.because.iter().map(|title| format!("; like {}", printable(title)));
        lines.push(format!("           {}{}", parts.join(", "), because.collect::<String>()));
    }
    if !answer.unknown.is_empty() {
        let unknown: Vec<String> = answer.unknown.iter().map(|name| format!("{name:?}{}", bundle.hint(name))).collect();
        lines.push(format!("note: neither ids nor titles of the bundle: {}", unknown.join(", ")));
    }
    lines.extend(answer.notes.iter().map(|note| format!("note: {}", printable(note))));
    lines
}

/// Returns the columns of `--column user=customer`.
fn columns(given: &[String]) -> Result<Columns> {
    let mut columns = Columns::default();
    for one in given {
        let (role, name) = one.split_once('=').with_context(|| format!("--column {one}: write it as user=COLUMN"))?;
        let place = match role {
            "user" => &mut columns.user,
            "item" => &mut columns.item,
            "time" => &mut columns.time,
            "rating" => &mut columns.rating,
            _ => bail!("--column {one}: there are user, item, time and rating"),
        };
        *place = Some(name.to_owned());
    }
    Ok(columns)
}
