//! The words of a title.
use std::collections::BTreeSet;

/// Words that say nothing about an item.
pub(crate) const STOP: [&str; 14] =
    ["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"];

/// Returns the set of words of `title`: lower case, split at everything but letters and digits, without one-character
/// words and [`STOP`] words. `strip_years` drops years as in "Heat (1995)", which would make any two films of the same
/// year look alike.
pub(crate) fn words(title: &str, strip_years: bool) -> BTreeSet<String> {
    let title = title.to_lowercase();
    let title = if strip_years { without_years(&title) } else { title };
    let is_word = |word: &&str| word.chars().nth(1).is_some() && !STOP.contains(word);
    title.split(|c: char| !c.is_alphanumeric()).filter(is_word).map(str::to_owned).collect()
}

/// Returns `text` with every "(1800)" to "(2099)" replaced by a space.
fn without_years(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('(') {
        out.push_str(before);
        let year =
            after.get(..4).and_then(|digits| digits.parse::<u16>().ok()).is_some_and(|y| (1800..2100).contains(&y));
        if year && after[4..].starts_with(')') {
            out.push(' ');
            rest = &after[5..];
        } else {
            out.push('(');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(title: &str, strip_years: bool, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|&w| w.to_owned()).collect();
        assert_eq!(words(title, strip_years), expected, "{title}");
    }

    #[test]
    fn titles_become_sets_of_words() {
        check("The iron world: iron, A river's Co.", true, &["iron", "world", "river", "co"]);
        check("Été ÜBER naïve/DVD", true, &["été", "über", "naïve", "dvd"]);
        check("東京 物語", true, &["東京", "物語"]);
        check("", true, &[]);
        check("of the", true, &[]);
    }

    #[test]
    fn only_years_in_parentheses_are_stripped() {
        check("Heat (1995)", true, &["heat"]);
        check("Heat (1995)", false, &["heat", "1995"]);
        check("1984 (Special) (1984) (19é5) (", true, &["1984", "special", "19é5"]);
        check("Pack (1500) (+195)", true, &["pack", "1500", "195"]);
    }
}
