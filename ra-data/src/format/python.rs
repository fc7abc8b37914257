//! Python's dict notation, which the Amazon metadata of 2014 uses in place of JSON; and JSON with `NaN`, as Python
//! writes it.
use serde_json::{Map, Number, Value};

/// The deepest supported nesting of brackets.
const DEEPEST: usize = 64;

/// Parses one literal: dicts, lists, tuples, strings, numbers, `True`, `False`, `None` and `NaN`. Returns `None` if
/// `text` is anything else.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value()?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '{' => self.nested("}", |reader, object: &mut Map<String, Value>| {
                let Value::String(key) = reader.value()? else { return None };
                if !reader.take(":") {
                    return None;
                }
                let value = reader.value()?;
                object.insert(key, value);
                Some(())
            }),
            '[' | '(' => {
                let close = if self.rest.starts_with('[') { "]" } else { ")" };
                self.nested(close, |reader, list: &mut Vec<Value>| {
                    list.push(reader.value()?);
                    Some(())
                })
            }
            'u' | 'b' if matches!(self.rest.as_bytes().get(1), Some(b'\'' | b'"')) => {
                self.rest = &self.rest[1..];
                self.string()
            }
            '\'' | '"' => self.string(),
            _ => self.word(),
        }
    }

    fn nested<C: Default + Into<Value>>(
        &mut self,
        close: &str,
        mut each: impl FnMut(&mut Self, &mut C) -> Option<()>,
    ) -> Option<Value> {
        if self.depth == DEEPEST {
            return None;
        }
        (self.depth, self.rest) = (self.depth + 1, &self.rest[1..]);
        let mut all = C::default();
        while !self.take(close) {
            each(self, &mut all)?;
            if !self.take(",") {
                if self.take(close) {
                    break;
                }
                return None;
            }
        }
        self.depth -= 1;
        Some(all.into())
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ':', '}', ']', ')', ' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" | "NaN" | "nan" => Some(Value::Null),
            _ => match word.parse::<i64>() {
                Ok(number) => Some(number.into()),
                // As text, a longer number keeps its digits.
                Err(_) if is_long(word) => Some(Value::String(word.into())),
                Err(_) => Number::from_f64(word.parse().ok()?).map(Value::Number),
            },
        }
    }

    fn string(&mut self) -> Option<Value> {
        let mut chars = self.rest.chars();
        let quote = chars.next()?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => match chars.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'x' => text.push(code(&mut chars, 2)?),
                    'u' => text.push(code(&mut chars, 4)?),
                    'U' => text.push(code(&mut chars, 8)?),
                    c @ ('\\' | '\'' | '"') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(Value::String(text))
    }
}

/// Returns whether a word is a whole number.
fn is_long(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the character with this hexadecimal number of `digits` digits.
fn code(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let number = (0..digits).try_fold(0u32, |number, _| Some(number.wrapping_mul(16) + chars.next()?.to_digit(16)?));
    char::from_u32(number?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_what_python_reads() {
        let text = r#"{'asin': '0001', "title": u"Ben's \"Best\"\n\u00fc", 'price': 9.5, 'n': -3, 'ok': True, 'no': None, 'also': [['a', 'b',], ()]}"#;
        let value = parse(text).unwrap();
        assert_eq!(value["title"], "Ben's \"Best\"\nü");
        assert_eq!((&value["price"], &value["n"]), (&9.5.into(), &(-3).into()));
        assert_eq!((&value["ok"], &value["no"]), (&true.into(), &Value::Null));
        assert_eq!(value["also"], serde_json::json!([["a", "b"], []]));
        let deep = "[".repeat(100_000);
        for broken in ["", "{", "{'a'}", "{'a': }", "{'a': 1} x", "'open", "['a' 'b']", r"'\x4'", "{1: 2}", &deep] {
            assert_eq!(parse(broken), None, "{:.20}", broken);
        }
    }
}
