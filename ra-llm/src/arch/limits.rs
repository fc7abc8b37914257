//! Reports what this crate does not support, in one sentence.

/// An epsilon that would break norms, for [`unsupported`].
pub(crate) fn bad_epsilon(key: &str, epsilon: f64) -> (bool, String) {
    (!(0.0..1.0).contains(&epsilon), format!("{key} {epsilon} (it must be from 0 up to, not including, 1)"))
}

/// Returns an error that lists all requested settings that are not supported.
pub(crate) fn unsupported(asked: &[(bool, String)]) -> Result<(), String> {
    let asked: Vec<&str> = asked.iter().filter(|(found, _)| *found).map(|(_, what)| what.as_str()).collect();
    if asked.is_empty() { Ok(()) } else { Err(format!("not supported: {}", asked.join("; "))) }
}
