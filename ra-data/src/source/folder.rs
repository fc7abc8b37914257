//! Resolves a path to files: one file, the matches of a pattern, or the files of a folder that belong to the wanted
//! table.
use crate::format::header::{Fit, fit, is_tabular};
use crate::format::row::{ColumnSpec, FoundColumns, Role};
use crate::format::{columnar, json};
use crate::source::file::{Format, KNOWN, Opened, Source};
use crate::{DataError, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Returns the files that `path` stands for, in the order of their names.
///
/// In a folder, the files with the `wanted` columns count, including those in partition folders such as
/// `month=2014-01`. Hidden files, Spark's markers and notes beside the data do not count. Anything else left out is
/// reported as a doubt.
///
/// # Errors
/// If there is no file, a link is broken, or the files of a folder are different tables or the same one twice.
pub(crate) fn sources(path: &Path, wanted: &[ColumnSpec], strict: bool) -> Result<Vec<Source>> {
    let text = path.to_string_lossy();
    if path.is_dir() {
        of_folder(path, wanted, strict)
    } else if !path.exists() && text.contains(['*', '?', '[']) {
        let found = glob::glob(&text).map_err(|e| DataError::corrupt(path, format!("not a pattern: {e}")))?;
        let hidden_too = path.file_name().is_some_and(|name| is_hidden(Path::new(name)));
        let mut files = Vec::new();
        for file in found {
            let file = file.map_err(|e| {
                let path = e.path().to_owned();
                ra_core::Error::io(path, "cannot read", e.into())
            })?;
            if (hidden_too || !is_hidden(&file)) && metadata(&file)?.is_file() {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Err(DataError::corrupt(path, format!("no file here that can be read; supported are {KNOWN}")));
        }
        files.sort();
        Ok(files.iter().map(|file| Source::new(file, strict)).collect())
    } else {
        Ok(vec![Source::new(path, strict)])
    }
}

/// Returns every file that `path` may stand for, whether or not it belongs to the wanted table: the files that must not
/// be overwritten.
///
/// # Errors
/// Names the folder or pattern that cannot be read.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(sources(path, &[], false)?.into_iter().map(|source| source.path().to_owned()).collect());
    }
    let mut listing = Listing::default();
    listing.read(path, false)?;
    Ok([listing.files, listing.notes, listing.strange].concat())
}

/// The contents of a folder.
#[derive(Debug, Default)]
struct Listing {
    /// Files of a known format, including those in partition folders.
    files: Vec<PathBuf>,
    /// Notes that people keep beside data.
    notes: Vec<PathBuf>,
    /// Files of unknown format, or with a name that begins with `_`.
    strange: Vec<PathBuf>,
    /// Folders that are not partitions.
    folders: Vec<PathBuf>,
    partitioned: bool,
}

impl Listing {
    fn read(&mut self, folder: &Path, strict: bool) -> Result<()> {
        let entries = std::fs::read_dir(folder).map_err(|e| ra_core::Error::io(folder, "cannot read", e))?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
        let mut paths = entries.map_err(|e| ra_core::Error::io(folder, "cannot read", e))?;
        paths.sort();
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let found = metadata(&path)?;
            if found.is_dir() {
                // A link may form a cycle.
                if name.contains('=') && !path.is_symlink() {
                    self.partitioned = true;
                    self.read(&path, strict)?;
                } else if !name.starts_with('_') {
                    self.folders.push(path);
                }
            } else if name.starts_with('_') || Source::new(&path, strict).named().is_none() {
                self.strange.push(path);
            } else if found.is_file() {
                let is_note = name.split(['.', '_', '-']).next().is_some_and(|word| {
                    let words = ["readme", "license", "licence", "changelog", "changes", "copying", "notice"];
                    words.contains(&word.to_lowercase().as_str())
                        && Source::new(&path, strict).named() == Some(Format::Lists)
                });
                if is_note { self.notes.push(path) } else { self.files.push(path) }
            }
        }
        Ok(())
    }
}

/// Follows links.
fn metadata(path: &Path) -> Result<std::fs::Metadata> {
    Ok(path.metadata().map_err(|e| ra_core::Error::io(path, "cannot read", e))?)
}

/// Returns whether a file is hidden, or a marker or summary that Spark leaves beside its parts.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.'])
        || ["_SUCCESS", "_metadata", "_common_metadata"].contains(&name.as_ref())
        || ["_committed_", "_started_"].iter().any(|start| name.starts_with(start))
}

fn of_folder(folder: &Path, wanted: &[ColumnSpec], strict: bool) -> Result<Vec<Source>> {
    let mut listing = Listing::default();
    listing.read(folder, strict)?;
    let Listing { files, notes, strange, folders, partitioned } = listing;
    let open = |files: Vec<PathBuf>| files.iter().map(|file| Source::new(file, strict)).collect::<Vec<_>>();
    let (strange, others): (Vec<_>, Vec<_>) = open(strange).into_iter().partition(|file| may_be_part(file, wanted));
    // Hive's part files have no extension.
    let (mut sources, mut left_out) = if files.is_empty() { (strange, vec![]) } else { (open(files), strange) };
    if sources.is_empty() {
        return Err(DataError::corrupt(folder, format!("no file here that can be read; {}", inside(folder, &folders))));
    }
    let is_list =
        |source: &Source| source.named() == Some(Format::Lists) && !matches!(look(source, wanted), Fit::Has(_));
    if sources.iter().any(|source| source.named() != Some(Format::Lists)) {
        let (lists, tables): (Vec<_>, Vec<_>) = sources.into_iter().partition(is_list);
        left_out.extend(lists);
        sources = tables;
    }
    if sources.len() > 1 || !folders.is_empty() {
        sources = of_one_table(folder, sources, wanted, &mut left_out, partitioned, &folders)?;
    }
    refuse_twice(folder, &sources)?;
    let own = Source::new(folder, strict);
    if folder.join("_delta_log").is_dir() {
        let problem = "is a Delta table: files that it has replaced are read as well; write it as plain Parquet";
        own.doubt(problem.into())?;
    }
    let below: Vec<PathBuf> = folders.iter().filter(|within| !endings(within).is_empty()).cloned().collect();
    if !below.is_empty() {
        let (within, folder) = (names(folder, &below), folder.display());
        own.doubt(format!(
            "folders in this folder are not read: {within}; a pattern in quotes such as '{folder}/*/*' reads them"
        ))?;
    }
    let paths = |sources: Vec<Source>| sources.iter().map(|source| source.path().to_owned()).collect::<Vec<_>>();
    let (beside, missed): (Vec<_>, Vec<_>) = left_out.into_iter().partition(|source| is_beside(source, wanted));
    if !missed.is_empty() {
        let missed = names(folder, &paths(missed));
        own.doubt(format!(
            "files in this folder are not read but may belong to the data: {missed}; name the file or pattern that you \
             mean"
        ))?;
    }
    let told = [paths(beside), paths(others), notes].concat();
    if !told.is_empty() {
        let files = names(folder, &told);
        tracing::warn!(folder = %folder.display(), "files here that are not part of the log are not read: {files}");
    }
    Ok(sources)
}

/// Returns whether the content of a file of unknown format may be part of the table: compressed, with the wanted
/// columns, or with the same number of fields in each line.
fn may_be_part(source: &Source, wanted: &[ColumnSpec]) -> bool {
    let ending = source.path().extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match source.path().is_file().then(|| source.open()) {
        None | Some(Ok(Opened::Nothing)) => false,
        Some(Ok(Opened::Parquet | Opened::Arrow)) => true,
        Some(Ok(Opened::Text(text))) => {
            let least = wanted.iter().filter(|wanted| !wanted.is_optional()).count();
            matches!(fit(source, text.head(), wanted, json::keys), Fit::Has(_)) || is_tabular(text.head(), least)
        }
        Some(Err(_)) => !["pdf", "html", "htm", "xml", "rtf", "doc", "docx"].contains(&ending.as_str()),
    }
}

/// Returns whether a file that lacks a wanted column is another table about the items, such as titles beside a log.
fn is_beside(source: &Source, wanted: &[ColumnSpec]) -> bool {
    let has = |role| {
        let mut columns = wanted.iter().filter(|wanted| wanted.role() == role);
        columns.any(|column| matches!(look(source, std::slice::from_ref(column)), Fit::Has(_)))
    };
    has(Role::Item) && !has(Role::User) && !has(Role::Time)
}

/// Returns the `sources` with the `wanted` columns; adds the others to `left_out`.
fn of_one_table(
    folder: &Path,
    sources: Vec<Source>,
    wanted: &[ColumnSpec],
    left_out: &mut Vec<Source>,
    partitioned: bool,
    folders: &[PathBuf],
) -> Result<Vec<Source>> {
    let (mut kept, mut lacking) = (Vec::new(), Vec::new());
    for source in sources {
        match look(&source, wanted) {
            Fit::Lacks(error) => lacking.push((source, error)),
            fits => kept.push((source, fits)),
        }
    }
    if let (true, Some((_, error))) = (kept.is_empty(), lacking.first()) {
        let paths =
            if partitioned { "; values that are only in folder names such as `user=u1` are not read" } else { "" };
        let problem = match folders {
            [] => format!("none of its files has all columns: {error}{paths}"),
            _ => format!("none of its files has all columns: {error}{paths}; or {}", inside(folder, folders)),
        };
        return Err(DataError::corrupt(folder, problem));
    }
    left_out.extend(lacking.into_iter().map(|(source, _)| source));
    let mut tables = kept.iter().filter_map(|(source, fit)| match fit {
        Fit::Has(columns) if !columns.is_empty() => Some((source, columns)),
        _ => None,
    });
    if let Some((first, columns)) = tables.next()
        && let Some((other, others)) = tables.find(|(_, others)| *others != columns)
    {
        let list = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let (one, two) = (names(folder, &[first.path().into()]), names(folder, &[other.path().into()]));
        return Err(DataError::corrupt(
            folder,
            format!(
                "{one} ({}) and {two} ({}) are different tables; name the one that you mean, as in `{}`",
                list(columns),
                list(others),
                first.path().display()
            ),
        ));
    }
    Ok(kept.into_iter().map(|(source, _)| source).collect())
}

/// Checks whether a file has the wanted columns; a file that cannot be opened is reported when it is read.
fn look(source: &Source, wanted: &[ColumnSpec]) -> Fit {
    let names = match source.open() {
        Ok(Opened::Text(text)) => return fit(source, text.head(), wanted, json::keys),
        Ok(Opened::Parquet) => ra_core::catch_panic(source.path(), || columnar::parquet_names(source)),
        Ok(Opened::Arrow) => ra_core::catch_panic(source.path(), || columnar::arrow_names(source)),
        _ => return Fit::Unknown,
    };
    names.map_or(Fit::Unknown, |names| match FoundColumns::find(source.path(), wanted, &names) {
        Ok(_) => Fit::Has(names.into_iter().collect()),
        Err(error) => Fit::Lacks(error),
    })
}

/// Refuses the same table in two formats, and warns about files with identical bytes.
fn refuse_twice(folder: &Path, sources: &[Source]) -> Result<()> {
    let mut stems: BTreeMap<String, &Source> = BTreeMap::new();
    let mut sizes: BTreeMap<u64, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        if let Some(other) = stems.insert(stem(source.path()), source) {
            let both = names(folder, &[other.path().into(), source.path().into()]);
            let problem =
                format!("{both} look like the same table twice, so every row would count twice; name one of them");
            return Err(DataError::corrupt(folder, problem));
        }
        let size = source.path().metadata().map_or(0, |found| found.len());
        sizes.entry(size).or_default().push(source);
    }
    for alike in sizes.into_values().filter(|alike| alike.len() > 1) {
        let mut prints = BTreeMap::new();
        // Spark's parts without rows are all identical.
        for source in alike.into_iter().filter(|source| has_lines(source.path())) {
            if let Some(other) = prints.insert(ra_core::fingerprint_file(source.path())?, source) {
                let both = names(folder, &[other.path().into(), source.path().into()]);
                source.doubt(format!("{both} are identical: every row counts twice"))?;
            }
        }
    }
    Ok(())
}

/// Returns whether a file holds more than one line.
fn has_lines(path: &Path) -> bool {
    use std::io::Read;
    let mut start = Vec::new();
    let read = std::fs::File::open(path).map(|file| file.take(1 << 16).read_to_end(&mut start));
    read.is_ok() && (start.len() == 1 << 16 || start.trim_ascii().contains(&b'\n'))
}

/// Returns a path without the extensions for format and compression.
fn stem(path: &Path) -> String {
    let text = path.to_string_lossy().into_owned();
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix(".gz").or_else(|| lower.strip_suffix(".zst")).unwrap_or(&lower);
    let length = bare.rfind(['.', '/']).filter(|&at| bare[at..].starts_with('.')).unwrap_or(bare.len());
    text[..length].to_owned()
}

/// Suggests what to do about a folder whose tables are in subfolders.
fn inside(folder: &Path, folders: &[PathBuf]) -> String {
    let Some(first) = folders.first() else { return format!("supported are {KNOWN}") };
    let endings = endings(first);
    let ending = endings.first().map_or("parquet", String::as_str);
    format!(
        "it holds folders ({}): name one of them, or a pattern in quotes such as '{}/*/*.{ending}'",
        names(folder, folders),
        folder.display()
    )
}

/// Returns the extensions of the files of known formats in a folder and its subfolders.
fn endings(folder: &Path) -> Vec<String> {
    let mut endings = Vec::new();
    for path in folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).filter(|p| !is_hidden(p)) {
        if path.is_dir() && !path.is_symlink() {
            endings.extend(self::endings(&path));
        } else if path.is_file() && Source::new(&path, false).named().is_some() {
            endings.extend(path.extension().map(|ending| ending.to_string_lossy().into_owned()));
        }
    }
    endings.sort();
    endings
}

/// Returns the names of the first few paths, relative to `folder`.
fn names(folder: &Path, paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let shown: Vec<String> = paths.iter().take(5).map(name).collect();
    let more =
        if paths.len() > shown.len() { format!(" and {} more", paths.len() - shown.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
