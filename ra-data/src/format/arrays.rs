//! Converts columns of Parquet and Arrow to text, as all readers return it, according to their roles.
//!
//! An id is a scalar; a title may be a list of parts; a time has a unit and becomes `@` followed by seconds since 1970.
//! A row whose item is a list is a session: one interaction per element.
use crate::format::row::Role;
use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// A column of a batch as text.
#[derive(Debug)]
pub(crate) enum Texts {
    /// One field per row; `None` for a missing column, whose fields are all empty.
    Scalars(Option<LargeStringArray>),
    /// One list per row: where it starts and ends among the elements.
    Lists(Vec<(usize, usize)>, LargeStringArray),
}

impl Texts {
    /// Converts the column `name` with this `role`. `of_log` is set if a row is an interaction or a session.
    ///
    /// # Errors
    /// A sentence with the column, its type and the remedy.
    pub(crate) fn of(column: &ArrayRef, name: &str, role: Role, of_log: bool) -> Result<Self, String> {
        let kind = column.data_type();
        let refused =
            |what: &str, remedy: &str| Err(format!("column `{name}` ({role}) holds {what} ({kind}); {remedy}"));
        if !is_list(kind) {
            return scalars(column, name, role).map(|texts| Self::Scalars(Some(texts)));
        }
        if let Some(joint) = role.joint() {
            return Ok(Self::Scalars(Some(joined(column, name, role, joint)?)));
        }
        if role == Role::User || !of_log {
            return refused("lists", "write one row for each element");
        }
        let (rows, elements) = elements(column).map_err(|e| format!("column `{name}` ({role}): {e}"))?;
        if is_list(elements.data_type()) {
            return refused("lists of lists", "write one row for each element");
        }
        Ok(Self::Lists(rows, scalars(&elements, name, role)?))
    }

    /// Returns the number of elements of a row, if it holds a list.
    pub(crate) fn length(&self, row: usize) -> Option<usize> {
        match self {
            Self::Scalars(_) => None,
            Self::Lists(rows, _) => Some(rows[row].1 - rows[row].0),
        }
    }

    /// Returns the text of a row, or of an element of its list.
    pub(crate) fn get(&self, row: usize, element: usize) -> &str {
        let (texts, at) = match self {
            Self::Scalars(None) => return "",
            Self::Scalars(Some(texts)) => (texts, row),
            Self::Lists(rows, texts) => (texts, rows[row].0 + element),
        };
        if texts.is_null(at) { "" } else { texts.value(at) }
    }
}

fn is_list(kind: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    matches!(kind, List(_) | LargeList(_) | FixedSizeList(..) | ListView(_) | LargeListView(_))
}

/// Returns the range of each row's list, and the elements of all lists.
fn elements(column: &ArrayRef) -> Result<(Vec<(usize, usize)>, ArrayRef), String> {
    let (DataType::List(field)
    | DataType::LargeList(field)
    | DataType::FixedSizeList(field, _)
    | DataType::ListView(field)
    | DataType::LargeListView(field)) = column.data_type()
    else {
        return Err("not a list".into());
    };
    let element: Arc<Field> = Arc::clone(field);
    let lists = cast(column, &DataType::LargeList(element)).map_err(|e| e.to_string())?;
    let lists = lists.as_list::<i64>();
    let place = |row: usize| match lists.is_null(row) {
        true => (0, 0),
        false => (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize),
    };
    Ok(((0..lists.len()).map(place).collect(), Arc::clone(lists.values())))
}

/// Joins texts in parts, including nested lists.
fn joined(column: &ArrayRef, name: &str, role: Role, joint: &str) -> Result<LargeStringArray, String> {
    let (rows, elements) = elements(column).map_err(|e| format!("column `{name}` ({role}): {e}"))?;
    let texts = match is_list(elements.data_type()) {
        true => joined(&elements, name, role, joint)?,
        false => scalars(&elements, name, role)?,
    };
    let part = |at: usize| Some(texts.value(at)).filter(|text| texts.is_valid(at) && !text.is_empty());
    let title = |(from, to): (usize, usize)| (from..to).filter_map(part).collect::<Vec<_>>().join(joint);
    Ok(LargeStringArray::from_iter_values(rows.into_iter().map(title)))
}

/// Converts values that are not lists.
fn scalars(column: &ArrayRef, name: &str, role: Role) -> Result<LargeStringArray, String> {
    use DataType as Is;
    let kind = column.data_type();
    let refused = |what: &str, remedy: &str| Err(format!("column `{name}` ({role}) holds {what} ({kind}); {remedy}"));
    let failed = |e: arrow::error::ArrowError| format!("column `{name}` ({role}, {kind}): {e}; cast it to text");
    let plain = |column: &ArrayRef| {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, &Is::LargeUtf8, &options)
            .map(|texts| texts.as_string::<i64>().clone())
            .map_err(failed)
    };
    let (is_id, is_time) = (role.is_id(), role == Role::Time);
    match kind {
        // Dictionaries of text need no conversion first: they are cast directly.
        Is::Dictionary(_, value) if !matches!(**value, Is::Utf8 | Is::LargeUtf8 | Is::Utf8View) => {
            scalars(&cast(column, value).map_err(failed)?, name, role)
        }
        Is::RunEndEncoded(_, values) => scalars(&cast(column, values.data_type()).map_err(failed)?, name, role),
        Is::Null => Ok(LargeStringArray::new_null(column.len())),
        Is::FixedSizeBinary(16) if !is_time => Ok(uuids(column)),
        Is::FixedSizeBinary(_) => refused("raw bytes", "cast it to text"),
        Is::Binary | Is::LargeBinary | Is::BinaryView => match plain(column) {
            Ok(texts) => Ok(texts),
            Err(_) => refused("bytes that are not UTF-8 text", "cast it to text"),
        },
        Is::Map(..) | Is::Struct(_) | Is::Union(..) => refused("objects", "write the field as a column of its own"),
        Is::Boolean if is_id || is_time => refused("true and false", "name another column"),
        Is::Time32(_) | Is::Time64(_) | Is::Duration(_) | Is::Interval(_) if is_id || is_time => {
            refused("times without a date", "name another column")
        }
        Is::Timestamp(unit, _) if is_time => {
            let per_second = match unit {
                TimeUnit::Second => 1.0,
                TimeUnit::Millisecond => 1e3,
                TimeUnit::Microsecond => 1e6,
                TimeUnit::Nanosecond => 1e9,
            };
            seconds(column, |count| count / per_second).map_err(failed)
        }
        Is::Date32 if is_time => {
            let days = cast(column, &Is::Int32).map_err(failed)?;
            seconds(&days, |days| days * 86_400.0).map_err(failed)
        }
        Is::Date64 if is_time => seconds(column, |milliseconds| milliseconds / 1e3).map_err(failed),
        Is::Float16 | Is::Float32 | Is::Float64 if is_id && has_inexact(column).map_err(failed)? => {
            refused("floats that may have lost digits", "write the ids as integers or text")
        }
        Is::Float16 | Is::Float32 if is_time && has_inexact(column).map_err(failed)? => {
            refused("times that have lost seconds in so short a float", "write them as integers or 64-bit floats")
        }
        _ => plain(column),
    }
}

/// Returns whether a float is so large that its type no longer represents every whole number.
fn has_inexact(column: &ArrayRef) -> Result<bool, arrow::error::ArrowError> {
    let exact = match column.data_type() {
        DataType::Float16 => 11,
        DataType::Float32 => 24,
        _ => 53,
    };
    let values = cast(column, &DataType::Float64)?;
    Ok(values.as_primitive::<Float64Type>().iter().flatten().any(|value| value.abs() >= 2f64.powi(exact)))
}

/// Converts counts to `@` followed by seconds since 1970.
fn seconds(column: &ArrayRef, seconds: impl Fn(f64) -> f64) -> Result<LargeStringArray, arrow::error::ArrowError> {
    let counts = cast(column, &DataType::Int64)?;
    let counts = counts.as_primitive::<Int64Type>();
    Ok(counts.iter().map(|count| count.map(|count| format!("@{}", seconds(count as f64)))).collect())
}

/// Formats sixteen bytes as a UUID: 32 digits in five groups.
fn uuids(column: &ArrayRef) -> LargeStringArray {
    let mut texts = LargeStringBuilder::with_capacity(column.len(), 36 * column.len());
    for bytes in column.as_fixed_size_binary().iter() {
        texts.append_option(bytes.map(|bytes| {
            let digits =
                |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
            [digits(0..4), digits(4..6), digits(6..8), digits(8..10), digits(10..16)].join("-")
        }));
    }
    texts.finish()
}
