//! Reports what is wrong with a model's tensors in one line.

/// A problem with the tensors of a file.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// A problem in its own words.
    Other(String),
    Missing(String),
    LeftOver(String),
}

/// The number of names shown for the first kind of misfit; every other kind shows one.
const SHOWN: usize = 3;
/// The longest name or word shown, in characters.
const LONGEST: usize = 120;

/// Lists all misfits in one line: three names of the first kind, one of each other kind, and the number of the rest.
pub(crate) fn one_line(misfits: &[Misfit]) -> String {
    let (mut told, mut missing, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for misfit in misfits {
        match misfit {
            Misfit::Other(words) => told.push(words.as_str()),
            Misfit::Missing(name) => missing.push(name.as_str()),
            Misfit::LeftOver(name) => left.push(name.as_str()),
        }
    }
    let kinds = [(told, "", ""), (missing, " is missing", " are missing"), (left, " is left over", " are left over")];
    let phrase = |(place, (names, one, many)): (usize, &(Vec<&str>, &str, &str))| {
        let shown = names.len().min(if place == 0 { SHOWN } else { 1 });
        let short = |name: &&str| name.chars().take(LONGEST).collect::<String>();
        let between = if many.is_empty() { "; " } else { ", " };
        let list = names[..shown].iter().map(short).collect::<Vec<_>>().join(between);
        let more = match names.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{list}{more}{}", if names.len() == 1 { one } else { many })
    };
    kinds.iter().filter(|(names, ..)| !names.is_empty()).enumerate().map(phrase).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_short_however_much_is_wrong() {
        let name = |at: usize| format!("encoder.layer.{at}.attention.output.LayerNorm.weight");
        let missing: Vec<Misfit> = (0..400).map(|at| Misfit::Missing(name(at))).collect();
        let left: Vec<Misfit> = (0..400).map(|at| Misfit::LeftOver(name(at))).collect();
        let line = one_line(&[missing, left].into_iter().flatten().collect::<Vec<_>>());
        assert!(line.len() < 300, "{line}");
        assert!(
            line.contains(" and 397 more are missing; ") && line.ends_with(" and 399 more are left over"),
            "{line}"
        );
        assert_eq!(
            one_line(&[Misfit::LeftOver("a".into()), Misfit::Missing("b".into())]),
            "b is missing; a is left over"
        );
    }
}
