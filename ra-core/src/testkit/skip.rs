//! Tests that cannot check anything on this machine say so.
use std::io::Write;

/// Says that `test` has checked nothing on this machine, and why; the test then returns. The test harness counts it
/// among those that passed and hides what a test prints, so this goes to the error stream itself, where whoever runs the
/// tests can count the lines that start with [`SKIPPED`].
pub fn skipped(test: &str, why: &str) {
    // In one piece, so that tests side by side do not mix their lines. Where nobody listens there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("{SKIPPED}{test}: {why}\n").as_bytes());
}

/// What the line of a skipped test starts with.
pub const SKIPPED: &str = "skipped: ";
