//! Lines of `user item item ..`, as in LightGCN and S3-Rec, or of `user item`, as in SASRec.
use crate::Result;
use crate::format::delimited::{each_line, not_utf8};
use crate::format::header::is_date;
use crate::format::row::{FoundColumns, Record, RowVisitor};
use crate::source::file::{Source, Text};
use std::collections::HashMap;

/// Reads lists. The order in the file is the order of the interactions, reported as a column `place in the file`.
///
/// # Errors
/// If the text looks like a table: a user has several lines with more than one item, or an item is a date, a decimal, in
/// brackets or with a weight.
pub(crate) fn read_lists(
    source: &Source,
    text: Text,
    columns: &FoundColumns,
    header: bool,
    visit: &mut RowVisitor<'_>,
) -> Result<()> {
    let names: Vec<String> = columns.positions.iter().map(|_| "place in the file".to_owned()).collect();
    let (mut place, mut skip) = (0u64, header);
    let mut listed: HashMap<String, usize, foldhash::fast::RandomState> = HashMap::default();
    each_line(source, text, |line, row| {
        let path = source.path();
        let Ok(text) = str::from_utf8(line) else { return visit(Err(not_utf8(source, row))) };
        if std::mem::take(&mut skip) {
            return Ok(());
        }
        let mut words = text.split_whitespace();
        let Some(user) = words.next() else { return Ok(()) };
        if let Some(word) = words.clone().find(|word| is_measure(word)) {
            return Err(table(source, format!("row {row} holds `{word}`, a date or decimal, not an item")));
        }
        if let Some(word) = words.clone().next().filter(|first| first.starts_with('[') || words.clone().all(is_weighed))
        {
            return Err(source.wrong(format!(
                "row {row} holds `{word}`, part of a list in brackets or an item with a weight; write `user item item ..` \
                 with blanks between the items alone"
            )));
        }
        if words.clone().nth(1).is_some()
            && let Some(before) = listed.insert(user.to_owned(), row)
        {
            let problem = format!("user `{user}` has more than one item in row {before} and again in row {row}");
            return Err(table(source, problem));
        }
        words.try_for_each(|item| {
            let at = place.to_string();
            place += 1;
            let own: Vec<&str> =
                columns.positions.iter().map(|p| p.map_or("", |p| [user, item, at.as_str()][p])).collect();
            visit(Ok(Record { path, names: &names, fields: &own, row }))
        })
    })
}

/// Returns whether a word is a rating, a coordinate or a date rather than an item.
fn is_measure(word: &str) -> bool {
    is_date(word) || (word.contains('.') && word.parse::<f64>().is_ok())
}

/// Returns whether a word is an item with a number, as in `3:1` of libsvm.
fn is_weighed(word: &str) -> bool {
    word.split_once(':').is_some_and(|(item, weight)| item.parse::<u64>().is_ok() && weight.parse::<f64>().is_ok())
}

fn table(source: &Source, sign: String) -> crate::DataError {
    source.wrong(format!(
        "{sign}: this looks like a table such as `user item rating`, not like `user item item ..` lists; add a first row \
         that names the columns, such as `user item rating ts`"
    ))
}
