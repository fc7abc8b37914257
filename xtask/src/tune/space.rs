//! The settings that may be proposed: keys of a recipe, each with choices or a range.
use crate::recipe::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Values of keys.
pub(super) type Settings = BTreeMap<String, Value>;

/// The tables whose keys can be tuned. The others decide what is measured, so that scores would not be comparable.
const TUNABLE: [&str; 7] = ["id.", "align.", "train.", "prompt.", "lm.", "data.curate.", "data.max_history"];

/// The digits of a proposed number.
const DIGITS: usize = 4;

/// A key and its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) values: Values,
}

/// The values of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Choices(Vec<Value>),
    Range { low: f64, high: f64, whole: bool, log: bool },
}

impl Values {
    /// Returns the coordinates that stand for the values: from the first up to, not including, the second.
    pub(super) fn bounds(&self) -> [f64; 2] {
        match self {
            Self::Choices(list) => [0.0, list.len() as f64],
            Self::Range { low, high, whole, log } => {
                let end = if *whole { high + 1.0 } else { *high };
                if *log { [low.ln(), end.ln()] } else { [*low, end] }
            }
        }
    }

    /// Returns the coordinate of a value; nothing if it is none of these values.
    pub(super) fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Choices(list) => list.iter().position(|own| is_same(own, value)).map(|at| at as f64),
            Self::Range { low, high, whole, log } => {
                let number = number(value).filter(|number| (*low..=*high).contains(number))?;
                // The middle of a whole number's stretch.
                let number = if *whole { number + 0.5 } else { number };
                let place = if *log { number.ln() } else { number };
                let [_, end] = self.bounds();
                Some(place.min(end.next_down()))
            }
        }
    }

    /// Returns the value at a coordinate.
    pub(super) fn at(&self, place: f64) -> Value {
        match self {
            Self::Choices(list) => list[(place as usize).min(list.len() - 1)].clone(),
            Self::Range { low, high, whole, log } => {
                let number = if *log { place.exp() } else { place };
                match whole {
                    true => Value::Integer(number.floor().clamp(*low, *high) as i64),
                    false => Value::Float(rounded(number).clamp(*low, *high)),
                }
            }
        }
    }

    /// Returns the values to try before anything is trained: every choice, or both ends.
    fn probes(&self) -> Vec<Value> {
        match self {
            Self::Choices(list) => list.clone(),
            Self::Range { low, high, whole, .. } => {
                [*low, *high].map(|end| if *whole { Value::Integer(end as i64) } else { Value::Float(end) }).into()
            }
        }
    }
}

/// Returns whether two values are the same for a recipe, which stores most numbers with 32 bits.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one as f32 == other as f32,
        _ => one == other,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        _ => None,
    }
}

/// Rounds to a few digits, which are easier to read and to copy.
fn rounded(number: f64) -> f64 {
    format!("{number:.0$e}", DIGITS - 1).parse().unwrap_or(number)
}

/// Reads the keys of `[tune]` for a row of a recipe.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(super) fn read(keys: &Table, recipe: &Recipe, row: &str) -> Result<Vec<Key>, Vec<String>> {
    let mut flat = Vec::new();
    flatten("", keys, &mut flat);
    let mut wrong = Vec::new();
    if flat.is_empty() {
        wrong.push("tune.keys is empty: name a key and its values, as in \"id.dropout\" = [0.2, 0.5]".to_owned());
    }
    let names: Vec<String> = flat.iter().map(|(name, _)| name.clone()).collect();
    let mut told = BTreeSet::new();
    for name in names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1) {
        if told.insert(name) {
            wrong.push(format!("tune.keys.{name} is there twice"));
        }
    }
    let mut found = Vec::new();
    for (name, value) in flat {
        let say = |told: String| format!("tune.keys.{name}: {told}");
        match values(&value) {
            Err(told) => wrong.push(say(told)),
            Ok(values) => {
                let faults = faults(&name, &values, &names, recipe, row);
                wrong.extend(faults.into_iter().map(say));
                found.push(Key { name, values });
            }
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// Lists keys with their values; a key may be quoted or made of tables.
fn flatten(path: &str, table: &Table, into: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = key.trim();
        let name = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) if !is_range(inner) => flatten(&name, inner, into),
            other => into.push((name, other.clone())),
        }
    }
}

fn is_range(table: &Table) -> bool {
    table.is_empty() || ["low", "high", "scale"].iter().any(|key| table.contains_key(*key))
}

/// Reads the values of a key.
fn values(value: &Value) -> Result<Values, String> {
    match value {
        Value::Array(list) => {
            let twice = (1..list.len()).find(|&at| list[..at].iter().any(|other| is_same(other, &list[at])));
            match (list.len(), twice) {
                (0 | 1, _) => Err("needs two choices or more; a single value belongs into the recipe itself".into()),
                (_, Some(at)) => Err(format!("has the choice {} twice", list[at])),
                _ => Ok(Values::Choices(list.clone())),
            }
        }
        Value::Table(table) => range(table),
        other => Err(format!("is {other}; give a list of choices, or a range such as {{ low = 1, high = 4 }}")),
    }
}

fn range(table: &Table) -> Result<Values, String> {
    if let Some(key) = table.keys().find(|key| !["low", "high", "scale"].contains(&key.as_str())) {
        return Err(format!("unknown key {key} of a range; allowed: low, high, scale"));
    }
    let log = match table.get("scale") {
        None => false,
        Some(Value::String(name)) if name == "linear" => false,
        Some(Value::String(name)) if name == "log" => true,
        Some(other) => return Err(format!("scale is {other}; allowed: \"linear\", \"log\"")),
    };
    let end = |key: &str| match table.get(key) {
        None => Err(format!("a range needs low and high; {key} is missing")),
        Some(value) => number(value)
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("{key} is {value}, but a range needs numbers; list the choices instead")),
    };
    let (low, high) = (end("low")?, end("high")?);
    if low >= high {
        return Err(format!("the range from {low} to {high} is empty; low must be below high"));
    }
    if log && low <= 0.0 {
        return Err(format!("low is {low}; a range on a log scale must begin above 0"));
    }
    let whole = ["low", "high"].iter().all(|key| table.get(*key).is_some_and(Value::is_integer));
    Ok(Values::Range { low, high, whole, log })
}

/// Returns why a key cannot be tuned, or not with these values.
fn faults(name: &str, values: &Values, names: &[String], recipe: &Recipe, row: &str) -> Vec<String> {
    let is_tunable = TUNABLE.iter().any(|table| match table.ends_with('.') {
        true => name.len() > table.len() && name.starts_with(table),
        false => name == *table,
    });
    // All trials align the same method.
    let decides_what = matches!(name.rsplit('.').next(), Some("kind" | "align" | "max_items"));
    if !is_tunable || name.starts_with("id.") && decides_what {
        let tables = "[align], [train], [prompt], [lm], [data.curate], and data.max_history";
        return vec![format!(
            "cannot be tuned; allowed are the keys of [[id]] (except kind, align and max_items), {tables}"
        )];
    }
    if let Some(outer) =
        names.iter().find(|other| name.strip_prefix(other.as_str()).is_some_and(|r| r.starts_with('.')))
    {
        return vec![format!("is part of {outer}, which is tuned too; leave one of them out")];
    }
    let own = recipe.value_of(name).ok().flatten();
    if let (Values::Range { whole, .. }, Some(own)) = (values, &own) {
        match own {
            Value::Integer(_) if !whole => return vec!["holds whole numbers: write both ends without a point".into()],
            Value::Integer(_) | Value::Float(_) => {}
            other => return vec![format!("is {other} in the recipe, and a range needs a number; list the choices")],
        }
    }
    let mut found: Vec<String> = Vec::new();
    for told in values.probes().iter().filter_map(|value| recipe.fault(name, value)) {
        if !found.contains(&told) {
            found.push(told);
        }
    }
    if found.is_empty() {
        let others: Vec<String> =
            names.iter().filter(|other| *other != name).map(|other| format!("{other}=0")).collect();
        let overridden = || overridden(name, values, recipe, row);
        found.extend(without_effect(name, recipe, row).or_else(|| recipe.idle(name, &others)).or_else(overridden));
    }
    found
}

/// Returns why a key of `[align]` has no effect on a row, if the tables of the variants give it another value.
fn overridden(name: &str, values: &Values, recipe: &Recipe, row: &str) -> Option<String> {
    let probes = values.probes();
    let of = |value: &Value| recipe.with(&[format!("{name}={value}")]).ok();
    let [first, second] = [of(probes.first()?)?, of(probes.last()?)?];
    let is_same = name.starts_with("align.") && probes.len() > 1 && first.variants() == second.variants();
    is_same.then(|| {
        format!(
            "has no effect on the row {row}: its [[variant]] gives the key in set; tune another, or move \
                             it to [align]"
        )
    })
}

/// Returns why a key has no effect on a row, if so.
fn without_effect(name: &str, recipe: &Recipe, row: &str) -> Option<String> {
    let variant = recipe.variants().iter().find(|variant| variant.name == row);
    let reads_text = recipe.ids.last().is_some_and(|id| id.reads_text() && name.starts_with("lm."));
    match variant {
        None if name.starts_with("id.") || reads_text => None,
        None => {
            Some(format!("has no effect on the row {row}, an ID method; name a variant by tune.row, or leave it out"))
        }
        Some(variant) if name.starts_with("id.") && variant.has_towers() && !variant.reads_ids() => {
            Some(format!("has no effect on the row {row}, which reads no IDs; leave it out"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Values, String> {
        values(&format!("x = {text}").parse::<Table>().unwrap()["x"])
    }

    #[test]
    fn values_and_places_are_each_others_inverse() {
        for text in ["[0.2, 0.3, 0.5]", "['a', 'b']", "{ low = 1, high = 4 }", "{ low = 1, high = 64, scale = 'log' }"]
        {
            let values = of(text).unwrap();
            let [start, end] = values.bounds();
            let all: Vec<Value> =
                (0..1000).map(|at| values.at(start + (end - start) * f64::from(at) / 1000.0)).collect();
            for value in &all {
                let place = values.place(value).unwrap();
                assert!(start <= place && place < end && values.at(place) == *value, "{text}: {value} at {place}");
            }
            for probe in values.probes() {
                assert!(all.contains(&probe), "{text} never gives {probe}");
            }
        }
        let values = of("{ low = 1e-4, high = 1e-2, scale = 'log' }").unwrap();
        assert_eq!(values.at(0.001_f64.ln()), Value::Float(0.001));
        assert_eq!(values.at(0.003_141_592_f64.ln()), Value::Float(0.003142));
        assert_eq!(values.place(&Value::Float(0.5)), None, "the recipe's own value may be none of them");
        assert!(of("[0.2, 0.3]").unwrap().place(&Value::Float(f64::from(0.2f32))).is_some(), "32 bits of it");
    }

    #[test]
    fn values_that_are_none_are_refused() {
        for (text, told) in [
            ("[]", "two choices"),
            ("[1]", "two choices"),
            ("[1, 2, 1.0]", "twice"),
            ("3", "a list of choices"),
            ("{}", "low is missing"),
            ("{ low = 1 }", "high is missing"),
            ("{ low = 2, high = 2 }", "empty"),
            ("{ low = 0.0, high = 1.0, scale = 'log' }", "above 0"),
            ("{ low = 0, high = 1, scale = 'lin' }", "allowed: \"linear\", \"log\""),
            ("{ low = 0, high = 1, step = 1 }", "allowed: low, high, scale"),
            ("{ low = 'a', high = 'b' }", "list the choices"),
            ("{ low = 0.0, high = inf }", "needs numbers"),
        ] {
            let got = of(text).unwrap_err();
            assert!(got.contains(told), "{text}: {got}");
        }
    }
}
