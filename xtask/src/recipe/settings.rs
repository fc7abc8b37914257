//! The text of settings: recipe files as users write them, and `--set key=value`.
use crate::terminal::words;
use anyhow::{Context, Result, bail};
use ra_idmodels::IdConfig;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Parses the tables of a recipe. For a Windows path in double quotes, the error explains how to write it.
pub(super) fn parsed(text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let told = words(&error);
        let is_escape = ["escape", "unicode value"].iter().any(|word| told.contains(word));
        let hint = if is_escape && told.contains('\\') {
            "; within double quotes \\ begins an escape: write a path in single quotes, or with /"
        } else {
            ""
        };
        anyhow::anyhow!("{told}{hint}")
    })
}

/// Takes keys with numbers that are not finite out of a table, and returns what to say of each. No key can have one, and
/// a key that may be left out would pass as if it were.
pub(super) fn take_non_finite(table: &mut Table, path: &str) -> Vec<String> {
    fn found(value: &Value) -> Option<f64> {
        match value {
            Value::Array(list) => list.iter().find_map(found),
            value => value.as_float().filter(|number| !number.is_finite()),
        }
    }
    let mut wrong = Vec::new();
    table.retain(|key, value| {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if let Some(number) = found(value) {
            wrong.push(format!("{path} is {number}, which is not a finite number"));
            return false;
        }
        let tables: Vec<&mut Table> = match value {
            Value::Table(table) => vec![table],
            Value::Array(list) => list.iter_mut().filter_map(Value::as_table_mut).collect(),
            _ => Vec::new(),
        };
        tables.into_iter().for_each(|table| wrong.extend(take_non_finite(table, &path)));
        true
    });
    wrong
}

/// Decodes the text of a file, UTF-8 with or without a byte order mark.
pub(super) fn decoded(bytes: &[u8]) -> Result<&str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
        bail!("the file is UTF-16 text or not text at all; save it as UTF-8");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) = (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or("").chars().count() + 1);
        let byte = bytes[error.valid_up_to()];
        anyhow::anyhow!(
            "line {line}, column {column}: the byte {byte:#04x} is not UTF-8, as in Latin-1 or Windows-1252; save the file as UTF-8"
        )
    })
}

/// Applies `path.to.key=value`; the value is TOML, or a bare word. In a list of tables the key is that of the last one, or
/// of the last one of a kind if the kind stands before it, as in `id.bsarec.dim`.
///
/// # Errors
/// Names the key.
pub(crate) fn apply(table: &mut Table, set: &str) -> Result<()> {
    let expected = || format!("--set {set}: expected key=value, as in train.lr=0.01");
    let (path, text) = set.split_once('=').with_context(expected)?;
    let (path, text) = (path.trim(), text.trim());
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        bail!(expected());
    }
    let Some((last, parents)) = keys.split_last() else { bail!(expected()) };
    let (mut at, mut parents, mut named) = (table, parents.iter().peekable(), Vec::new());
    while let Some(key) = parents.next() {
        named.push(*key);
        let next = at.entry(*key).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(table) => table,
            // [[id]] is a list; the last method is the aligned one.
            Value::Array(list) => {
                let kinds: Vec<&str> =
                    list.iter().map(|own| own.get("kind").and_then(Value::as_str).unwrap_or("")).collect();
                let place = parents.peek().and_then(|kind| kinds.iter().rposition(|own| own == *kind));
                if let Some(kind) = parents.peek().filter(|kind| place.is_none() && IdConfig::KINDS.contains(kind)) {
                    bail!("--set {set}: no table of {key} has kind = \"{kind}\"; there are {}", kinds.join(", "));
                }
                if place.is_some() {
                    parents.next();
                }
                match place.or(list.len().checked_sub(1)).and_then(|place| list.get_mut(place)) {
                    Some(Value::Table(table)) => table,
                    _ => bail!("--set {set}: {key} is not a list of tables"),
                }
            }
            other => bail!("--set {set}: {key} is {other}, not a table"),
        };
    }
    named.push(last);
    at.insert((*last).into(), value(&named.join("."), text)?);
    Ok(())
}

/// Returns what `text` means as the value of the key `path`.
fn value(path: &str, text: &str) -> Result<Value> {
    // A template may begin as a list or a table does.
    if is_template(path) && !text.starts_with(['"', '\'']) {
        return Ok(Value::String(text.into()));
    }
    let mut value = match format!("x = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("x").unwrap_or_else(|| Value::String(text.into())),
        // A value that opens a list, a table or a quote is meant as TOML.
        Err(error) if text.starts_with(['[', '{', '"', '\'']) => {
            bail!("--set {path}: {text} is not a TOML value: {}", words(&error.message()))
        }
        _ => Value::String(text.into()),
    };
    if is_bare(&value) && takes_text(path) {
        return Ok(Value::String(text.into()));
    }
    // Lists and tables hold keys of their own.
    quote_one(&mut value, path).with_context(|| format!("--set {path}"))?;
    Ok(value)
}

/// Converts whole numbers and dates to text for keys that take only text: a column named `1`, a file named `2024`.
///
/// # Errors
/// Names a key with a decimal number, because it is unknown whether it was written as 1.10 or 1.1.
pub(super) fn quote(table: &mut Table, within: &str) -> Result<()> {
    table.iter_mut().try_for_each(|(key, value)| {
        let path = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        quote_one(value, &path)
    })
}

fn quote_one(value: &mut Value, path: &str) -> Result<()> {
    match value {
        Value::Table(table) => return quote(table, path),
        Value::Array(list) => return list.iter_mut().try_for_each(|value| quote_one(value, path)),
        Value::Float(number) if takes_text(path) => bail!("{path} is the number {number}: put quotes around it"),
        bare if is_bare(bare) && takes_text(path) => *bare = Value::String(bare.to_string()),
        _ => {}
    }
    Ok(())
}

fn is_bare(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Float(_) | Value::Datetime(_))
}

/// Returns whether a key is the template of texts.
fn is_template(path: &str) -> bool {
    ["text", "data.text"].contains(&path)
}

/// Returns whether a key takes only text: names, paths, sentences and columns.
fn takes_text(path: &str) -> bool {
    let own = path.strip_prefix("data.").unwrap_or(path);
    let files = ["interactions", "items", "test", "id.items", "id.users", "id.item_ids", "id.user_ids"];
    let tensors = ["id.items_tensor", "id.users_tensor"];
    let words = ["name", "lm.name", "lm.path", "lm.adapter", "prompt.user", "prompt.item"];
    let variants = ["variant.name", "variant.base", "variant.towers", "variant.teacher"];
    own.starts_with("columns.")
        || is_template(path)
        || files.contains(&own)
        || tensors.contains(&own)
        || words.contains(&own)
        || variants.contains(&own)
}

/// Returns the value of a key such as `id.train.lr`. In a list of tables it is that of the table at `place`, by default
/// of the last one, as for [`apply`].
pub(crate) fn lookup<'a>(table: &'a Table, key: &str, place: Option<usize>) -> Option<&'a Value> {
    let Some((first, rest)) = key.split_once('.') else { return table.get(key) };
    match table.get(first)? {
        Value::Table(inner) => lookup(inner, rest, place),
        Value::Array(list) => lookup(list.get(place.unwrap_or(list.len().checked_sub(1)?))?.as_table()?, rest, place),
        _ => None,
    }
}

/// Removes and returns the value of `key`. If its type is wrong, adds an error to `wrong`, under the key with `path`
/// before it.
pub(crate) fn take<T: DeserializeOwned>(
    table: &mut Table,
    key: &str,
    path: &str,
    wrong: &mut Vec<String>,
) -> Option<T> {
    let value = table.remove(key)?;
    let faults = |error| faults::<T>(&value, &format!("{path}{key}"), &error);
    value.clone().try_into().map_err(|error| wrong.extend(faults(error))).ok()
}

/// Removes and returns the table of `key`, empty if there is none.
pub(crate) fn sub_table(table: &mut Table, key: &str, wrong: &mut Vec<String>) -> Table {
    match table.remove(key) {
        None => Table::new(),
        Some(Value::Table(table)) => table,
        Some(other) => {
            wrong.push(format!("{key} is {other}, it must be a table"));
            Table::new()
        }
    }
}

/// Reads all of `table` as the section `name` of a recipe.
pub(crate) fn section<T: DeserializeOwned + Default>(table: Table, name: &str, wrong: &mut Vec<String>) -> T {
    let value = Value::Table(table);
    value.clone().try_into().unwrap_or_else(|error| {
        wrong.extend(faults::<T>(&value, name, &error));
        T::default()
    })
}

/// [`section`] of a table that has more keys than `T`, which were taken out before: an error that lists keys names them too.
pub(crate) fn extended<T: DeserializeOwned + Default>(
    table: Table,
    name: &str,
    more: &[&str],
    wrong: &mut Vec<String>,
) -> T {
    let before = wrong.len();
    // Not those of tables within it, which have lists of their own.
    let unknown: Vec<String> = table.keys().map(|key| format!("{name}.{key}: unknown field")).collect();
    let found = section(table, name, wrong);
    let more: Vec<String> = more.iter().map(|key| format!("`{key}`")).collect();
    for told in wrong.iter_mut().skip(before).filter(|told| unknown.iter().any(|start| told.starts_with(start))) {
        told.push_str(&format!(", {}", more.join(", ")));
    }
    found
}

/// Returns an error for every key of `value` that cannot be read by itself, or `error` if no single key is wrong.
fn faults<T: DeserializeOwned>(value: &Value, path: &str, error: &toml::de::Error) -> Vec<String> {
    let found: Vec<String> = match value {
        Value::Table(own) => {
            let keys = alone(own).into_iter();
            keys.filter_map(|(key, one)| fault::<T>(Value::Table(one), path, &key)).collect()
        }
        // Methods are a list of tables, each of which is read separately.
        Value::Array(list) => {
            let unknown: Vec<String> = list.iter().filter_map(|one| unknown_kind::<T>(one, path)).collect();
            if !unknown.is_empty() {
                return unknown;
            }
            let keys = list.iter().filter_map(Value::as_table).flat_map(alone);
            let one = |one| Value::Array(vec![Value::Table(one)]);
            keys.filter_map(|(key, table)| fault::<T>(one(table), path, &key)).collect()
        }
        _ => Vec::new(),
    };
    if found.is_empty() { vec![told(path, error)] } else { found }
}

fn fault<T: DeserializeOwned>(value: Value, path: &str, key: &str) -> Option<String> {
    let error = value.try_into::<T>().err()?;
    let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    Some(format!("{path}: {}", message(&error)))
}

/// Returns the error of an unknown kind of method, which makes its other keys meaningless.
fn unknown_kind<T: DeserializeOwned>(method: &Value, path: &str) -> Option<String> {
    let kind = Table::from_iter([("kind".to_owned(), method.get("kind")?.clone())]);
    fault::<T>(Value::Array(vec![Value::Table(kind)]), path, "kind").filter(|told| !told.contains("missing field"))
}

/// Returns each key of a table, and of its sub-tables, as a table that holds only that key. All of them also hold
/// `kind`, which determines the allowed keys.
fn alone(table: &Table) -> Vec<(String, Table)> {
    let kind = table.get("kind").map(|kind| ("kind".to_owned(), kind.clone()));
    let mut found = Vec::new();
    for (key, value) in table.iter().filter(|(key, _)| *key != "kind" || table.len() == 1) {
        let one = |value: Value| kind.iter().cloned().chain([(key.clone(), value)]).collect::<Table>();
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                let inner = alone(inner).into_iter();
                found.extend(inner.map(|(name, inner)| (format!("{key}.{name}"), one(Value::Table(inner)))));
            }
            _ => found.push((key.clone(), one(value.clone()))),
        }
    }
    found
}

/// Formats the error of a value's reader under the key that it is about.
fn told(path: &str, error: &toml::de::Error) -> String {
    let text = error.to_string();
    let inner = text.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let path = match inner {
        Some(inner) if path.is_empty() => inner.to_owned(),
        Some(inner) => format!("{path}.{inner}"),
        None => path.to_owned(),
    };
    let message = message(error);
    if path.is_empty() { message } else { format!("{path}: {message}") }
}

/// Formats the error of a value's reader in the terms of people who write settings.
fn message(error: &toml::de::Error) -> String {
    let mut message = words(&error.message());
    for (kind, people) in [
        ("expected usize", "expected a whole number, 0 or above"),
        ("expected u64", "expected a whole number, 0 or above"),
        ("expected u32", "expected a whole number, 0 or above"),
        ("expected isize", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected a string", "expected text: put quotes around it"),
        ("expected path string", "expected text: put quotes around it"),
        ("expected a boolean", "expected true or false"),
    ] {
        if let Some(start) = message.strip_suffix(kind) {
            message = format!("{start}{people}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<Value> {
        let mut table = Table::new();
        apply(&mut table, text)?;
        let mut keys = text.split_once('=').unwrap().0.trim().split('.');
        let first = table.remove(keys.next().unwrap()).unwrap();
        Ok(keys.fold(first, |value, key| value.get(key).unwrap().clone()))
    }

    #[test]
    fn numbers_that_are_not_finite_are_told_and_taken_out() {
        let text = "a = nan\nb = 1.0\n[[id]]\nshare = -inf\nkind = 'x'\n[eval]\n\
                    ks = [1.0, inf]\nlists = [[1.0], [nan]]\nselect = {x = nan}\n";
        let mut table: Table = text.parse().unwrap();
        let wrong = take_non_finite(&mut table, "");
        for told in ["a is NaN", "id.share is -inf", "eval.ks is inf", "eval.lists is NaN", "eval.select.x is NaN"] {
            assert!(wrong.iter().any(|wrong| wrong.starts_with(told)), "{told}: {wrong:?}");
        }
        assert_eq!(wrong.len(), 5);
        assert_eq!(table, "b = 1.0\n[[id]]\nkind = 'x'\n[eval]\nselect = {}\n".parse().unwrap());
    }

    #[test]
    fn a_key_of_methods_is_that_of_the_last_one_or_of_the_one_that_is_named() {
        let text = "[[id]]\nkind = 'sasrec'\ndim = 8\n[[id]]\nkind = 'import'\n[[id]]\nkind = 'ease'\n";
        let changed = |sets: &[&str]| {
            let mut table: Table = text.parse().unwrap();
            sets.iter().try_for_each(|set| apply(&mut table, set)).map(|()| table)
        };
        let wanted: Table =
            "[[id]]\nkind = 'sasrec'\ndim = 16\ntrain = {lr = 0.1}\n[[id]]\nkind = 'import'\nitems = '7'\n\
                             [[id]]\nkind = 'ease'\nl2 = 3.0\n"
                .parse()
                .unwrap();
        let sets = ["id.sasrec.dim=16", "id.sasrec.train.lr=0.1", "id.l2=3.0", "id.import.items=7"];
        assert_eq!(changed(&sets).unwrap(), wanted);
        let told = changed(&["id.markov.dim=1"]).unwrap_err().to_string();
        assert!(told.contains("kind = \"markov\"; there are sasrec, import, ease"), "{told}");
    }

    #[test]
    fn a_path_of_windows_is_told_how_to_be_written() {
        for path in [r"C:\Users\me\log.tsv", r"D:\data\log.tsv"] {
            let told = parsed(&format!("[data]\ninteractions = \"{path}\"\n")).unwrap_err().to_string();
            assert!(told.contains("line 2") && told.ends_with("in single quotes, or with /"), "{told}");
            assert!(parsed(&format!("[data]\ninteractions = '{path}'\n")).is_ok());
        }
        assert!(!parsed("[data").unwrap_err().to_string().contains("escape"));
    }

    #[test]
    fn a_key_that_takes_text_needs_no_quotes() {
        let text = |text: &str| Value::String(text.into());
        for (given, means) in [
            ("columns.item=1", text("1")),
            ("data.columns.user=007", text("007")),
            ("columns.time=1e3", text("1e3")),
            ("data.name=2014-05-01", text("2014-05-01")),
            ("lm.path=2024", text("2024")),
            ("id.items_tensor=0", text("0")),
            ("prompt.user=", text("")),
            ("columns.user=who", text("who")),
            ("data.text={title}[ by {brand}]", text("{title}[ by {brand}]")),
            ("text=[{title}]", text("[{title}]")),
            ("text='{title}'", text("{title}")),
            ("columns.user='1'", text("1")),
            ("columns={ item = 1 }", Value::Table(Table::from_iter([("item".to_owned(), text("1"))]))),
            ("columns.title=['a', 1]", Value::Array(vec![text("a"), text("1")])),
            ("seed=3", Value::Integer(3)),
            ("data.k_core=5", Value::Integer(5)),
            ("data.name=true", Value::Boolean(true)),
            (" train.lr = 0.5 ", Value::Float(0.5)),
            ("data.split=temporal", text("temporal")),
        ] {
            assert_eq!(set(given).unwrap(), means, "{given}");
        }
        for wrong in [
            "train.lr",
            "=3",
            ".lr=3",
            "train..lr=3",
            "eval.ks=[18446744073709551615]",
            "eval.ks=[1",
            "a='b",
            "columns.title=[1.10]",
        ] {
            let told = format!("{:#}", set(wrong).unwrap_err());
            assert!(told.contains("--set") && !told.contains('\n'), "{wrong}: {told}");
        }
    }

    #[test]
    fn the_further_keys_of_a_table_are_listed_with_its_own_and_not_with_those_of_an_inner_one() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Outer {
            one: u32,
            inner: Inner,
        }
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Inner {
            two: u32,
        }
        let table = "on = 1\n[inner]\ntow = 2".parse().unwrap();
        let mut wrong = vec!["an earlier error".to_owned()];
        extended::<Outer>(table, "outer", &["rows"], &mut wrong);
        wrong.sort();
        assert_eq!(wrong[0], "an earlier error");
        let [inner, own] = [&wrong[1], &wrong[2]];
        assert!(own.starts_with("outer.on: unknown field `on`") && own.ends_with("`inner`, `rows`"), "{own}");
        assert!(inner.starts_with("outer.inner.tow: unknown field") && !inner.contains("rows"), "{inner}");
    }

    #[test]
    fn files_are_taken_as_editors_write_them() {
        assert_eq!(decoded(b"\xef\xbb\xbfseed = 1").unwrap(), "seed = 1");
        let utf16: Vec<u8> = "seed".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"\xff\xfes\0"[..], b"\xfe\xff\0s", &utf16] {
            assert!(decoded(bytes).unwrap_err().to_string().contains("UTF-16"));
        }
        let latin = decoded(b"seed = 1\n# caf\xe9\n").unwrap_err().to_string();
        assert!(latin.contains("line 2, column 6") && latin.contains("0xe9"), "{latin}");
    }
}
