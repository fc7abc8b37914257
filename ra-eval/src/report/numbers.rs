//! Numbers formatted for readers.

/// Formats an integer in groups of three digits, such as `59,384`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a value with the number of users that it is a mean over, such as `0.1250 (59,384)`; a dash if there are none.
pub(crate) fn supported(found: Option<(f64, usize)>) -> String {
    found.map_or("-".into(), |(value, users)| format!("{value:.4} ({})", grouped(users)))
}

/// Formats a duration in seconds or minutes.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 999, 1000, 59384, 1234567].map(grouped), ["0", "12", "999", "1,000", "59,384", "1,234,567"]);
        assert_eq!([Some((0.125, 59384)), None].map(supported), ["0.1250 (59,384)", "-"]);
        assert_eq!([3.21, 119.96, 150.0].map(duration), ["3.2 s", "120.0 s", "2.5 min"]);
    }
}
