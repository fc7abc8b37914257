//! JSON: one object per line, one array of objects, or a sequence of objects.
use crate::format::delimited::{LONGEST, next_line};
use crate::format::header::tell_rival;
use crate::format::python;
use crate::format::row::{ColumnSpec, NOT_UTF8, Record, RowVisitor, SAVE_AS_UTF8};
use crate::source::file::{Source, Text};
use crate::{DataError, Result};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::BufRead;

/// Reads objects in JSON or in Python's notation. A key missing from a row is empty; a key missing from every row is an
/// error. If a row has a key twice, the last one counts. A name such as `user.id` looks inside an object.
pub(crate) fn read_json(source: &Source, text: Text, wanted: &[ColumnSpec], visit: &mut RowVisitor<'_>) -> Result<()> {
    let mut keys = Keys { wanted, names: vec![String::new(); wanted.len()], found: BTreeSet::new() };
    let is_array = text.head().trim_ascii_start().starts_with(b"[");
    let in_lines = !is_array && are_lines(text.head());
    let mut reader = text.reader();
    if is_array {
        read_array(source, &mut reader, |value, row| keys.show(source, value, row, visit))?;
    } else if in_lines {
        let (mut line, mut row, mut first) = (Vec::new(), 0, true);
        while next_line(source, &mut reader, &mut line, &mut row)? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if std::mem::take(&mut first) && reader.fill_buf().map_err(|e| source.failed(e))?.trim_ascii().is_empty() {
                keys.refuse_one_for_all(source, &line)?;
            }
            keys.show(source, &line, row, visit)?;
        }
    } else {
        read_values(source, &mut reader, |value, row, alone| {
            if alone {
                keys.refuse_one_for_all(source, value)?;
            }
            keys.show(source, value, row, visit)
        })?;
    }
    keys.all_found(source)
}

/// Returns the keys of the first objects in `head`, the start of a file.
pub(crate) fn keys(head: &[u8]) -> Vec<String> {
    let mut keys = BTreeSet::new();
    let mut rest = head.trim_ascii_start();
    rest = rest.strip_prefix(b"[").unwrap_or(rest);
    for _ in 0..50 {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let mut nesting = Nesting::default();
        // Python's quotes are not parsed here, because its objects come one per line.
        let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let end = match object(&rest[..line]) {
            Ok(_) => line,
            Err(_) => rest.iter().position(|byte| nesting.ends(*byte)).map_or(rest.len(), |at| at + 1),
        };
        keys.extend(object(&rest[..end]).unwrap_or_default().into_iter().map(|(key, _)| key.into_owned()));
        rest = &rest[end..];
    }
    keys.into_iter().collect()
}

/// Returns whether `head` has one object per line, rather than objects over several lines or several on one line.
fn are_lines(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let goes_on = !first.ends_with(b"}") && second.is_some();
    let holds_several = first.windows(2).any(|pair| pair == b"}{");
    object(first).is_ok() || second.is_some_and(|second| second.starts_with(b"{")) || !(goes_on || holds_several)
}

/// The wanted keys, and those found so far.
struct Keys<'a> {
    wanted: &'a [ColumnSpec],
    /// The name under which each wanted key was first found; empty until then.
    names: Vec<String>,
    /// All keys found, for messages.
    found: BTreeSet<String>,
}

impl Keys<'_> {
    /// Passes the object in `value` to the visitor.
    fn show(&mut self, source: &Source, value: &[u8], row: usize, visit: &mut RowVisitor<'_>) -> Result<()> {
        let path = source.path();
        let object = match object(value) {
            Ok(object) => object,
            Err(problem) => return visit(Err(DataError::row(path, row, problem))),
        };
        let mut fields: Vec<Cow<'_, str>> = Vec::with_capacity(self.wanted.len());
        let mut broken = None;
        for (wanted, found_as) in self.wanted.iter().zip(&mut self.names) {
            let field = wanted.names.iter().find_map(|name| Some((name, member(&object, name)?)));
            if let (Some((name, _)), true) = (field, found_as.is_empty()) {
                found_as.clone_from(name);
                tell_rival(source, wanted, name, |other| object.iter().any(|(key, _)| key == other))?;
            }
            match field.map(|(name, raw)| text_of(raw, wanted).map_err(|problem| format!("`{name}` {problem}"))) {
                None if wanted.takes_lists() || wanted.is_optional() => fields.push("".into()),
                None => broken = broken.or_else(|| Some(format!("has no {}", wanted.role()))),
                Some(Ok(text)) => fields.push(text),
                Some(Err(problem)) => broken = broken.or(Some(problem)),
            }
        }
        if self.names.iter().any(String::is_empty) && self.found.len() < 64 {
            self.found.extend(object.iter().map(|(key, _)| key.to_string()));
        }
        match broken {
            Some(problem) => visit(Err(DataError::row(path, row, problem))),
            None => {
                let fields: Vec<&str> = fields.iter().map(AsRef::as_ref).collect();
                visit(Ok(Record { path, names: &self.names, fields: &fields, row }))
            }
        }
    }

    /// Refuses a file whose only object holds all rows, as whole columns or as a list of rows.
    fn refuse_one_for_all(&self, source: &Source, value: &[u8]) -> Result<()> {
        let Ok(object) = object(value) else { return Ok(()) };
        let needed = self.wanted.iter().filter(|wanted| !wanted.is_optional());
        let found = needed.filter_map(|wanted| wanted.names.iter().find_map(|name| member(&object, name)));
        let (mut nested, is_nested) = (object.iter(), |raw: &str| raw.starts_with(['[', '{']));
        match nested.find(|(_, raw)| is_nested(raw)) {
            Some((key, _)) if { found }.all(is_nested) => Err(source.wrong(format!(
                "is one JSON object for all rows (`{key}` holds many); write one object per line, as pandas does with \
                 `to_json(path, orient=\"records\", lines=True)`"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a file in which no row has a required key.
    fn all_found(&self, source: &Source) -> Result<()> {
        let found: Vec<&String> = self.found.iter().collect();
        let mut all = self.wanted.iter().zip(&self.names);
        match all.find(|(wanted, name)| name.is_empty() && !wanted.is_optional()) {
            Some((lacking, _)) if !found.is_empty() => Err(lacking.missing(source.path(), &found)),
            _ => Ok(()),
        }
    }
}

/// Keys with their raw values: parsing a number would lose digits.
type Object<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn object(value: &[u8]) -> std::result::Result<Object<'_>, String> {
    let text = str::from_utf8(value).map_err(|_| format!("{NOT_UTF8}; {SAVE_AS_UTF8}"))?.trim();
    let error = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) if text.starts_with('{') => return Ok(members(text)),
        Ok(_) if text.starts_with('[') => return Err("a list, not a JSON object with a key for each column".into()),
        Ok(_) => return Err("not a JSON object".into()),
        Err(error) => format!("not a JSON object: {error}"),
    };
    match python::parse(text) {
        Some(Value::Object(object)) => {
            Ok(object.into_iter().map(|(key, value)| (key.into(), value.to_string().into())).collect())
        }
        _ => Err(error),
    }
}

/// Returns the members of a complete object.
fn members(object: &str) -> Object<'_> {
    let mut members = Object::new();
    let mut rest = object.trim_start().get(1..).unwrap_or_default();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if !rest.starts_with('"') {
            return members;
        }
        let (key, behind) = rest.split_at(length(rest));
        let behind = behind.trim_start().trim_start_matches(':').trim_start();
        let (value, behind) = behind.split_at(length(behind));
        members.push((string(key).unwrap_or_default(), value.into()));
        rest = behind;
    }
}

/// Returns the value of the last member with this name; `user.id` refers to the member `id` of `user`.
fn member<'a>(object: &'a Object<'_>, name: &str) -> Option<&'a str> {
    let own = |name: &str| object.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| raw.as_ref());
    own(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        let inside = members(own(outer).filter(|raw| raw.starts_with('{'))?);
        // The inner value borrows from the same text.
        inside.into_iter().rev().find(|(key, _)| key == inner).and_then(|(_, raw)| match raw {
            Cow::Borrowed(raw) => Some(raw),
            Cow::Owned(_) => None,
        })
    })
}

/// Returns a string without its quotes.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    match raw.get(1..raw.len().checked_sub(1)?) {
        Some(plain) if !plain.contains('\\') => Some(plain.into()),
        _ => serde_json::from_str::<String>(raw).ok().map(Cow::from),
    }
}

/// Returns a value as text, with all digits of a number, or the reason why it does not suit this column.
fn text_of<'a>(raw: &'a str, wanted: &ColumnSpec) -> std::result::Result<Cow<'a, str>, String> {
    let role = wanted.role();
    match raw.as_bytes().first() {
        Some(b'"') => string(raw).ok_or_else(|| "is not valid text".into()),
        Some(b'n') if wanted.is_id() => Err(format!("is null or NaN, which is not a valid {role}")),
        Some(b'n') => Ok("".into()),
        Some(b'[') => match (role.joint(), serde_json::from_str(raw)) {
            (None, _) => Err(format!("holds a list, not one {role}")),
            (Some(joint), Ok(list)) => Ok(joined(&list, joint).into()),
            (_, Err(_)) => Err("is not a valid list".into()),
        },
        Some(b'{') => {
            Err(format!("holds an object, not one {role}; name a key of it, as in `user.id`, by {}", role.setting()))
        }
        Some(b't' | b'f') if wanted.is_id() => Err(format!("is {raw}, which is not a valid {role}")),
        _ if wanted.is_id() && raw.contains(['e', 'E']) => {
            Err(format!("is {raw}, a number that has lost its last digits; write ids as whole numbers or text"))
        }
        _ => Ok(raw.into()),
    }
}

/// Joins the parts of a list, and of lists within it.
pub(crate) fn joined(value: &Value, joint: &str) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().map(|part| joined(part, joint)).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(joint)
        }
        other => other.to_string(),
    }
}

/// Tracks a string, list or object to its end.
#[derive(Default)]
struct Nesting {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Nesting {
    /// Returns whether the value ends with this byte.
    fn ends(&mut self, byte: u8) -> bool {
        match (self.quoted, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => {
                self.quoted = !self.quoted;
                return !self.quoted && self.depth == 0;
            }
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

fn is_nested(byte: u8) -> bool {
    matches!(byte, b'"' | b'{' | b'[')
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace()
}

/// Returns the length in bytes of the value at the start of `text`.
fn length(text: &str) -> usize {
    let mut nesting = Nesting::default();
    let end = match text.bytes().next() {
        Some(first) if is_nested(first) => text.bytes().position(|byte| nesting.ends(byte)).map(|at| at + 1),
        _ => text.bytes().position(ends_scalar),
    };
    end.unwrap_or(text.len())
}

/// Passes the elements of a file's only array to `each`, counted from 1.
fn read_array(
    source: &Source,
    reader: &mut impl BufRead,
    mut each: impl FnMut(&[u8], usize) -> Result<()>,
) -> Result<()> {
    skip(source, reader, |byte| byte.is_ascii_whitespace())?;
    reader.consume(1);
    let (mut value, mut row) = (Vec::new(), 0);
    loop {
        match skip(source, reader, |byte| byte == b',' || byte.is_ascii_whitespace())? {
            None => return Err(source.wrong("the array never ends: the file is cut short; fetch it again")),
            Some(b']') => break,
            Some(_) => row += 1,
        }
        next_value(source, reader, &mut value)?;
        each(&value, row)?;
    }
    reader.consume(1);
    match skip(source, reader, |byte| byte.is_ascii_whitespace())? {
        None => Ok(()),
        Some(_) => {
            Err(source.wrong("there is more after its array; write one object per line, with one key per column"))
        }
    }
}

/// Passes objects that span several lines to `each`, counted from 1, with whether the object is the only one.
fn read_values(
    source: &Source,
    reader: &mut impl BufRead,
    mut each: impl FnMut(&[u8], usize, bool) -> Result<()>,
) -> Result<()> {
    let (mut value, mut row) = (Vec::new(), 0);
    let mut next = skip(source, reader, |byte| byte == b',' || byte.is_ascii_whitespace())?;
    while next.is_some() {
        row += 1;
        next_value(source, reader, &mut value)?;
        next = skip(source, reader, |byte| byte == b',' || byte.is_ascii_whitespace())?;
        each(&value, row, row == 1 && next.is_none())?;
    }
    Ok(())
}

/// Skips unwanted bytes and returns the next one without consuming it.
fn skip(source: &Source, reader: &mut impl BufRead, unwanted: impl Fn(u8) -> bool) -> Result<Option<u8>> {
    loop {
        let ahead = reader.fill_buf().map_err(|e| source.failed(e))?;
        let count = ahead.iter().take_while(|byte| unwanted(**byte)).count();
        let (next, end) = (ahead.get(count).copied(), ahead.is_empty());
        reader.consume(count);
        if next.is_some() || end {
            return Ok(next);
        }
    }
}

/// Reads the next value into `value`; only its start if the file ends within it.
fn next_value(source: &Source, reader: &mut impl BufRead, value: &mut Vec<u8>) -> Result<()> {
    value.clear();
    let mut nesting = Nesting::default();
    loop {
        let ahead = reader.fill_buf().map_err(|e| source.failed(e))?;
        let Some(&first) = value.first().or(ahead.first()) else { return Ok(()) };
        let end = match is_nested(first) {
            true => ahead.iter().position(|byte| nesting.ends(*byte)).map(|at| at + 1),
            // A stray bracket is a value by itself.
            false => ahead.iter().position(|byte| ends_scalar(*byte)).map(|at| at.max(usize::from(value.is_empty()))),
        };
        value.extend_from_slice(&ahead[..end.unwrap_or(ahead.len())]);
        let (count, done) = (end.unwrap_or(ahead.len()), end.is_some() || ahead.is_empty());
        reader.consume(count);
        if done {
            return Ok(());
        }
        if value.len() as u64 > LONGEST {
            return Err(source.wrong(format!("a value is longer than {LONGEST} bytes")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_what_is_written() {
        let text = r#" {"a":1.50,"b":"x\"}y","a" : 18446744073709551617, "c":{"d":[1,"]"]}, "e":null,"\u0066":true} "#;
        let object = object(text.as_bytes()).unwrap();
        let raw = |name: &str| member(&object, name);
        assert_eq!((raw("a"), raw("b")), (Some("18446744073709551617"), Some(r#""x\"}y""#)));
        assert_eq!((raw("c"), raw("c.d")), (Some(r#"{"d":[1,"]"]}"#), Some(r#"[1,"]"]"#)));
        assert_eq!((raw("e"), raw("f"), raw("g")), (Some("null"), Some("true"), None));
        assert_eq!(string(raw("b").unwrap()).unwrap(), "x\"}y");
        for broken in ["[1]", "1", "{\"a\":}", "{\"a\":1", "x", ""] {
            assert!(super::object(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
