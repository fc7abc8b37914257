//! Reports tests that cannot check anything on this machine.
use std::io::Write;

/// Reports that `test` checked nothing on this machine, and why; the test then returns. The test harness counts it as
/// passed and hides its output, so this writes to the standard error stream directly, where whoever runs the tests can
/// count the lines that start with [`SKIPPED`].
pub fn skipped(test: &str, why: &str) {
    // In one write, so that parallel tests do not mix their lines. A closed stream is ignored.
    let _ = std::io::stderr().write_all(format!("{SKIPPED}{test}: {why}\n").as_bytes());
}

/// The prefix of a skipped test's line.
pub const SKIPPED: &str = "skipped: ";
