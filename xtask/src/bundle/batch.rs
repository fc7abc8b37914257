//! Recommendations for many users at once, from a file of histories to a file of lists.
use super::{Answer, Bundle, Named, Past, Request};
use crate::context::Output;
use crate::recipe::remedies::in_options;
use crate::store::lock;
use anyhow::{Context, Result, anyhow, bail};
use ra_core::{
    AtomicFile, Fingerprint, Fingerprinter, OutputFolder, UserId, fingerprint, nearest_existing, refuse_inputs,
};
use ra_data::{Column, Columns, DataConfig, column_names, read_table, text_lines, write_columns};
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The number of users whose lists are written together.
const PART: usize = 2048;

/// The number of users that a thread answers in one pass, and the memory for the scores of all threads in bytes.
const TOGETHER: usize = 64;
const MEMORY: usize = 1 << 28;

/// The columns of a file of lists. User vectors may follow.
const NAMES: [&str; 6] = ["user", "rank", "item", "title", "score", "fallback"];

/// The kind of the folder of parts in its marker.
const KIND: &str = "lists";

/// What to recommend to many users.
#[derive(Debug, Clone, Default)]
pub struct BatchConfig {
    /// The file of histories: a log in any format that a run reads, or JSON lines with `user` and `history`.
    pub histories: PathBuf,
    /// The file of lists, `.parquet`, `.csv` or `.jsonl`: `user`, `rank`, `item`, `title`, `score`, `fallback`.
    pub out: PathBuf,
    /// The columns of the log, as the table `[data.columns]` of a recipe has them. Everything else is read as the run read
    /// its own log.
    pub columns: ra_data::Columns,
    /// Further files that the caller has read, such as lists of allowed items: `out` may be none of them.
    pub reads: Vec<PathBuf>,
    /// What each request asks; its user and history are those of the file.
    pub request: Request,
    /// Whether the weighted user vectors are written too, in the column `vector` of the user's first row.
    pub vectors: bool,
    /// Whether the parts of a batch that was cut off are used.
    pub resume: bool,
}

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchSummary {
    /// The number of users.
    pub users: usize,
    /// How many of them got the most popular items, since their history is empty or unknown, or says nothing to the row.
    pub fallbacks: usize,
    /// The number of names in histories that are no items of the catalogue.
    pub unknown: usize,
    /// The rows of the file that could not be read.
    pub rejected: usize,
    /// How many users got fewer items than asked for, because no others are left for them.
    pub short: usize,
    /// How many of these got none, so that the file does not name them.
    pub without: usize,
    /// What is noteworthy about the allowed and denied items.
    pub notes: Vec<String>,
}

/// A line of JSON: a user and their history.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(deserialize_with = "super::answer::id")]
    user: String,
    history: Vec<Past>,
}

/// How such a line is written, for messages.
const LINE: &str = r#"write each line as {"user": "u1", "history": ["ID or title", ..]}"#;

/// The users of a file.
struct Asked {
    users: Vec<String>,
    histories: Histories,
    rejected: usize,
}

enum Histories {
    /// Numbers of names, so that a log of any length is small.
    Log {
        items: Vec<String>,
        rows: ra_core::Sequences,
    },
    Lines(Vec<Vec<Past>>),
}

impl Histories {
    fn of(&self, place: usize) -> Vec<Past> {
        match self {
            Self::Lines(all) => all[place].clone(),
            Self::Log { items, rows } => {
                let row = rows.row(UserId(place as u32));
                row.iter().map(|item| Past::Name(items[item.index() - 1].clone())).collect()
            }
        }
    }
}

impl Asked {
    /// Identifies what was read, whatever it was read from: a pipe or a folder has no bytes that could be read again.
    fn fingerprint(&self) -> Result<Fingerprint> {
        let mut hash = Fingerprinter::default();
        let mut part = |bytes: &[u8]| {
            hash.part(bytes.len());
            hash.bytes(bytes);
        };
        let kind = match &self.histories {
            Histories::Lines(_) => ("lines", 0),
            Histories::Log { items, .. } => ("log", items.len()),
        };
        part(format!("{kind:?}, {} users", self.users.len()).as_bytes());
        self.users.iter().for_each(|user| part(user.as_bytes()));
        match &self.histories {
            Histories::Lines(all) => {
                for history in all {
                    part(&serde_json::to_vec(history)?);
                }
            }
            Histories::Log { items, rows } => {
                items.iter().for_each(|item| part(item.as_bytes()));
                for row in rows.rows() {
                    part(&row.iter().flat_map(|item| item.0.to_le_bytes()).collect::<Vec<_>>());
                }
            }
        }
        Ok(hash.finish())
    }
}

impl Bundle {
    /// Writes the lists of every user of a file, on all cores. The lists are kept in parts on disk; the memory is that of the
    /// histories and of one part. A batch that is cut off resumes after the last finished part.
    ///
    /// # Errors
    /// Names the file and row that cannot be read, or the file that is in the way.
    pub fn recommend_file(&self, config: &BatchConfig, output: &dyn Output) -> Result<BatchSummary> {
        let form = Form::of(&config.out)?;
        if config.vectors && form != Form::Parquet {
            bail!("--out {}: vectors need a .parquet file", config.out.display());
        }
        self.check(&config.request)?;
        if config.vectors {
            self.vector_row(&config.request)?;
        }
        let out = self.place(form, config)?;
        let asked = read(config, &self.recipe.data)?;
        if asked.users.is_empty() {
            bail!("{}: holds no user", config.histories.display());
        }
        let mut parts = Parts::open(self, config, &out, &asked)?;
        let all = asked.users.len();
        output.start("recommend", all as u64);
        let notes = self.notes_on(&config.request);
        let mut summary = BatchSummary { users: all, rejected: asked.rejected, notes, ..BatchSummary::default() };
        for (number, from) in (0..all).step_by(PART).enumerate() {
            let to = (from + PART).min(all);
            let lists = match parts.finished(number)? {
                Some(known) => known,
                None => {
                    let lists = self.lists(config, &asked, from..to, output)?;
                    parts.write(number, &lists)?;
                    lists
                }
            };
            let firsts = lists.rank.iter().zip(&lists.fallback).filter(|(rank, _)| **rank == 1);
            summary.fallbacks += firsts.filter(|(_, fallback)| !fallback.is_empty()).count();
            summary.unknown += lists.unknown.iter().sum::<f64>() as usize;
            summary.without += lists.rank.iter().filter(|rank| **rank == 0).count();
            let full = lists.rank.iter().filter(|rank| **rank as usize == config.request.most()).count();
            summary.short += to - from - full;
            output.update(to as u64, "");
        }
        output.finish();
        // Among the parts, so that a kill leaves nothing next to the lists.
        let whole = parts.claimed("whole")?;
        form.write(&whole, (0..all.div_ceil(PART)).map(|number| parts.read(number)), config.vectors)?;
        form.refuse_others(&out)?;
        std::fs::rename(&whole, &out).with_context(|| format!("--out {}: cannot be written", config.out.display()))?;
        parts.remove()?;
        Ok(summary)
    }

    /// Returns the place of the file of lists, if it may be written. A link stays one: what it names is replaced.
    fn place(&self, form: Form, config: &BatchConfig) -> Result<PathBuf> {
        let out = &config.out;
        let told = out.display();
        let found = out.metadata().ok();
        if found.is_none() && out.is_symlink() {
            bail!("--out {told}: is a link to nothing; name a file");
        }
        if found.as_ref().is_some_and(|found| found.is_dir()) {
            bail!("--out {told}: is a folder; name a file");
        }
        if found.as_ref().is_some_and(|found| !found.is_file()) {
            bail!("--out {told}: is no file; name one");
        }
        let inputs: Vec<PathBuf> = config.reads.iter().chain([&config.histories]).cloned().collect();
        refuse_inputs(std::slice::from_ref(out), &inputs)
            .map_err(|_| anyhow!("--out {told}: is a file that the command reads; name another"))?;
        let real = if found.is_some() { out.canonicalize()? } else { std::path::absolute(out)? };
        let folder = |path: &Path| path.parent().and_then(nearest_existing);
        if let (Some(folder), Ok(own)) = (folder(&real), self.path().canonicalize())
            && folder.starts_with(&own)
        {
            bail!("--out {told}: is within the bundle; name a file elsewhere");
        }
        // The next batch would read the lists as a part of the log.
        let log = nearest_existing(&config.histories);
        let ends_alike = config.histories.extension().is_none_or(|end| Some(end) == out.extension());
        let is_pattern = !config.histories.exists() && config.histories.to_string_lossy().contains(['*', '?', '[']);
        if let (Some(folder), Some(log)) = (folder(&real), log)
            && (config.histories.is_dir() && folder.starts_with(&log) || is_pattern && ends_alike && folder == log)
        {
            bail!("--out {told}: is among the histories; name a file elsewhere");
        }
        form.refuse_others(&real)?;
        Ok(real)
    }

    fn lists(
        &self,
        config: &BatchConfig,
        asked: &Asked,
        users: std::ops::Range<usize>,
        output: &dyn Output,
    ) -> Result<Lists> {
        let threads = rayon::current_num_threads();
        let at_once = (MEMORY / (4 * self.items().max(1) * 8) / threads).clamp(1, TOGETHER);
        let all: Vec<usize> = users.collect();
        let mut lists = Lists::default();
        // A few blocks for each thread, so that progress is told between them.
        for blocks in all.chunks(at_once * threads * 2) {
            let answered: Vec<Vec<(Answer, Vec<f32>)>> =
                blocks.par_chunks(at_once).map(|block| self.block(config, asked, block)).collect::<Result<_>>()?;
            for (place, (answer, vector)) in blocks.iter().zip(answered.into_iter().flatten()) {
                lists.add(&asked.users[*place], answer, vector);
            }
            output.update(blocks.last().map_or(0, |last| *last as u64 + 1), "");
        }
        Ok(lists)
    }

    /// Answers for some users in one pass, each with a vector if the batch asks for it.
    fn block(&self, config: &BatchConfig, asked: &Asked, users: &[usize]) -> Result<Vec<(Answer, Vec<f32>)>> {
        let request = |place: &usize| Request { history: asked.histories.of(*place), ..config.request.clone() };
        let requests: Vec<Request> = users.iter().map(request).collect();
        let vector = |request: &Request| if config.vectors { self.user_vector(request) } else { Ok(Vec::new()) };
        let vectors: Vec<Vec<f32>> = requests.iter().map(vector).collect::<Result<_>>()?;
        Ok(self.recommend_all(&requests)?.into_iter().zip(vectors).collect())
    }
}

/// Reads the file of histories.
fn read(config: &BatchConfig, own: &DataConfig) -> Result<Asked> {
    let path = &config.histories;
    let is_pipe = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    if !is_pipe {
        return read_files(path, config, own);
    }
    // A pipe can be read once, and what it holds shows only when it is read.
    let told = || format!("--histories {}: cannot be kept in a temporary folder", path.display());
    let folder = tempfile::tempdir().with_context(told)?;
    let kept = folder.path().join(path.file_name().unwrap_or_default());
    let mut pipe = File::open(path).with_context(|| format!("--histories {}: cannot be read", path.display()))?;
    std::io::copy(&mut pipe, &mut File::create(&kept).with_context(told)?).with_context(told)?;
    let of_pipe = |text: String| text.replace(&*kept.to_string_lossy(), &path.to_string_lossy());
    read_files(&kept, config, own).map_err(|error| anyhow!("{}", of_pipe(format!("{error:#}"))))
}

fn read_files(path: &Path, config: &BatchConfig, own: &DataConfig) -> Result<Asked> {
    if let Some(lines) = lines(path)? {
        let (users, histories) = lines.into_iter().map(|line| (line.user, line.history)).unzip();
        return Ok(Asked { users, histories: Histories::Lines(histories), rejected: 0 });
    }
    // As the run read its own log, but for its columns, which another file need not have.
    let rating = config.columns.rating.clone().or_else(|| own.columns.rating.clone());
    let columns = Columns { rating, ..config.columns.clone() };
    let (min_rating, dedupe, strict) = (own.min_rating, own.dedupe, own.strict);
    let interactions = Some(path.to_owned());
    let log = DataConfig { interactions, columns, min_rating, dedupe, strict, ..DataConfig::default() };
    let read = ra_data::histories(&log).map_err(|error| in_options(error.into())).context("--histories")?;
    let ra_data::Histories { users, items, rows, rejected, .. } = read;
    Ok(Asked { users, histories: Histories::Log { items, rows }, rejected: rejected.rows })
}

/// Reads JSON lines with a history each; nothing if the file is something else, such as a log in JSON.
fn lines(path: &Path) -> Result<Option<Vec<Line>>> {
    // Not a file: a folder or a pattern.
    if !path.is_file() {
        return Ok(None);
    }
    let Some(mut lines) = text_lines(path)? else { return Ok(None) };
    let head = lines.head()?.trim_ascii_start();
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !begins_a_history(first) {
        return Ok(None);
    }
    let (mut found, mut seen) = (Vec::new(), HashMap::new());
    for line in lines {
        let (number, line) = line?;
        let own: Line = serde_json::from_str(&line).map_err(|error| {
            let (told, place) = (error.to_string(), error.column());
            let told = told.rsplit_once(" at line ").map_or(&*told, |(told, _)| told);
            anyhow!("{}, line {number}, byte {place}: {told}; {LINE}", path.display())
        })?;
        if let Some(before) = seen.insert(own.user.clone(), number) {
            let user = &own.user;
            let told = format!("user {user:?} is in line {before} and again in line {number}");
            bail!("{}: {told}; join their histories in one line", path.display());
        }
        found.push(own);
    }
    Ok(Some(found))
}

/// Returns whether a line is an object with a `history`, or would be one if it were not damaged or cut off.
fn begins_a_history(line: &[u8]) -> bool {
    const KEY: &[u8] = br#""history""#;
    match serde_json::from_slice::<serde_json::Value>(line) {
        Ok(whole) => whole.get("history").is_some(),
        Err(_) => {
            let is_key =
                |at: usize| line[at..].starts_with(KEY) && line[at + KEY.len()..].trim_ascii_start().starts_with(b":");
            line.starts_with(b"{") && (0..line.len()).any(is_key)
        }
    }
}

/// Rows of a file of lists.
#[derive(Debug, Clone, Default)]
struct Lists {
    user: Vec<String>,
    /// From 1 on. A part has a row of rank 0 for a user without a list, which says what else is known of them.
    rank: Vec<u32>,
    item: Vec<String>,
    title: Vec<String>,
    score: Vec<f64>,
    /// Why popularity answered, or nothing.
    fallback: Vec<String>,
    /// In the first row of a user: the number of unknown names.
    unknown: Vec<f64>,
    vector: Vec<Vec<f32>>,
}

impl Lists {
    fn add(&mut self, user: &str, answer: Answer, vector: Vec<f32>) {
        let fallback = answer.fallback.and_then(|why| serde_json::to_value(why).ok());
        let fallback = fallback.and_then(|why| why.as_str().map(str::to_owned)).unwrap_or_default();
        let (mut unknown, mut vector) = (answer.unknown.len() as f64, Some(vector));
        let mut add = |rank, item, title, score| {
            self.user.push(user.to_owned());
            self.rank.push(rank);
            self.item.push(item);
            self.title.push(title);
            self.score.push(score);
            self.fallback.push(fallback.clone());
            self.unknown.push(std::mem::take(&mut unknown));
            self.vector.push(vector.take().unwrap_or_default());
        };
        if answer.recommended.is_empty() {
            add(0, String::new(), String::new(), 0.0);
        }
        for (rank, Named { item, title, score, .. }) in (1..).zip(answer.recommended) {
            add(rank, item, title, score.into());
        }
    }

    /// Leaves out the rows of users without a list.
    fn listed(mut self) -> Self {
        let keep: Vec<bool> = self.rank.iter().map(|rank| *rank > 0).collect();
        if keep.iter().any(|keep| !keep) {
            fn kept<T>(column: &mut Vec<T>, keep: &[bool]) {
                let mut keep = keep.iter();
                column.retain(|_| keep.next().is_some_and(|keep| *keep));
            }
            let texts = [&mut self.user, &mut self.item, &mut self.title, &mut self.fallback];
            texts.into_iter().for_each(|column| kept(column, &keep));
            [&mut self.score, &mut self.unknown].into_iter().for_each(|column| kept(column, &keep));
            kept(&mut self.rank, &keep);
            kept(&mut self.vector, &keep);
        }
        self
    }

    fn columns(self) -> Vec<(&'static str, Column)> {
        vec![
            ("user", Column::Text(self.user)),
            ("rank", Column::Ids(self.rank)),
            ("item", Column::Text(self.item)),
            ("title", Column::Text(self.title)),
            ("score", Column::Numbers(self.score)),
            ("fallback", Column::Text(self.fallback)),
            ("unknown", Column::Numbers(self.unknown)),
            ("vector", Column::Vectors(self.vector)),
        ]
    }

    fn read(path: &Path) -> Result<Self> {
        let damaged = || format!("{}: is not a part of a batch; remove it", path.display());
        let mut table: BTreeMap<String, Column> = read_table(path)?;
        let mut take = |name: &str| table.remove(name).with_context(damaged);
        let columns = [take("user")?, take("item")?, take("title")?, take("fallback")?];
        let [Column::Text(user), Column::Text(item), Column::Text(title), Column::Text(fallback)] = columns else {
            bail!(damaged())
        };
        let numbers = (take("rank")?, take("score")?, take("unknown")?, take("vector")?);
        let (Column::Ids(rank), Column::Numbers(score), Column::Numbers(unknown), Column::Vectors(vector)) = numbers
        else {
            bail!(damaged())
        };
        Ok(Self { user, rank, item, title, score, fallback, unknown, vector })
    }
}

/// The finished parts of a batch, in a folder next to its file.
struct Parts {
    files: OutputFolder,
    path: PathBuf,
    /// Held as long as the batch runs.
    _lock: File,
}

impl Parts {
    /// Opens the folder of parts, whose name says everything that the lists depend on.
    fn open(bundle: &Bundle, config: &BatchConfig, out: &Path, asked: &Asked) -> Result<Self> {
        let BatchConfig { columns, request, vectors, .. } = config;
        let catalog = &bundle.dataset.catalog;
        let added = bundle.added().map(|item| (catalog.id(item), catalog.title(item)));
        let made_of = [
            env!("CARGO_PKG_VERSION").to_owned(),
            serde_json::to_string(bundle.manifest())?,
            serde_json::to_string(&added.collect::<Vec<_>>())?,
            asked.fingerprint()?.to_string(),
            serde_json::to_string(columns)?,
            serde_json::to_string(request)?,
            vectors.to_string(),
        ];
        let key = fingerprint(made_of.iter().map(String::as_bytes)).to_string();
        let name = out.file_name().context("--out names no file")?.to_string_lossy().into_owned();
        let path = out.with_file_name(format!(".{name}.parts-{}", &key[..12]));
        let (mut files, lock) = lock::take(&path, KIND)?;
        files.sweep()?;
        if !config.resume {
            files.remove(|_| true)?;
        }
        Ok(Self { files, path, _lock: lock })
    }

    fn file(number: usize) -> String {
        format!("{number:06}.parquet")
    }

    fn finished(&self, number: usize) -> Result<Option<Lists>> {
        let path = self.path.join(Self::file(number));
        (self.files.owns(&Self::file(number)) && path.exists()).then(|| Lists::read(&path)).transpose()
    }

    fn write(&mut self, number: usize, lists: &Lists) -> Result<()> {
        Ok(write_columns(&self.claimed(&Self::file(number))?, &lists.clone().columns())?)
    }

    /// Returns the path of a file that is about to be written, and claims it.
    fn claimed(&mut self, name: &str) -> Result<PathBuf> {
        self.files.claim(&[name])?;
        Ok(self.path.join(name))
    }

    fn read(&self, number: usize) -> Result<Lists> {
        Lists::read(&self.path.join(Self::file(number)))
    }

    /// Removes the folder.
    fn remove(mut self) -> Result<()> {
        self.files.remove(|_| true)?;
        lock::leave(&self.path);
        Ok(())
    }
}

/// A format of a file of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Parquet,
    Csv,
    Jsonl,
}

impl Form {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|end| end.to_str()) {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::Jsonl),
            _ => bail!("--out {}: must end in .parquet, .csv or .jsonl", path.display()),
        }
    }

    /// Refuses to replace a file that holds something else than lists.
    fn refuse_others(self, out: &Path) -> Result<()> {
        if out.metadata().map_or(true, |found| found.is_file() && found.len() == 0) {
            return Ok(());
        }
        let first = || text_lines(out).ok().flatten().and_then(|mut lines| lines.next()?.ok()).map(|(_, line)| line);
        let is_own = match self {
            Self::Parquet => column_names(out).is_ok_and(|names| names.starts_with(&NAMES.map(str::to_owned))),
            Self::Csv => first().is_some_and(|line| line == NAMES.join(",")),
            Self::Jsonl => first().is_some_and(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                NAMES.iter().all(|name| line.get(name).is_some())
            }),
        };
        if !is_own {
            bail!("--out {}: is there already, and holds no lists; name another file", out.display());
        }
        Ok(())
    }

    /// Writes all parts as one file, one part in memory at a time, and puts it in its place when it is whole.
    fn write(self, out: &Path, parts: impl Iterator<Item = Result<Lists>>, vectors: bool) -> Result<()> {
        let parts = parts.map(|lists| lists.map(Lists::listed));
        let shown = |lists: Lists| {
            let columns = lists.columns().into_iter();
            columns.filter(|(name, _)| *name != "unknown" && (vectors || *name != "vector")).collect::<Vec<_>>()
        };
        if self == Self::Parquet {
            let parts =
                parts.map(|lists| Ok(shown(lists.map_err(|e| ra_core::Error::corrupt(out, format!("{e:#}")))?)));
            return Ok(ra_data::write_parts(out, parts)?);
        }
        let cannot = || format!("{}: cannot be written", out.display());
        let file = AtomicFile::create(out)?;
        let mut to = BufWriter::new(file);
        if self == Self::Csv {
            writeln!(to, "{}", NAMES.join(",")).with_context(cannot)?;
        }
        for lists in parts {
            let lists = lists?;
            let rows = (0..lists.user.len()).map(|at| {
                let (user, item, title) = (&lists.user[at], &lists.item[at], &lists.title[at]);
                (user, lists.rank[at], item, title, lists.score[at], &lists.fallback[at])
            });
            if self == Self::Csv {
                let mut table = csv::Writer::from_writer(&mut to);
                for (user, rank, item, title, score, fallback) in rows {
                    let (rank, score) = (rank.to_string(), score.to_string());
                    table.write_record([user, &rank, item, title, &score, fallback]).with_context(cannot)?;
                }
                table.flush().with_context(cannot)?;
            } else {
                for (user, rank, item, title, score, fallback) in rows {
                    let fallback = Some(fallback).filter(|why| !why.is_empty());
                    let line = serde_json::json!({
                        "user": user, "rank": rank, "item": item, "title": title, "score": score, "fallback": fallback,
                    });
                    writeln!(to, "{line}").with_context(cannot)?;
                }
            }
        }
        Ok(to.into_inner().map_err(|e| e.into_error()).with_context(cannot)?.finish()?)
    }
}
