//! Ids: one spelling per value, exact to the digit, in every format.
use crate::format::row::Role;
use std::collections::BTreeMap;

/// Returns the canonical spelling of an id, or the reason why `text` is not an id.
///
/// A whole number written as a decimal is that number, in logs and in titles: pandas turns `1` into `1.0` as soon as a
/// column has a missing value. Everything else stays as it is in the file.
pub(crate) fn check(text: &str) -> Result<&str, String> {
    match text {
        _ if text.trim().is_empty() => Err("is empty".into()),
        _ if stands_for_nothing(text) => Err(format!("is \"{text}\", which stands for a missing id")),
        _ if is_nested(text) => {
            Err(format!("is {}, which is not a single value", text.chars().take(40).collect::<String>()))
        }
        _ if is_rounded(text) => {
            Err(format!("is {text}, a float that may have lost digits; write ids as whole numbers or text"))
        }
        _ => Ok(canonical(text)),
    }
}

/// Turns `1.0` into `1`; returns anything but a whole number with a zero fraction unchanged.
pub(crate) fn canonical(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') && is_whole(whole) => whole,
        _ => text,
    }
}

/// Returns whether `text` is a word that databases, pandas or Python write for a missing value.
pub(crate) fn stands_for_nothing(text: &str) -> bool {
    matches!(text, "null" | "NULL" | "Null" | "NaN" | "nan" | "None" | "\\N" | "<NA>" | "NaT")
}

/// Returns whether `text` is a list, as in `['a', 'b']`, or an object that was turned into text.
fn is_nested(text: &str) -> bool {
    let within = |open, close| text.len() > 1 && text.starts_with(open) && text.ends_with(close);
    // A key in braces, as Windows writes it, is not an object.
    within('[', ']') || (within('{', '}') && text.contains([':', '\'', '"']))
}

/// From here on, 64-bit floats no longer represent every whole number.
const INEXACT: u64 = 1 << 53;

/// Returns whether `text` is a float that a whole number was, or may have been, rounded to: `1.8446744073709552e+19`,
/// `18446744073709551617.0`, or `1e+05`, which R writes for 100000. Without a sign, `12e4` and `6e16` are names, such
/// as hexadecimal ones.
fn is_rounded(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        let whole = canonical(text);
        return whole.len() < text.len() && whole.parse::<u64>().map_or(true, |number| number >= INEXACT);
    };
    let size = exponent.trim_start_matches(['+', '-']);
    match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && digits(size),
        None => size.len() < exponent.len() && digits(mantissa) && digits(size),
    }
}

/// Counts oddities among the ids of a column, each of which is a valid id by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Odd {
    rows: usize,
    /// Decimals that were read as whole numbers, plain whole numbers, and decimals with a fraction.
    decimals: usize,
    wholes: usize,
    fractions: usize,
    /// Lists and objects that were written as text.
    nested: usize,
    /// Words that may stand for a missing value.
    words: BTreeMap<String, usize>,
}

impl Odd {
    pub(crate) fn count(&mut self, text: &str) {
        self.rows += 1;
        if canonical(text).len() < text.len() {
            self.decimals += 1;
        } else if is_whole(text) {
            self.wholes += 1;
        } else if text.contains('.') && text.parse::<f64>().is_ok() {
            self.fractions += 1;
        } else if may_be_nested(text) {
            self.nested += 1;
        } else if may_stand_for_nothing(text) {
            *self.words.entry(text.into()).or_default() += 1;
        }
    }

    /// Returns how many decimals were read as whole numbers.
    pub(crate) fn decimals(&self) -> usize {
        self.decimals
    }

    /// Returns the reason why the ids of the column are ambiguous, if they are.
    pub(crate) fn refused(&self, column: Role) -> Option<String> {
        (self.decimals > 0 && self.fractions > 0).then(|| {
            format!(
                "`{column}` holds decimals such as 1.0 and others such as 1.5, so it is unclear whether 1.0 is 1; \
                 write ids as text without a decimal point"
            )
        })
    }

    /// Returns oddities that distort the metrics unless they are intended.
    pub(crate) fn doubts(&self, column: Role) -> Vec<String> {
        let (rows, most) = (self.rows, |count: usize| count > 1 && 100 * count >= self.rows);
        let words = self.words.iter().filter(|(_, count)| most(**count));
        let nested = (2 * self.nested > rows).then(|| {
            format!(
                "`{column}` seems to hold lists or objects as text in {} of {rows} rows; write one row for each id",
                self.nested
            )
        });
        let both = (self.decimals > 0 && self.wholes > 0)
            .then(|| format!("`{column}` holds ids such as 1 and ids such as 1.0, which are read as the same id"));
        words
            .map(|(word, count)| {
                format!("`{column}` is \"{word}\" in {count} of {rows} rows: does it stand for a missing id?")
            })
            .chain(nested)
            .chain(both)
            .collect()
    }
}

/// Returns whether `text` is a word that [`stands_for_nothing`] leaves out because it may be a name.
fn may_stand_for_nothing(text: &str) -> bool {
    const WORDS: [&str; 9] = ["na", "n/a", "#n/a", "none", "nan", "null", "(null)", "nil", "undefined"];
    text.len() < 10 && WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Returns whether `text` looks like `i1|i9`, `i1,i9`, `i1 i9`, `('i1', 'i9')`, `tensor(1)` or `b'i1'`.
fn may_be_nested(text: &str) -> bool {
    let wraps = [("(", ")"), ("tensor(", ")"), ("array(", ")"), ("b'", "'"), ("b\"", "\"")];
    let parts = || text.split(['|', ',', ';', ' ']).filter(|part| !part.is_empty());
    let is_number_or_code = |part: &str| part.bytes().any(|byte| byte.is_ascii_digit());
    wraps.iter().any(|(open, close)| text.len() > 2 && text.starts_with(open) && text.ends_with(close))
        || (text.contains(['|', ',', ';', ' ']) && parts().count() > 1 && parts().all(is_number_or_code))
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" || !digits.starts_with('0');
    is_plain && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_ids_are_counted() {
        for (odd, told) in [("NA", "\"NA\" in 2 of 3"), ("i1|i9", "lists"), ("i1 i9 i8", "lists"), ("b'i1'", "lists")] {
            let mut ids = Odd::default();
            [odd, odd, "i2"].into_iter().for_each(|id| ids.count(id));
            assert!(ids.doubts(Role::Item)[0].contains(told), "{odd}: {ids:?}");
        }
        let mut ids = Odd::default();
        ["1.0", "none", "The Beatles", "Smith, John", "f(x)", "a-1"].into_iter().for_each(|id| ids.count(id));
        assert!(ids.doubts(Role::Item).is_empty() && ids.decimals() == 1, "{ids:?}");
        ids.count("7");
        assert!(ids.doubts(Role::Item)[0].contains("read as the same id") && ids.refused(Role::Item).is_none());
        ids.count("1.5");
        assert!(ids.refused(Role::Item).unwrap().contains("unclear whether 1.0 is 1"));
    }

    #[test]
    fn an_id_is_written_one_way() {
        for (text, id) in [
            ("1.0", "1"),
            ("-20.00", "-20"),
            ("0.0", "0"),
            ("9007199254740991.0", "9007199254740991"),
            ("18446744073709551617", "18446744073709551617"),
            ("12e34567", "12e34567"),
            ("1.5", "1.5"),
            ("1.", "1."),
            (".0", ".0"),
            ("007.0", "007.0"),
            ("v1.0", "v1.0"),
            ("1.0.0", "1.0.0"),
            ("5e12", "5e12"),
            (" a ", " a "),
            ("none", "none"),
            ("[draft] a", "[draft] a"),
            ("{6F9619FF-8B86}", "{6F9619FF-8B86}"),
        ] {
            assert_eq!(check(text), Ok(id));
        }
        for none in [
            "",
            " ",
            "null",
            "NULL",
            "NaN",
            "None",
            "\\N",
            "<NA>",
            "1.8446744073709552e+19",
            "-1.5E3",
            "1e+05",
            "18446744073709551617.0",
            "-9007199254740992.0",
            "[a, b]",
            "[]",
            "{'id': 1}",
        ] {
            assert!(check(none).is_err(), "{none}");
        }
    }
}
