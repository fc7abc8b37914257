//! Files, plain or packed.
use crate::{DataError, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read};
use std::path::{Path, PathBuf};

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstandard,
}

/// What is in the unpacked bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Tabs,
    Commas,
    /// MovieLens files without a header: fields between `separator`, named by their place.
    Bare {
        separator: &'static str,
        header: &'static [&'static str],
    },
    JsonLines,
    Parquet,
    /// Arrow's own files, of the file or the stream kind.
    Arrow,
    /// A user and their items, or a user and one item, separated by spaces.
    Lists,
}

const RATINGS: [&str; 4] = ["user", "item", "rating", "timestamp"];
const FILMS: [&str; 3] = ["item", "title", "genres"];

/// What a person reads when a name tells no format.
pub(crate) const KNOWN: &str = "tsv, csv, jsonl, json, inter, item, txt, dat, data, each also with .gz or .zst, \
                                parquet, arrow and feather";

/// A file and what its name says about it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    packing: Packing,
    format: Format,
}

impl Source {
    /// Looks at the name only.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Self::known(path)
            .ok_or_else(|| DataError::corrupt(path, format!("unknown file type; the name must end in one of {KNOWN}")))
    }

    fn known(path: &Path) -> Option<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (name, packing) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Packing::Gzip),
            Some((stem, "zst")) => (stem, Packing::Zstandard),
            _ => (name.as_str(), Packing::Plain),
        };
        let bare = |separator, header| Format::Bare { separator, header };
        let format = match (name, name.rsplit_once('.')?.1) {
            ("u.item", _) => bare("|", &FILMS[..2]),
            ("movies.dat", _) => bare("::", &FILMS),
            (_, "dat") => bare("::", &RATINGS),
            (_, "data") => bare("\t", &RATINGS),
            (_, "tsv" | "inter" | "item") => Format::Tabs,
            (_, "csv") => Format::Commas,
            (_, "jsonl" | "ndjson" | "json") => Format::JsonLines,
            (_, "txt") => Format::Lists,
            (_, "parquet") if packing == Packing::Plain => Format::Parquet,
            (_, "arrow" | "feather" | "ipc") if packing == Packing::Plain => Format::Arrow,
            _ => return None,
        };
        Some(Self { path: path.into(), packing, format })
    }

    /// The files that `path` stands for, in the order of their names: a file, all files of a known type in a folder, or
    /// those a pattern such as `logs/*.parquet` finds.
    pub(crate) fn all(path: &Path) -> Result<Vec<Self>> {
        let text = path.to_string_lossy();
        let mut found: Vec<Self> = if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|e| ra_core::Error::io(path, "cannot read", e))?;
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|p| p.is_file())
                .filter_map(|p| Self::known(&p))
                .collect()
        } else if !path.exists() && text.contains(['*', '?', '[']) {
            let paths = glob::glob(&text).map_err(|e| DataError::corrupt(path, format!("not a pattern: {e}")))?;
            paths.flatten().filter(|p| p.is_file()).map(|p| Self::new(&p)).collect::<Result<_>>()?
        } else {
            return Ok(vec![Self::new(path)?]);
        };
        if found.is_empty() {
            return Err(DataError::corrupt(path, format!("no file here that can be read; known are {KNOWN}")));
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The file as it lies on disk; one without a single byte is an error.
    pub(crate) fn file(&self) -> Result<File> {
        let fail = |e| ra_core::Error::io(&self.path, "cannot read", e);
        let file = File::open(&self.path).map_err(fail)?;
        if file.metadata().map_err(fail)?.len() == 0 { Err(self.empty()) } else { Ok(file) }
    }

    /// The unpacked bytes, from the start; a file without a single byte is an error.
    pub(crate) fn open(&self) -> Result<BufReader<Box<dyn Read>>> {
        let file = self.file()?;
        let bytes: Box<dyn Read> = match self.packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
            Packing::Zstandard => Box::new(zstd::Decoder::new(file).map_err(|e| self.failed(e))?),
        };
        let mut bytes = BufReader::with_capacity(1 << 18, bytes);
        if bytes.fill_buf().map_err(|e| self.failed(e))?.is_empty() { Err(self.empty()) } else { Ok(bytes) }
    }

    /// The error for bytes that cannot be had.
    pub(crate) fn failed(&self, error: Error) -> DataError {
        match self.packing {
            Packing::Plain => ra_core::Error::io(&self.path, "cannot read", error).into(),
            _ => DataError::corrupt(
                &self.path,
                format!("cannot be unpacked: {error}; it is cut short or damaged: fetch it again"),
            ),
        }
    }

    fn empty(&self) -> DataError {
        DataError::corrupt(&self.path, "the file is empty")
    }
}
