//! Text with separators.
use crate::format::header::{Separator, is_value};
use crate::format::quotes::Quotes;
use crate::format::row::{ColumnSpec, FoundColumns, NOT_UTF8, Record, Role, RowVisitor, SAVE_AS_UTF8};
use crate::source::file::{Format, Source, Text};
use crate::{DataError, Result};
use ra_core::BYTE_ORDER_MARK;
use std::borrow::Cow;
use std::io::{BufRead, Read};

/// The longest line that is read; a longer one means that the file is not text of this kind.
pub(crate) const LONGEST: u64 = 1 << 26;

/// Reads the next line, without its end, into `line` and increments `row`; returns `false` at the end.
pub(crate) fn next_line(
    source: &Source,
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    row: &mut usize,
) -> Result<bool> {
    line.clear();
    let bytes = reader.take(LONGEST).read_until(b'\n', line).map_err(|e| source.failed(e))?;
    *row += 1;
    if bytes as u64 == LONGEST {
        return Err(source.wrong(format!("line {row} is longer than {LONGEST} bytes")));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    // `cat` leaves byte order marks between files.
    if line.starts_with(BYTE_ORDER_MARK) {
        line.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes > 0)
}

/// Passes every line that is not empty to `each`, without its end, with its number from 1.
pub(crate) fn each_line(source: &Source, text: Text, mut each: impl FnMut(&[u8], usize) -> Result<()>) -> Result<()> {
    let (mut reader, mut line, mut row) = (text.reader(), Vec::new(), 0);
    while next_line(source, &mut reader, &mut line, &mut row)? {
        if !line.is_empty() {
            each(&line, row)?;
        }
    }
    Ok(())
}

/// Reads fields separated by `separator` without a header, ignoring extra fields. Text that is not UTF-8 is Latin-1, as
/// in older MovieLens files.
pub(crate) fn read_bare(
    source: &Source,
    text: Text,
    separator: &str,
    columns: &FoundColumns,
    width: usize,
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    each_line(source, text, |line, row| {
        let line = latin(line);
        let fields: Vec<&str> = line.split(separator).take(width).collect();
        cut(source, &fields, columns, width, row, visit)
    })
}

fn latin(line: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(line) {
        Ok(text) => text.into(),
        Err(_) => line.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Passes the wanted `fields` of a row to the visitor; the row must have `width` fields.
fn cut(
    source: &Source,
    fields: &[&str],
    columns: &FoundColumns,
    width: usize,
    row: usize,
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    let path = source.path();
    if fields.len() != width {
        let problem = format!("{} fields where the header has {width}", fields.len());
        return visit(Err(DataError::row(path, row, problem)));
    }
    let own: Vec<&str> = columns.positions.iter().map(|p| p.map_or("", |p| fields[p])).collect();
    visit(Ok(Record { path, names: &columns.names, fields: &own, row }))
}

/// Reads rows of `width` fields below a header.
pub(crate) fn read_table(
    source: &Source,
    text: Text,
    separator: Separator,
    width: usize,
    columns: &FoundColumns,
    wanted: &[ColumnSpec],
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    if let Separator::Quoted(separator) = separator {
        return read_quoted(source, text, separator, width, columns, wanted, visit);
    }
    // HetRec's tables have the endings and the encoding of MovieLens's files.
    let old = matches!(source.named(), Some(Format::Bare { .. }));
    let mut header = true;
    each_line(source, text, |line, row| {
        if std::mem::take(&mut header) {
            return Ok(());
        }
        let line = match str::from_utf8(line) {
            Err(_) if !old => return visit(Err(not_utf8(source, row))),
            _ => latin(line),
        };
        let fields: Vec<&str> = match separator {
            Separator::Plain(separator) => line.split(separator).collect(),
            _ => line.split_whitespace().collect(),
        };
        cut(source, &fields, columns, width, row, visit)
    })
}

pub(crate) fn not_utf8(source: &Source, row: usize) -> DataError {
    DataError::row(source.path(), row, format!("{NOT_UTF8}; {SAVE_AS_UTF8}"))
}

/// Reads records whose fields may be quoted.
fn read_quoted(
    source: &Source,
    text: Text,
    separator: u8,
    width: usize,
    columns: &FoundColumns,
    wanted: &[ColumnSpec],
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    let quotes = Quotes::new(text.reader(), separator);
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).has_headers(false).delimiter(separator).from_reader(quotes);
    let mut record = csv::ByteRecord::new();
    let (mut header, mut swallowing) = (true, None);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => source.failed(error),
        other => source.wrong(format!("not comma separated text: {other:?}")),
    };
    while reader.read_byte_record(&mut record).map_err(failed)? {
        // A quote that never closes extends its field to the end of the file, so its record is the last.
        if let Some((row, lines)) = reader.get_ref().unclosed() {
            let close = "close it, or double each quote within a field and put the field in quotes";
            match lines {
                0 => source
                    .doubt(format!("row {row}: a quote opens here, in the last row, and never closes; {close}"))?,
                _ => {
                    let lost = format!("so the {lines} lines after it are lost in it");
                    return Err(
                        source.wrong(format!("row {row}: a quote opens here and never closes, {lost}; {close}"))
                    );
                }
            }
        }
        // The reader counts a line feed with the record that follows it, if a carriage return has ended the one before.
        let late = usize::from(!header && reader.get_ref().is_crlf());
        let row = record.position().map_or(0, |p| p.line() as usize + late);
        if swallowing.is_none() && swallows_rows(&record, separator, columns, width, wanted) {
            swallowing = Some(row);
        }
        if std::mem::take(&mut header) {
            continue;
        }
        let unmarked = |field| str::from_utf8(<[u8]>::strip_prefix(field, BYTE_ORDER_MARK).unwrap_or(field));
        let fields: std::result::Result<Vec<&str>, _> = record.iter().map(unmarked).collect();
        match fields {
            Ok(fields) => cut(source, &fields, columns, width, row, visit)?,
            Err(_) => visit(Err(not_utf8(source, row)))?,
        }
    }
    match (reader.get_ref().stray(), swallowing) {
        (Some((row, end)), _) => source.doubt(format!(
            "row {row}: a quote opens here and ends at a quote in row {end} that seems to open another field: rows \
             between them are lost"
        )),
        (None, Some(row)) => source.doubt(format!(
            "row {row}: lines within quotes here look like rows: a quote that was not closed may have swallowed them"
        )),
        (None, None) => Ok(()),
    }
}

/// Returns whether a line within a quoted field looks like a row; the last line includes the fields that follow it. A
/// row has ids and a value in place of the time or, without a time column, an id and the same number of fields.
fn swallows_rows(
    record: &csv::ByteRecord,
    separator: u8,
    columns: &FoundColumns,
    width: usize,
    wanted: &[ColumnSpec],
) -> bool {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !record.as_slice().iter().any(breaks) {
        return false;
    }
    let is_timed = wanted.iter().any(|wanted| wanted.role() == Role::Time);
    let is_row = |line: &[u8]| {
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        let fields: Vec<&str> = line.split(char::from(separator)).collect();
        let mut known = wanted.iter().zip(&columns.positions).filter_map(|(wanted, p)| Some((wanted, (*p)?)));
        (is_timed || fields.len() == width)
            && known.all(|(wanted, at)| match fields.get(at) {
                Some(field) if wanted.role() == Role::Time => is_value(field),
                Some(field) if wanted.is_id() => !field.is_empty() && !field.contains(' '),
                Some(field) => is_timed || !field.starts_with(' '),
                None => false,
            })
    };
    let fields: Vec<&[u8]> = record.iter().collect();
    (0..fields.len()).filter(|&at| fields[at].iter().any(breaks)).any(|at| {
        let last = fields[at..].join(&separator);
        last.split(breaks).skip(1).any(is_row)
    })
}
