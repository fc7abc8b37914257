//! Which files a path stands for: a file, those of a pattern, or the files of a folder that are the table asked for.
use crate::header::{Fit, fit};
use crate::records::Wanted;
use crate::source::{Format, KNOWN, Opened, Source};
use crate::{DataError, Result, json};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files that `path` stands for, in the order of their names.
///
/// Of a folder those count that have the `wanted` columns; folders in it such as `month=2014-01` belong to it, hidden files,
/// those that begin with `_`, and what people write beside data do not.
///
/// # Errors
/// When there is none, or files of a folder are different tables or the same one twice.
pub(crate) fn sources(path: &Path, wanted: &[Wanted], strict: bool) -> Result<Vec<Source>> {
    let text = path.to_string_lossy();
    if path.is_dir() {
        of_folder(path, wanted, strict)
    } else if !path.exists() && text.contains(['*', '?', '[']) {
        let found = glob::glob(&text).map_err(|e| DataError::corrupt(path, format!("not a pattern: {e}")))?;
        let hidden_too = path.file_name().is_some_and(|name| is_hidden(Path::new(name)));
        let mut files: Vec<PathBuf> =
            found.flatten().filter(|file| file.is_file() && (hidden_too || !is_hidden(file))).collect();
        if files.is_empty() {
            return Err(DataError::corrupt(path, format!("no file here that can be read; known are {KNOWN}")));
        }
        files.sort();
        Ok(files.iter().map(|file| Source::new(file, strict)).collect())
    } else {
        Ok(vec![Source::new(path, strict)])
    }
}

/// Every file that `path` may stand for, whichever of them are the table asked for: what must not be written over.
///
/// # Errors
/// Names the folder or the pattern that cannot be looked at.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(sources(path, &[], false)?.into_iter().map(|source| source.path().to_owned()).collect());
    }
    let mut listing = Listing::default();
    listing.read(path, false)?;
    Ok([listing.files, listing.notes].concat())
}

/// What a folder holds.
#[derive(Debug, Default)]
struct Listing {
    /// Of a known format, with those of the folders of a partition.
    files: Vec<PathBuf>,
    /// As people write them beside data.
    notes: Vec<PathBuf>,
    /// Other than those of a partition.
    folders: Vec<PathBuf>,
    partitioned: bool,
}

impl Listing {
    fn read(&mut self, folder: &Path, strict: bool) -> Result<()> {
        let entries = std::fs::read_dir(folder).map_err(|e| ra_core::Error::io(folder, "cannot read", e))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // A link may lead back to where it lies.
                if name.contains('=') && !path.is_symlink() {
                    self.partitioned = true;
                    self.read(&path, strict)?;
                } else {
                    self.folders.push(path);
                }
            } else if path.is_file() && Source::new(&path, strict).named().is_some() {
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

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
}

fn of_folder(folder: &Path, wanted: &[Wanted], strict: bool) -> Result<Vec<Source>> {
    let mut listing = Listing::default();
    listing.read(folder, strict)?;
    let Listing { files, notes: mut left_out, folders, partitioned } = listing;
    let mut sources: Vec<Source> = files.iter().map(|file| Source::new(file, strict)).collect();
    if sources.is_empty() {
        return Err(DataError::corrupt(folder, format!("no file here that can be read; {}", inside(folder, &folders))));
    }
    let is_list = |source: &Source| source.named() == Some(Format::Lists);
    if sources.iter().any(|source| !is_list(source)) {
        let (lists, tables): (Vec<_>, Vec<_>) = sources.into_iter().partition(is_list);
        left_out.extend(lists.iter().map(|source| source.path().to_path_buf()));
        sources = tables;
    }
    if sources.len() > 1 || !folders.is_empty() {
        sources = of_one_table(folder, sources, wanted, &mut left_out, partitioned, &folders)?;
    }
    refuse_twice(folder, &sources)?;
    if folder.join("_delta_log").is_dir() {
        let problem = "is a Delta table: files that it has replaced are read as well; write it as plain Parquet";
        Source::new(folder, strict).doubt(problem.into())?;
    }
    let below: Vec<PathBuf> = folders.iter().filter(|within| !endings(within).is_empty()).cloned().collect();
    if !below.is_empty() {
        let within = names(folder, &below);
        tracing::warn!(folder = %folder.display(), "folders in this folder are not read: {within}");
    }
    if !left_out.is_empty() {
        let files = names(folder, &left_out);
        tracing::warn!(folder = %folder.display(), "files of this folder that are no part of its log are not read: {files}");
    }
    Ok(sources)
}

/// Those of `sources` that have the `wanted` columns; the others are added to `left_out`.
fn of_one_table(
    folder: &Path,
    sources: Vec<Source>,
    wanted: &[Wanted],
    left_out: &mut Vec<PathBuf>,
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
            if partitioned { "; what stands only in names of folders such as `user=u1` is not read" } else { "" };
        let problem = match folders {
            [] => format!("none of its files has all columns: {error}{paths}"),
            _ => format!("none of its files has all columns: {error}{paths}; or {}", inside(folder, folders)),
        };
        return Err(DataError::corrupt(folder, problem));
    }
    left_out.extend(lacking.into_iter().map(|(source, _)| source.path().to_path_buf()));
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
                "{one} ({}) and {two} ({}) are different tables; name the file that is meant, as in `{}`",
                list(columns),
                list(others),
                first.path().display()
            ),
        ));
    }
    Ok(kept.into_iter().map(|(source, _)| source).collect())
}

/// Whether a file has the wanted columns; what cannot be looked at is told when it is read.
fn look(source: &Source, wanted: &[Wanted]) -> Fit {
    match source.open() {
        Ok(Opened::Text(text)) => fit(source, text.head(), wanted, json::keys),
        Ok(Opened::Parquet) => {
            ra_core::guarded(source.path(), || parquet_columns(source)).map_or(Fit::Unknown, |names| {
                match crate::records::Columns::find(source.path(), wanted, &names) {
                    Ok(_) => Fit::Has(names.into_iter().collect()),
                    Err(error) => Fit::Lacks(error),
                }
            })
        }
        _ => Fit::Unknown,
    }
}

fn parquet_columns(source: &Source) -> Result<Vec<String>> {
    let reader = SerializedFileReader::new(source.file()?).map_err(|e| source.wrong(e.to_string()))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    Ok(schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect())
}

/// Refuses the same table in two formats, and tells of files that are the same to the byte.
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
        let alike = sizes.entry(size).or_default();
        // Spark's parts without rows are all alike.
        if let Some(other) = alike.iter().find(|other| is_same(source.path(), other.path())) {
            let both = names(folder, &[other.path().into(), source.path().into()]);
            source.doubt(format!("{both} are the same to the byte: every row counts twice"))?;
        }
        alike.push(source);
    }
    Ok(())
}

/// Whether two files of one size hold the same, and more than one line of it.
fn is_same(one: &Path, other: &Path) -> bool {
    let print = |path: &Path| ra_core::fingerprint_file(path).ok();
    let lines = |path: &Path| {
        use std::io::Read;
        let mut start = Vec::new();
        let read = std::fs::File::open(path).map(|file| file.take(1 << 16).read_to_end(&mut start));
        read.is_ok() && (start.len() == 1 << 16 || start.trim_ascii().contains(&b'\n'))
    };
    lines(one) && print(one).is_some_and(|own| Some(own) == print(other))
}

/// A path without the endings that tell format and packing.
fn stem(path: &Path) -> String {
    let text = path.to_string_lossy().into_owned();
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix(".gz").or_else(|| lower.strip_suffix(".zst")).unwrap_or(&lower);
    let length = bare.rfind('.').unwrap_or(bare.len());
    text[..length].to_owned()
}

/// What to do about a folder whose tables lie in the folders within.
fn inside(folder: &Path, folders: &[PathBuf]) -> String {
    let Some(first) = folders.first() else { return format!("known are {KNOWN}") };
    let endings = endings(first);
    let ending = endings.first().map_or("parquet", String::as_str);
    format!(
        "it holds folders ({}): name one of them, or a pattern in quotes such as '{}/*/*.{ending}'",
        names(folder, folders),
        folder.display()
    )
}

/// The endings of the files of a known format in a folder.
fn endings(folder: &Path) -> Vec<String> {
    let files = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut endings: Vec<String> = files
        .filter(|file| !is_hidden(file) && file.is_file() && Source::new(file, false).named().is_some())
        .filter_map(|file| Some(file.extension()?.to_string_lossy().into_owned()))
        .collect();
    endings.sort();
    endings
}

/// The names of the first few paths, as seen from `folder`.
fn names(folder: &Path, paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let shown: Vec<String> = paths.iter().take(5).map(name).collect();
    let more =
        if paths.len() > shown.len() { format!(" and {} more", paths.len() - shown.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
