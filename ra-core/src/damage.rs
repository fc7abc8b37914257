//! Damaged files: what every reader of files that others made must bear.
use crate::{SplitMix, peak_mib};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest time that one file of a few kilobytes may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that no file of a few kilobytes may ask for, in MiB.
const LIMIT: u64 = 512;

/// Flips, sets, cuts, doubles and overwrites a few bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut SplitMix) {
    const TELLING: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\t', b'"', b'{', b'[', b'\'', b':'];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match (bytes.is_empty(), random.below(6)) {
            (true, _) => bytes.push(random.below(256) as u8),
            (_, 0) => bytes[at] ^= 1 << random.below(8),
            (_, 1) => bytes[at] = TELLING[random.below(TELLING.len())],
            (_, 2) => bytes.truncate(at),
            (_, 3) => bytes.insert(at, random.below(256) as u8),
            (_, 4) => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at..end].fill(TELLING[random.below(TELLING.len())]),
        }
    }
}

/// Gives `read` damaged copies of `files`, name and content, and counts those it takes. A test of a thousand cases costs a
/// second; `RA_REC_CASES` and `RA_REC_SEED` ask for more and for others.
///
/// # Panics
/// When `read` panics, takes ten seconds over a file, asks for half a GiB of memory, or takes all files or none. The file
/// is then left in the system's temporary folder.
pub fn check_reader(files: &[(String, Vec<u8>)], cases: usize, read: impl Fn(&str, &[u8]) -> bool) -> usize {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let cases = number("RA_REC_CASES").map_or(cases, |n| n as usize);
    let peak = || peak_mib().unwrap_or(0);
    let (mut random, before, mut taken) = (SplitMix::new(number("RA_REC_SEED").unwrap_or(1)), peak(), 0);
    for case in 0..cases {
        let (name, content) = &files[case % files.len()];
        let mut bytes = content.clone();
        damage(&mut bytes, &mut random);
        let since = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| read(name, &bytes)));
        let bad = match found {
            Err(_) => Some("panics".to_owned()),
            Ok(_) if since.elapsed() > PATIENCE => Some(format!("takes {:?}", since.elapsed())),
            Ok(_) if peak() > before + LIMIT => Some(format!("asks for {} MiB", peak() - before)),
            Ok(_) => None,
        };
        let kept = std::env::temp_dir().join(format!("damaged-{case}-{}", name.replace('/', "-")));
        if bad.is_some() {
            let _ = std::fs::write(&kept, &bytes);
        }
        let what = bad.unwrap_or_default();
        assert!(what.is_empty(), "case {case}, a damaged {name}: the reader {what}; see {}", kept.display());
        taken += usize::from(found.unwrap_or(false));
    }
    assert!(0 < taken && taken < cases, "the damage is all harmless or all fatal: {taken} of {cases} files were read");
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_or_takes_everything_is_found_out() {
        let files = [("seven".to_owned(), vec![7; 40])];
        assert!(check_reader(&files, 200, |_, bytes| bytes.first() == Some(&7)) > 0);
        assert!(catch_unwind(|| check_reader(&files, 200, |_, _| true)).is_err());
        let fragile = |_: &str, bytes: &[u8]| bytes[30] == 7;
        let told = catch_unwind(|| check_reader(&files, 200, fragile)).unwrap_err();
        assert!(told.downcast_ref::<String>().is_some_and(|told| told.contains("the reader panics")));
    }
}
