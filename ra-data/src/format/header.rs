//! How the rows of a text are laid out: decided by the first rows, not by the name of the file.
use crate::format::row::{ColumnSpec, FoundColumns, Role, plain};
use crate::source::file::{Format, Source};
use crate::source::first_bytes::is_text;
use crate::{DataError, Result, time};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What separates two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// One character; fields may be quoted.
    Quoted(u8),
    /// A fixed string; quotes have no special meaning, as in RecBole's files.
    Plain(&'static str),
    Space,
}

const TAB: Separator = Separator::Plain("\t");

/// All separators that are tried.
const SEPARATORS: [Separator; 7] = [
    TAB,
    Separator::Quoted(b','),
    Separator::Quoted(b';'),
    Separator::Quoted(b'|'),
    Separator::Quoted(b'\t'),
    Separator::Plain("::"),
    Separator::Space,
];

impl Separator {
    /// Splits a line into fields.
    pub(crate) fn fields(self, line: &str) -> Vec<Cow<'_, str>> {
        match self {
            Self::Plain(separator) => line.split(separator).map(Cow::from).collect(),
            Self::Space => line.split_whitespace().map(Cow::from).collect(),
            Self::Quoted(separator) => {
                let mut reader = csv::ReaderBuilder::new();
                let mut reader = reader.delimiter(separator).has_headers(false).from_reader(line.as_bytes());
                let mut record = csv::StringRecord::new();
                match reader.read_record(&mut record) {
                    Ok(true) => record.iter().map(|field| Cow::from(field.to_owned())).collect(),
                    _ => Vec::new(),
                }
            }
        }
    }

    /// Returns the name of the separator for messages.
    fn name(self) -> &'static str {
        match self {
            Self::Quoted(b',') => "commas",
            Self::Quoted(b';') => "semicolons",
            Self::Quoted(b'|') => "bars",
            Self::Quoted(_) | Self::Plain("\t") => "tabs",
            Self::Plain(_) => "`::`",
            Self::Space => "spaces",
        }
    }
}

/// The layout of the rows of a text, and the positions of the wanted columns.
#[derive(Debug)]
pub(crate) enum Layout {
    /// Rows of `width` fields below a header.
    Table {
        separator: Separator,
        columns: FoundColumns,
        width: usize,
    },
    /// Fields identified by position; extra fields are ignored.
    Bare {
        separator: &'static str,
        columns: FoundColumns,
        width: usize,
    },
    /// A user and one or more items, in order.
    Lists {
        columns: FoundColumns,
        header: bool,
    },
    Json,
}

/// Determines the layout of the text that begins with `head`.
///
/// # Errors
/// If a wanted column is missing, or the first row is not a header.
pub(crate) fn layout(source: &Source, head: &[u8], wanted: &[ColumnSpec]) -> Result<Layout> {
    let named = source.named();
    if is_json(head, named == Some(Format::Json)) {
        return Ok(Layout::Json);
    }
    let lines = first_lines(head);
    let first = lines.first().map_or("", AsRef::as_ref);
    let tried = every_cut(named, first);
    let found = table(source, &tried, wanted);
    // If fields may be quoted, a carriage return ends a row too.
    if first.contains('\r') && !matches!(found, Some((Separator::Quoted(_), _))) {
        return Err(source.wrong("its lines end in carriage returns alone; convert it (`tr '\\r' '\\n' < OLD > NEW`)"));
    }
    if let Some((separator, header)) = found {
        let columns = checked(source, wanted, header)?;
        return Ok(Layout::Table { separator: *separator, columns, width: header.len() });
    }
    if first.starts_with("sep=") {
        return Err(source.wrong("row 1 (`sep=`) tells Excel how fields are separated and is not a header; remove it"));
    }
    if first.starts_with('#') {
        return Err(source.wrong("row 1 is a comment, not a header; remove the comments above the table"));
    }
    match named {
        Some(Format::Bare { separator, header }) if first.contains(separator) => {
            let fields: Vec<&str> = first.split(separator).collect();
            if header.contains(&"rating") && fields.len() >= header.len() && !fields.iter().any(|f| is_value(f)) {
                // A header with other names, such as `UserID::MovieID::Rating::Timestamp`.
                FoundColumns::find(source.path(), wanted, &fields)?;
            }
            Ok(Layout::Bare {
                separator,
                columns: FoundColumns::find(source.path(), wanted, header)?,
                width: header.len(),
            })
        }
        Some(Format::Lists) => lists(source, &lines, wanted),
        _ => Err(no_header(source, &tried, wanted)),
    }
}

/// A line split by each separator, starting with the one that the file name suggests.
type Cuts<'a> = Vec<(Separator, Vec<Cow<'a, str>>)>;

fn every_cut(named: Option<Format>, line: &str) -> Cuts<'_> {
    let likely = match named {
        Some(Format::Bare { separator, .. }) => Separator::Plain(separator),
        Some(Format::Commas) => Separator::Quoted(b','),
        _ => TAB,
    };
    let rest = SEPARATORS.into_iter().filter(|separator| *separator != likely);
    std::iter::once(likely).chain(rest).map(|separator| (separator, separator.fields(line))).collect()
}

/// Returns the split that yields a header with all wanted columns.
fn table<'c, 'a>(
    source: &Source,
    cuts: &'c Cuts<'a>,
    wanted: &[ColumnSpec],
) -> Option<&'c (Separator, Vec<Cow<'a, str>>)> {
    cuts.iter().find(|(_, header)| header.len() > 1 && FoundColumns::find(source.path(), wanted, header).is_ok())
}

/// Whether a file belongs to the wanted table.
#[derive(Debug)]
pub(crate) enum Fit {
    /// It has the wanted columns; these are the names of all its columns, or empty if names may vary from row to row.
    Has(BTreeSet<String>),
    Lacks(DataError),
    Unknown,
}

/// Checks whether the text that begins with `head` has the wanted columns; `keys` returns the keys of JSON text.
pub(crate) fn fit(source: &Source, head: &[u8], wanted: &[ColumnSpec], keys: impl Fn(&[u8]) -> Vec<String>) -> Fit {
    let named = source.named();
    if is_json(head, named == Some(Format::Json)) {
        return match FoundColumns::find(source.path(), wanted, &keys(head)) {
            Ok(_) => Fit::Has(BTreeSet::new()),
            Err(error) => Fit::Lacks(error),
        };
    }
    let lines = first_lines(head);
    let first = lines.first().map_or("", AsRef::as_ref);
    let cuts = every_cut(named, first);
    match (table(source, &cuts, wanted), named) {
        (Some((_, header)), _) => Fit::Has(header.iter().map(|name| plain(name).to_owned()).collect()),
        (None, Some(Format::Lists)) => Fit::Unknown,
        (None, Some(Format::Bare { separator, header })) if first.contains(separator) => {
            let fields: Vec<&str> = first.split(separator).collect();
            let found = FoundColumns::find(source.path(), wanted, header);
            // Beside the ratings, MovieLens has tags with the same number of fields and users with one more.
            let is_rating = header[2..].first() != Some(&"rating")
                || (fields.len() == header.len() && fields[2].trim().parse::<f64>().is_ok());
            match found {
                Ok(_) if is_rating => Fit::Has(header.iter().map(|&name| name.to_owned()).collect()),
                Ok(_) => Fit::Lacks(source.wrong("not of the form `user::item::rating::timestamp`")),
                Err(error) => Fit::Lacks(error),
            }
        }
        (None, _) => Fit::Lacks(no_header(source, &cuts, wanted)),
    }
}

/// Returns whether a text is JSON. With a name that says JSON, a suitable first character is enough; with any other
/// name, the text must begin like nothing but JSON.
fn is_json(head: &[u8], named: bool) -> bool {
    let head = head.trim_ascii_start();
    let [open @ (b'{' | b'['), rest @ ..] = head else { return false };
    let next = rest.trim_ascii_start().first();
    named || matches!((open, next), (b'{', Some(b'"' | b'\'' | b'}')) | (b'[', Some(b'{' | b'[' | b']')))
}

/// Returns the first lines that are not empty; the last may be truncated, and invalid UTF-8 is replaced.
fn first_lines(head: &[u8]) -> Vec<Cow<'_, str>> {
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).take(50).map(String::from_utf8_lossy).collect()
}

/// Returns the wanted columns of `header`, if it is a header.
fn checked(source: &Source, wanted: &[ColumnSpec], header: &[Cow<'_, str>]) -> Result<FoundColumns> {
    let columns = FoundColumns::find(source.path(), wanted, header)?;
    let found: Vec<usize> = columns.positions.iter().flatten().copied().collect();
    if !is_numbered(header) && found.iter().any(|&at| is_value(&header[at])) {
        return Err(looks_like_data(source, header));
    }
    for (wanted, at) in wanted.iter().zip(&columns.positions).filter_map(|(w, p)| Some((w, (*p)?))) {
        if is_list(&header[at]) && !wanted.takes_lists() {
            let role = wanted.role();
            let problem = format!(
                "`{}` holds lists, not one {role} per row; name another column with `columns.{role}`",
                header[at]
            );
            return Err(source.wrong(problem));
        }
    }
    tell_twice(source, wanted, &columns, header)?;
    if wanted.iter().any(|wanted| wanted.role() == Role::User) {
        tell_ignored(source, &found, header)?;
    }
    Ok(columns)
}

/// Reports a wanted column whose name occurs more than once in `header`, or with and without `_id`: one of these two may
/// hold names for people.
pub(crate) fn tell_twice<S: AsRef<str>>(
    source: &Source,
    wanted: &[ColumnSpec],
    columns: &FoundColumns,
    header: &[S],
) -> Result<()> {
    for (wanted, name) in wanted.iter().zip(&columns.names).filter(|(_, name)| !name.is_empty()) {
        let times = |name: &str| header.iter().filter(|other| plain(other.as_ref()) == name).count();
        if times(name) > 1 {
            source.doubt(format!("the header has `{name}` {} times; the first is read", times(name)))?;
        }
        tell_rival(source, wanted, name, |other| times(other) > 0)?;
    }
    Ok(())
}

/// Reports a column of ids that is read as `name` if there `is` another one with the same name with or without `_id`.
pub(crate) fn tell_rival(source: &Source, wanted: &ColumnSpec, name: &str, is: impl Fn(&str) -> bool) -> Result<()> {
    let other = name.strip_suffix("_id").map_or_else(|| format!("{name}_id"), str::to_owned);
    if wanted.is_id() && wanted.names.len() > 1 && is(&other) {
        let role = wanted.role();
        source.doubt(format!(
            "has `{name}` and `{other}`; `{name}` is read: name the column of ids with `columns.{role}`"
        ))?;
    }
    Ok(())
}

/// Reports columns of a log that are not read but may be wanted.
fn tell_ignored(source: &Source, found: &[usize], header: &[Cow<'_, str>]) -> Result<()> {
    let rest = || header.iter().enumerate().filter(|(at, _)| !found.contains(at)).map(|(_, name)| name.as_ref());
    let lists: Vec<&str> = rest().filter(|name| is_list(name)).collect();
    if !lists.is_empty() {
        let lists = lists.join(", ");
        source.doubt(format!(
            "columns of lists are not read: {lists}; each row counts as one interaction with its item"
        ))?;
    }
    if rest().any(|name| plain(name) == "label") {
        let problem = "`label` is not read: rows with label 0 (shown but not chosen) count as interactions; \
                       `columns.rating=label` with `min_rating=1` leaves them out";
        source.doubt(problem.into())?;
    }
    Ok(())
}

/// Reports a first row that lacks the wanted columns with every separator.
fn no_header(source: &Source, tried: &Cuts<'_>, wanted: &[ColumnSpec]) -> DataError {
    let is_data = |fields: &[Cow<'_, str>]| !is_numbered(fields) && fields.iter().any(|field| is_value(field));
    // The first separator that yields the most fields, starting with the likely one; `max_by_key` would return the
    // last.
    let most = tried.iter().filter(|(separator, _)| *separator != Separator::Space).map(|(_, f)| f.len()).max();
    let Some((_, fields)) = tried.iter().find(|(_, fields)| Some(fields.len()) == most && fields.len() > 1) else {
        let words = tried.iter().find(|(separator, _)| *separator == Separator::Space);
        return match (source.named(), FoundColumns::find(source.path(), wanted, &tried[0].1), words) {
            (Some(Format::Json), ..) => source.wrong("is not JSON: it begins with neither `{` nor `[`"),
            (_, _, Some((_, words))) if is_data(words) => looks_like_data(source, words),
            (Some(_), Err(error), _) => error,
            _ => source.unknown(),
        };
    };
    match FoundColumns::find(source.path(), wanted, fields) {
        Err(error) if !is_data(fields) => error,
        _ => looks_like_data(source, fields),
    }
}

fn looks_like_data(source: &Source, fields: &[Cow<'_, str>]) -> DataError {
    let shown: Vec<String> = fields.iter().take(5).map(|field| format!("`{}`", shortened(field))).collect();
    source.wrong(format!(
        "the first row looks like data ({}), not like a header; add a first row that names the columns, such as \
         `user,item,rating,ts` in their order",
        shown.join(", ")
    ))
}

/// Returns the start of a long text.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}..", &text[..end]).into(),
        None => text.into(),
    }
}

/// Determines the columns of lines with a user and their items, or a user and one item.
fn lists(source: &Source, lines: &[Cow<'_, str>], wanted: &[ColumnSpec]) -> Result<Layout> {
    let first = lines.first().map_or("", AsRef::as_ref);
    let words: Vec<&str> = first.split_whitespace().collect();
    if first.starts_with('%') {
        return Err(source.wrong("row 1 is a comment; remove it, and give a table a header and the ending .tsv"));
    }
    let ends_a_sentence = |word: &&str| word.len() > 1 && word.ends_with(['.', '!', '?']);
    if let Some(word) = lines.iter().flat_map(|line| line.split_whitespace()).find(ends_a_sentence) {
        source.doubt(format!(
            "holds `{}`: is it prose? Every word after the first of a line is an item",
            shortened(word)
        ))?;
    }
    let others = SEPARATORS.into_iter().filter(|s| !matches!(s, Separator::Space | Separator::Plain("\t")));
    let cut = others.map(|s| (s, s.fields(first))).find(|(_, fields)| fields.len() > 1);
    if let (Some((separator, fields)), true) =
        (cut, words.len() == 1 || words.first().is_some_and(|word| word.ends_with([',', ';', '|'])))
    {
        let name = separator.name();
        return Err(match FoundColumns::find(source.path(), wanted, &fields) {
            Err(error) if !fields.iter().any(|field| is_value(field)) => error,
            _ => source.wrong(format!(
                "{name} separate the fields, so this is not a `user item item ..` list; add a first row that names the \
                 columns, such as `user,item,rating,ts`"
            )),
        });
    }
    let has = |role| wanted.iter().any(|wanted| wanted.role() == role && wanted.position(&words).is_some());
    let header = has(Role::User) && has(Role::Item);
    if header && words.len() > 2 {
        FoundColumns::find(source.path(), wanted, &words)?;
    }
    let is_number = |line: &str| line.split_whitespace().nth(1).is_some_and(|word| word.parse::<i64>().is_ok());
    let rest = lines.get(1..).unwrap_or_default();
    if !header && rest.len() > 2 && !is_number(first) && rest.iter().all(|line| is_number(line)) {
        let problem =
            format!("row 1 (`{}`) looks like a header, which such a list does not have; remove it", shortened(first));
        return Err(source.wrong(problem));
    }
    Ok(Layout::Lists { columns: FoundColumns::find(source.path(), wanted, &["user", "item", "pos"])?, header })
}

/// Returns whether a RecBole column such as `item_id_list:token_seq` holds several values per row.
fn is_list(name: &str) -> bool {
    name.ends_with(":token_seq") || name.ends_with(":float_seq")
}

/// Returns whether columns are named by their number, as in pandas and R; one or two of them may be missing.
fn is_numbered(header: &[Cow<'_, str>]) -> bool {
    let numbers: Vec<&str> = header.iter().map(AsRef::as_ref).filter(|name| is_value(name)).collect();
    let Ok(places) = numbers.iter().map(|name| name.parse::<usize>()).collect::<std::result::Result<Vec<_>, _>>()
    else {
        return false;
    };
    let ascends = places.windows(2).all(|pair| pair[0] < pair[1]);
    let [first, .., last] = places[..] else { return places == [0] };
    ascends && first <= 1 && last <= places.len() + 1
}

/// Returns whether a text is a number or a date rather than a name.
pub(crate) fn is_value(text: &str) -> bool {
    let text = text.trim();
    text.parse::<f64>().is_ok_and(f64::is_finite) || is_date(text)
}

/// Returns whether a text is a date: `2014-07-23`, `2014-07-23T10:00:00Z` or `23/07/2014`, though the last is not read
/// as a time.
pub(crate) fn is_date(text: &str) -> bool {
    if !text.contains(['-', '/', ':', ' ']) {
        return false;
    }
    let digits = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let day: Vec<&str> = text.split(['T', ' ']).next().unwrap_or(text).split(['/', '-']).collect();
    let is_year_last = matches!(day[..], [one, two, year] if digits(one, 2) && digits(two, 2) && digits(year, 4));
    is_year_last || matches!(time::instant(text), Some((_, time::Form::Date)))
}

/// Returns whether all lines at the start of a text have the same number of fields, at least `least`.
pub(crate) fn is_tabular(head: &[u8], least: usize) -> bool {
    let lines = first_lines(head);
    // The last line may be truncated.
    let whole = &lines[..lines.len() - usize::from(lines.len() > 1)];
    is_text(head)
        && SEPARATORS.iter().filter(|separator| **separator != Separator::Space).any(|separator| {
            let mut counts = whole.iter().map(|line| separator.fields(line).len());
            counts.next().is_some_and(|first| first >= least && counts.all(|count| count == first))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_values() {
        for value in ["1", "5.0", "-97.70", "1388534400", "1e9", "2014-07-23", "2014-07-23T10:00:00Z", "7/23/2014"] {
            assert!(is_value(value), "{value}");
        }
        for name in ["", "user", "ts", "A1XQ", "B001", "nan", "user_id:token", "2014", "1-2", "978-0-306-40615-7"] {
            assert_eq!(is_value(name), name == "2014", "{name}");
        }
        let numbered = |names: &[&str]| is_numbered(&names.iter().map(|&name| name.into()).collect::<Vec<_>>());
        assert!(numbered(&["", "0", "1", "2"]) && numbered(&["1", "2", "x"]));
        assert!(!numbered(&["A1XQ", "5.0"]) && !numbered(&["7", "8"]) && !numbered(&["user"]));
    }
}
