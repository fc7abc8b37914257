//! Lines of text files, for callers that give them a meaning of their own.
use crate::Result;
use crate::format::delimited::next_line;
use crate::format::row::{NOT_UTF8, SAVE_AS_UTF8};
use crate::source::file::{Opened, Source};
use std::fmt::{Debug, Formatter};
use std::io::{BufRead, empty};
use std::path::Path;

/// The lines of a text file that are not blank, each with its number from 1: unpacked, without line ends and byte order
/// marks. The first line that cannot be read, or is not UTF-8, is an error that names the file; it is the last one.
pub struct TextLines {
    source: Source,
    reader: Box<dyn BufRead>,
    row: usize,
    has_failed: bool,
}

impl TextLines {
    /// Returns the start of what has not been read yet: some thousand bytes, or all if there are fewer.
    ///
    /// # Errors
    /// Names the file, if it cannot be read.
    pub fn head(&mut self) -> Result<&[u8]> {
        let Self { source, reader, .. } = self;
        reader.fill_buf().map_err(|error| source.failed(error))
    }

    fn line(&mut self) -> Result<Option<(usize, String)>> {
        let mut line = Vec::new();
        while next_line(&self.source, &mut self.reader, &mut line, &mut self.row)? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let row = self.row;
            let problem = || self.source.wrong(format!("line {row} is {NOT_UTF8}; {SAVE_AS_UTF8}"));
            return String::from_utf8(line).map(|text| Some((row, text))).map_err(|_| problem());
        }
        Ok(None)
    }
}

impl Debug for TextLines {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextLines").field("source", &self.source).field("row", &self.row).finish_non_exhaustive()
    }
}

/// Opens a text file, which may be compressed as logs may be. Returns nothing for a folder, and for a Parquet or Arrow
/// file.
///
/// # Errors
/// Names the file, if it cannot be read or is no table and no text.
pub fn text_lines(path: &Path) -> Result<Option<TextLines>> {
    if path.is_dir() {
        return Ok(None);
    }
    let source = Source::new(path, false);
    let reader: Box<dyn BufRead> = match source.open()? {
        Opened::Parquet | Opened::Arrow => return Ok(None),
        Opened::Nothing => Box::new(empty()),
        Opened::Text(text) => Box::new(text.reader()),
    };
    Ok(Some(TextLines { source, reader, row: 0, has_failed: false }))
}

impl Iterator for TextLines {
    type Item = Result<(usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = if self.has_failed { None } else { self.line().transpose() };
        self.has_failed |= matches!(line, Some(Err(_)));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_logs_are() {
        let dir = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = dir.path().join("ids.txt");
            std::fs::write(&path, bytes).unwrap();
            text_lines(&path).map(|lines| lines.unwrap().collect::<Result<Vec<_>>>())
        };
        let lines =
            |own: &[(usize, &str)]| own.iter().map(|(row, text)| (*row, (*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(read(b"\xef\xbb\xbfi1\r\n \n\xef\xbb\xbfi2").unwrap().unwrap(), lines(&[(1, "i1"), (3, "i2")]));
        let packed = zstd::encode_all(&b"i1\ni2\n"[..], 0).unwrap();
        assert_eq!(read(&packed).unwrap().unwrap(), lines(&[(1, "i1"), (2, "i2")]));
        assert_eq!(read(b"").unwrap().unwrap(), []);
        let foreign = read(b"a\nb\xe9\nc\n").unwrap().unwrap_err().to_string();
        assert!(foreign.contains("line 2") && foreign.contains("ids.txt"), "{foreign}");
        let mut lines = text_lines(&dir.path().join("ids.txt")).unwrap().unwrap();
        assert_eq!(lines.head().unwrap(), b"a\nb\xe9\nc\n");
        assert!(lines.nth(1).unwrap().is_err() && lines.next().is_none(), "an error is the last item");
        assert!(text_lines(dir.path()).unwrap().is_none());
        assert!(text_lines(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
