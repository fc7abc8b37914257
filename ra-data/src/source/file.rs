//! Files, plain or compressed, identified by their bytes.
use crate::source::first_bytes::{Content, NEEDED, content, is_text};
use crate::source::unpack::{Gzip, zstandard};
use crate::{DataError, Result};
use ra_core::BYTE_ORDER_MARK;
use std::fs::File;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The format that a file name suggests for the uncompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Tabs,
    Commas,
    /// MovieLens files without a header: fields separated by `separator`, identified by position.
    Bare {
        separator: &'static str,
        header: &'static [&'static str],
    },
    Json,
    Parquet,
    /// Arrow files, of the file or the stream format.
    Arrow,
    /// A user and their items, or a user and one item, separated by spaces.
    Lists,
}

const RATINGS: [&str; 4] = ["user", "item", "rating", "timestamp"];
const FILMS: [&str; 3] = ["item", "title", "genres"];

/// The supported formats, for messages about a file whose format neither name nor content reveals.
pub(crate) const KNOWN: &str = "tsv, csv, jsonl, json, inter, item, txt, dat, data, each also with .gz or .zst, \
                                parquet, arrow and feather";

/// Bytes of text examined to determine its layout.
const HEAD: usize = 1 << 16;

/// The longest header.
const LONGEST: usize = 1 << 22;

/// The deepest supported nesting of compression.
const DEEPEST: usize = 4;

/// A file to read.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// The format that its name suggests; the content decides.
    named: Option<Format>,
    /// Whether a doubt about the content is an error.
    strict: bool,
}

/// The content of an opened file.
pub(crate) enum Opened {
    /// No bytes at all.
    Nothing,
    Parquet,
    Arrow,
    Text(Text),
}

/// Uncompressed text without a byte order mark.
pub(crate) struct Text {
    /// The first bytes, or all if there are fewer.
    head: Vec<u8>,
    rest: Box<dyn Read>,
}

impl Text {
    /// Returns the start of the text, available before reading.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns a reader for the whole text.
    pub(crate) fn reader(self) -> BufReader<Box<dyn Read>> {
        BufReader::with_capacity(1 << 18, Box::new(Cursor::new(self.head).chain(self.rest)))
    }
}

impl Source {
    pub(crate) fn new(path: &Path, strict: bool) -> Self {
        Self { path: path.into(), named: named(path), strict }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the format that its name suggests.
    pub(crate) fn named(&self) -> Option<Format> {
        self.named
    }

    /// Reports a file whose format neither name nor content reveals.
    pub(crate) fn unknown(&self) -> DataError {
        self.wrong(format!("unknown file type; the name must end in one of {KNOWN}"))
    }

    /// Reports a problem with the file as a whole.
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> DataError {
        DataError::corrupt(&self.path, problem)
    }

    /// Reports a doubt that distorts metrics unless intended: an error if strict, otherwise a warning.
    pub(crate) fn doubt(&self, problem: String) -> Result<()> {
        doubt(self.strict, &self.path, problem)
    }

    /// Opens the file as it is on disk; an empty file is an error.
    pub(crate) fn file(&self) -> Result<File> {
        let fail = |e| ra_core::Error::io(&self.path, "cannot read", e);
        let file = File::open(&self.path).map_err(fail)?;
        if file.metadata().map_err(fail)?.len() == 0 { Err(self.empty()) } else { Ok(file) }
    }

    /// Opens the file and identifies it by its first bytes. Opens it only once, so it may be a pipe.
    pub(crate) fn open(&self) -> Result<Opened> {
        let fail = |e| ra_core::Error::io(&self.path, "cannot read", e);
        let file = File::open(&self.path).map_err(fail)?;
        let is_file = file.metadata().map_err(fail)?.is_file();
        let mut rest: Box<dyn Read> = Box::new(file);
        let mut head = start(&mut rest, NEEDED).map_err(fail)?;
        let mut packings = 0;
        loop {
            let found = content(&head);
            let (Content::Gzip | Content::Zstandard) = found else { break };
            if packings == DEEPEST {
                return Err(self.wrong(format!("compressed more than {DEEPEST} times; decompress it")));
            }
            packings += 1;
            let packed = BufReader::new(Cursor::new(head).chain(rest));
            rest = match found {
                Content::Gzip => Box::new(Gzip::new(packed)),
                _ => zstandard(packed).map_err(|e| self.failed(e))?,
            };
            head = start(&mut rest, NEEDED).map_err(|e| self.failed(e))?;
        }
        let whole = |opened| match (is_file, packings) {
            (true, 0) => Ok(opened),
            (true, _) => Err(self.wrong("a compressed Parquet or Arrow file; decompress it first")),
            (false, _) => Err(self.wrong("a Parquet or Arrow file cannot be read from a pipe; give a file")),
        };
        match (content(&head), self.named) {
            (Content::Nothing, _) => Ok(Opened::Nothing),
            (Content::LfsPointer, _) => Err(ra_core::lfs_pointer_error(&self.path).into()),
            (Content::Foreign(what), _) => Err(self.wrong(format!("is {what}"))),
            (Content::Parquet, _) => whole(Opened::Parquet),
            (Content::Arrow, _) => whole(Opened::Arrow),
            (_, Some(Format::Parquet | Format::Arrow)) if is_text(&head) => {
                Err(self.wrong("is text, neither Parquet nor Arrow; rename it to .tsv, .csv or .jsonl"))
            }
            (_, Some(Format::Parquet)) => whole(Opened::Parquet),
            (_, Some(Format::Arrow)) => whole(Opened::Arrow),
            _ => {
                let mut more = start(&mut rest, HEAD).map_err(|e| self.failed(e))?;
                // A header may be longer.
                while more.len() < LONGEST && !more.contains(&b'\n') {
                    let next = start(&mut rest, HEAD).map_err(|e| self.failed(e))?;
                    if next.is_empty() {
                        break;
                    }
                    more.extend(next);
                }
                let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
                head.drain(..mark);
                head.extend(more);
                if head.is_empty() { Ok(Opened::Nothing) } else { Ok(Opened::Text(Text { head, rest })) }
            }
        }
    }

    /// Reports bytes that cannot be read.
    pub(crate) fn failed(&self, error: Error) -> DataError {
        // System errors have a number; those of decompression have none.
        let problem = match (error.raw_os_error(), error.kind()) {
            (Some(_), _) => return ra_core::Error::io(&self.path, "cannot read", error).into(),
            (None, ErrorKind::UnexpectedEof) => "it is cut short: fetch it again",
            _ => "it is damaged, or its compression is not supported: fetch it again, or decompress it",
        };
        self.wrong(format!("cannot be decompressed: {error}; {problem}"))
    }

    /// Reports an empty file.
    pub(crate) fn empty(&self) -> DataError {
        self.wrong("the file is empty")
    }
}

/// Reports a doubt that distorts metrics unless intended: an error if `strict`, otherwise a warning.
pub(crate) fn doubt(strict: bool, path: &Path, problem: String) -> Result<()> {
    if strict {
        return Err(DataError::corrupt(path, problem));
    }
    tracing::warn!(path = %path.display(), "{problem}; strict = true makes it an error");
    Ok(())
}

/// Returns the next `most` bytes, or all if there are fewer.
fn start(bytes: &mut dyn Read, most: usize) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    bytes.take(most as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Returns the format that a file name suggests, compressed or not.
fn named(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let mut name = name.as_str();
    while let Some(stem) = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")) {
        name = stem;
    }
    let bare = |separator, header| Format::Bare { separator, header };
    Some(match (name, name.rsplit_once('.')?.1) {
        ("u.item", _) => bare("|", &FILMS[..2]),
        ("movies.dat", _) => bare("::", &FILMS),
        (_, "dat") => bare("::", &RATINGS),
        (_, "data") => bare("\t", &RATINGS),
        (_, "tsv" | "inter" | "item") => Format::Tabs,
        (_, "csv") => Format::Commas,
        (_, "jsonl" | "ndjson" | "json") => Format::Json,
        (_, "txt") => Format::Lists,
        (_, "parquet") => Format::Parquet,
        (_, "arrow" | "feather" | "ipc") => Format::Arrow,
        _ => return None,
    })
}
