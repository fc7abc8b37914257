//! Damaged files, which every reader of foreign files must survive.
use crate::SplitMix;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most memory, in bytes, that reading a file of a few kilobytes may take.
const LIMIT: u64 = 512 << 20;

/// The settings of a fuzz test.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The number of damaged files.
    pub cases: usize,
    /// The seed of the damage.
    pub seed: u64,
    /// Runs the closure and returns the most bytes that it held; 0 if nothing counts them. A test's allocator can count
    /// for its own thread. The system's figure covers the whole process, including all other tests, and never falls.
    pub held: fn(&mut dyn FnMut()) -> u64,
}

impl Trial {
    /// Creates a trial of `cases` cases from seed 1, or with `RA_REC_CASES` and `RA_REC_SEED` if `variable` returns
    /// them; a test passes its environment.
    pub fn new(cases: usize, variable: impl Fn(&str) -> Option<String>, held: fn(&mut dyn FnMut()) -> u64) -> Self {
        let number = |name: &str| variable(name).and_then(|value| value.parse::<u64>().ok());
        let cases = number("RA_REC_CASES").map_or(cases, |n| n as usize);
        Self { cases, seed: number("RA_REC_SEED").unwrap_or(1), held }
    }
}

/// Flips, sets, cuts, duplicates and overwrites a few bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut SplitMix) {
    const INTERESTING_BYTES: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\t', b'"', b'{', b'[', b'\'', b':'];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match (bytes.is_empty(), random.below(6)) {
            (true, _) => bytes.push(random.below(256) as u8),
            (_, 0) => bytes[at] ^= 1 << random.below(8),
            (_, 1) => bytes[at] = INTERESTING_BYTES[random.below(INTERESTING_BYTES.len())],
            (_, 2) => bytes.truncate(at),
            (_, 3) => bytes.insert(at, random.below(256) as u8),
            (_, 4) => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at..end].fill(INTERESTING_BYTES[random.below(INTERESTING_BYTES.len())]),
        }
    }
}

/// Passes damaged copies of `files` (name and content) to `read` and counts those that it accepts. A thousand cases
/// take a second.
///
/// # Panics
/// If `read` panics, holds half a GiB of memory, or accepts all files or none. The offending file is kept in the
/// system's temporary folder. A reader that does not return is not detected: the test does not return either.
pub fn fuzz_reader(files: &[(String, Vec<u8>)], trial: Trial, read: impl Fn(&str, &[u8]) -> bool) -> usize {
    let (mut random, mut taken) = (SplitMix::new(trial.seed), 0);
    for case in 0..trial.cases {
        let (name, content) = &files[case % files.len()];
        let mut bytes = content.clone();
        damage(&mut bytes, &mut random);
        let mut found = None;
        let held = (trial.held)(&mut || found = catch_unwind(AssertUnwindSafe(|| read(name, &bytes))).ok());
        let bad = match found {
            None => Some("panics".to_owned()),
            Some(_) if held > LIMIT => Some(format!("holds {} MiB", held >> 20)),
            Some(_) => None,
        };
        let kept = std::env::temp_dir().join(format!("damaged-{case}-{}", name.replace('/', "-")));
        if bad.is_some() {
            let _ = std::fs::write(&kept, &bytes);
        }
        let what = bad.unwrap_or_default();
        assert!(what.is_empty(), "case {case}, a damaged {name}: the reader {what}; see {}", kept.display());
        taken += usize::from(found.unwrap_or(false));
    }
    let cases = trial.cases;
    assert!(0 < taken && taken < cases, "the damage is always harmless or always fatal: {taken} of {cases} are read");
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(trial: Trial, read: fn(&str, &[u8]) -> bool) -> String {
        let files = [("seven".to_owned(), vec![7; 40])];
        match catch_unwind(|| fuzz_reader(&files, trial, read)) {
            Ok(taken) => format!("takes {taken}"),
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        }
    }

    /// Counts no memory.
    fn unweighed(read: &mut dyn FnMut()) -> u64 {
        read();
        0
    }

    #[test]
    fn a_reader_that_panics_or_takes_everything_or_holds_too_much_is_found_out() {
        let trial = Trial::new(200, |_| None, unweighed);
        assert!(told(trial, |_, bytes| bytes.first() == Some(&7)).starts_with("takes "));
        assert!(told(trial, |_, _| true).contains("always harmless"));
        assert!(told(trial, |_, bytes| bytes[30] == 7).contains("the reader panics"));
        let held = |read: &mut dyn FnMut()| {
            read();
            513 << 20
        };
        assert!(told(Trial { held, ..trial }, |_, bytes| bytes.first() == Some(&7)).contains("holds 513 MiB"));
    }

    #[test]
    fn a_test_passes_its_environment() {
        let variables = |name: &str| Some(if name == "RA_REC_CASES" { "7" } else { "9" }.to_owned());
        let trial = Trial::new(200, variables, unweighed);
        assert_eq!((trial.cases, trial.seed), (7, 9));
    }
}
