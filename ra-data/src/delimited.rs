//! Text with separators.
use crate::records::{Columns, Record, Visit, Wanted};
use crate::source::Source;
use crate::{DataError, Result};
use std::borrow::Cow;
use std::io::BufRead;

/// The longest line that is read: what is longer is no row but a file of another kind.
const LONGEST: u64 = 1 << 26;

/// Shows every line that is not empty, without its end, with its number from 1.
fn lines(source: &Source, mut each: impl FnMut(&[u8], usize) -> Result<()>) -> Result<()> {
    use std::io::Read;
    let mut reader = source.open()?;
    let (mut line, mut row) = (Vec::new(), 0);
    loop {
        line.clear();
        let bytes = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(|e| source.failed(e))?;
        row += 1;
        if bytes == 0 {
            return Ok(());
        }
        if bytes as u64 == LONGEST {
            return Err(DataError::corrupt(source.path(), format!("line {row} is longer than {LONGEST} bytes")));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            each(line, row)?;
        }
    }
}

/// Reads tab separated lines: no quoting, as in RecBole's files, so that a lone quote in a title is a quote.
pub(crate) fn read_tabs(source: &Source, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    let mut columns: Option<(Columns, usize)> = None;
    lines(source, |line, row| {
        let text = str::from_utf8(line).map_err(|_| DataError::row(source.path(), row, "not UTF-8 text"));
        match (&columns, text) {
            (Some((columns, width)), Ok(text)) => {
                cut(source, &text.split('\t').collect::<Vec<_>>(), columns, *width, row, visit)
            }
            (Some(_), Err(error)) => visit(Err(error)),
            (None, text) => {
                let header: Vec<&str> = text?.trim_start_matches('\u{feff}').split('\t').collect();
                columns = Some((Columns::find(source.path(), wanted, &header)?, header.len()));
                Ok(())
            }
        }
    })
}

/// Reads fields between `separator` under a header that the file does not have; text that is not UTF-8 is Latin-1, as in
/// MovieLens's older files. Further fields are not looked at.
pub(crate) fn read_bare(
    source: &Source,
    separator: &str,
    header: &[&str],
    wanted: &[Wanted],
    visit: &mut Visit<'_>,
) -> Result<()> {
    let columns = Columns::find(source.path(), wanted, header)?;
    lines(source, |line, row| {
        let text = match str::from_utf8(line) {
            Ok(text) => Cow::from(text),
            Err(_) => line.iter().map(|&byte| char::from(byte)).collect(),
        };
        let fields: Vec<&str> = text.split(separator).take(header.len()).collect();
        cut(source, &fields, &columns, header.len(), row, visit)
    })
}

/// Shows the wanted ones of a row's `fields`, of which there must be `width`.
fn cut(
    source: &Source,
    fields: &[&str],
    columns: &Columns,
    width: usize,
    row: usize,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let path = source.path();
    if fields.len() != width {
        let problem = format!("{} fields where the header has {width}", fields.len());
        return visit(Err(DataError::row(path, row, problem)));
    }
    let own: Vec<&str> = columns.positions.iter().map(|p| p.map_or("", |p| fields[p])).collect();
    visit(Ok(Record { path, names: &columns.names, fields: &own, row }))
}

/// Reads comma separated records, quoted where needed.
pub(crate) fn read_commas(source: &Source, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    let path = source.path();
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(source.open()?);
    let mut columns: Option<(Columns, usize)> = None;
    let mut record = csv::ByteRecord::new();
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => source.failed(error),
        other => DataError::corrupt(path, format!("not comma separated text: {other:?}")),
    };
    while reader.read_byte_record(&mut record).map_err(failed)? {
        let row = record.position().map_or(0, |p| p.line() as usize);
        let fields: std::result::Result<Vec<&str>, _> = record.iter().map(str::from_utf8).collect();
        let fields = fields.map_err(|_| DataError::row(path, row, "not UTF-8 text"));
        match (&columns, fields) {
            (Some((columns, width)), Ok(fields)) => cut(source, &fields, columns, *width, row, visit)?,
            (Some(_), Err(error)) => visit(Err(error))?,
            (None, fields) => {
                let mut header = fields?;
                if let Some(first) = header.first_mut() {
                    *first = first.trim_start_matches('\u{feff}');
                }
                columns = Some((Columns::find(path, wanted, &header)?, header.len()));
            }
        }
    }
    Ok(())
}

/// Reads `user item item ..` lines, as LightGCN and S3-Rec have them, or `user item` lines, as SASRec has them. Their
/// order is that of the file, told as a column `place`.
pub(crate) fn read_lists(source: &Source, wanted: &[Wanted], visit: &mut Visit<'_>) -> Result<()> {
    let columns = Columns::find(source.path(), wanted, &["user", "item", "pos"])?;
    let names: Vec<String> = columns.positions.iter().map(|_| "place in the file".to_owned()).collect();
    let mut place = 0u64;
    lines(source, |line, row| {
        let path = source.path();
        let Ok(text) = str::from_utf8(line) else { return visit(Err(DataError::row(path, row, "not UTF-8 text"))) };
        let mut words = text.split_whitespace();
        let Some(user) = words.next() else { return Ok(()) };
        words.try_for_each(|item| {
            let at = place.to_string();
            place += 1;
            let own: Vec<&str> =
                columns.positions.iter().map(|p| p.map_or("", |p| [user, item, at.as_str()][p])).collect();
            visit(Ok(Record { path, names: &names, fields: &own, row }))
        })
    })
}
