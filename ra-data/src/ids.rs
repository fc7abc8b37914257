//! An id is one value, exact to the digit, and written one way in every format.

/// An id in the one way it is written, or why `text` is none.
///
/// A whole number that came as a decimal is that number, in a log as in titles: pandas makes `1.0` of `1` as soon as a column
/// lacks one value. Everything else stays as the file has it.
pub(crate) fn check(text: &str) -> Result<&str, String> {
    match text {
        _ if text.trim().is_empty() => Err("is empty".into()),
        _ if stands_for_nothing(text) => Err(format!("is \"{text}\", which stands for no id")),
        _ if is_nested(text) => {
            Err(format!("is {}, which is no single value", text.chars().take(40).collect::<String>()))
        }
        _ if is_rounded(text) => Err(format!("is {text}, which has lost digits; write ids as whole numbers or text")),
        _ => Ok(canonical(text)),
    }
}

/// `1.0` is `1`; what is no whole number with a zero fraction is itself.
pub(crate) fn canonical(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') && is_whole(whole) => whole,
        _ => text,
    }
}

/// The words by which databases, pandas and Python write that nothing is there.
fn stands_for_nothing(text: &str) -> bool {
    matches!(text, "null" | "NULL" | "Null" | "NaN" | "nan" | "None" | "\\N" | "<NA>" | "NaT")
}

/// A list, as in `['a', 'b']`, or an object that became text on its way.
fn is_nested(text: &str) -> bool {
    let within = |open, close| text.len() > 1 && text.starts_with(open) && text.ends_with(close);
    // A key in braces, as Windows writes it, is no object.
    within('[', ']') || (within('{', '}') && text.contains([':', '\'', '"']))
}

/// As in `1.8446744073709552e+19`: a float that a whole number was rounded to.
pub(crate) fn is_rounded(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let Some((whole, fraction)) = mantissa.split_once('.') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole.trim_start_matches('-')) && digits(fraction) && digits(exponent.trim_start_matches(['+', '-']))
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
    fn an_id_is_written_one_way() {
        for (text, id) in [
            ("1.0", "1"),
            ("-20.00", "-20"),
            ("0.0", "0"),
            ("18446744073709551617.0", "18446744073709551617"),
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
            "[a, b]",
            "[]",
            "{'id': 1}",
        ] {
            assert!(check(none).is_err(), "{none}");
        }
    }
}
