//! A file, plain or packed.
use crate::{DataError, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read};
use std::path::{Path, PathBuf};

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstandard,
}

/// What is in the unpacked bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Tabs,
    Commas,
    JsonLines,
    Parquet,
    /// A user and their items, separated by spaces.
    Lists,
}

/// A file and what its name says about it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    packing: Packing,
    format: Format,
}

impl Source {
    /// Looks at the extension only.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (name, packing) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Packing::Gzip),
            Some((stem, "zst")) => (stem, Packing::Zstandard),
            _ => (name.as_str(), Packing::Plain),
        };
        let format = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("tsv" | "inter" | "item") => Format::Tabs,
            Some("csv") => Format::Commas,
            Some("jsonl" | "ndjson" | "json") => Format::JsonLines,
            Some("txt") => Format::Lists,
            Some("parquet") if packing == Packing::Plain => Format::Parquet,
            _ => {
                let known = "tsv, csv, jsonl, inter, item, txt, each also with .gz or .zst, and parquet";
                return Err(DataError::corrupt(
                    path,
                    format!("unknown file type; the name must end in one of {known}"),
                ));
            }
        };
        Ok(Self { path: path.into(), packing, format })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The file as it lies on disk.
    pub(crate) fn file(&self) -> Result<File> {
        Ok(File::open(&self.path).map_err(|e| ra_core::Error::io(&self.path, "cannot read", e))?)
    }

    /// The unpacked bytes, from the start.
    pub(crate) fn open(&self) -> Result<BufReader<Box<dyn Read>>> {
        let file = self.file()?;
        let bytes: Box<dyn Read> = match self.packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
            Packing::Zstandard => Box::new(zstd::Decoder::new(file).map_err(|e| self.failed(e))?),
        };
        Ok(BufReader::with_capacity(1 << 16, bytes))
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

    /// The error for a file without a single byte.
    pub(crate) fn empty(&self) -> DataError {
        DataError::corrupt(&self.path, "the file is empty")
    }

    /// Whether there is anything to read.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        Ok(self.open()?.fill_buf().map_err(|e| self.failed(e))?.is_empty())
    }
}
