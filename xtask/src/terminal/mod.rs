//! All terminal output, written in one place.
//!
//! A reader may go away, as in `cargo xtask run quickstart 2>&1 | head`; that neither panics nor ends a training. Any
//! other write error, such as a full disk behind `>`, is remembered until the command ends, so that a training finishes
//! first and the loss is still reported.
use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;

/// Prints a line of the answer to stdout.
macro_rules! say {
    ($($text:tt)*) => { crate::terminal::answer(format_args!($($text)*)) };
}

/// Prints a line that is not part of the answer to stderr: progress and errors.
macro_rules! tell {
    ($($text:tt)*) => { crate::terminal::remark(format_args!($($text)*)) };
}

pub(crate) mod progress;
pub(crate) mod table;

/// The reason for the first lost line of the answer. A process has one stdout, and so one such reason.
static LOST: OnceLock<String> = OnceLock::new();

pub(crate) fn answer(line: Arguments<'_>) {
    note(writeln!(io::stdout().lock(), "{}", harmless(&line.to_string())));
}

pub(crate) fn remark(line: Arguments<'_>) {
    // Nobody is left to report a failure to.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(&line.to_string()));
}

/// Returns why the answer is incomplete, after all of it was printed; nothing if it is complete or its reader left.
pub(crate) fn lost() -> Option<&'static str> {
    note(io::stdout().lock().flush());
    LOST.get().map(String::as_str)
}

/// Remembers a failed write, unless its reader has gone.
pub(crate) fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        // Only the first reason counts.
        let _ = LOST.set(error.to_string());
    }
}

/// The output for warnings, a writer that never fails, because a logger cannot handle a failure.
#[derive(Debug)]
pub(crate) struct Warnings;

impl Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().lock().flush();
        Ok(())
    }
}

/// Returns the name of the running program for messages: `ra-rec` or `cargo xtask`.
pub(crate) fn program() -> &'static str {
    let own = std::env::current_exe().ok();
    match own.as_deref().and_then(|path| path.file_stem()).is_some_and(|name| name == "xtask") {
        true => "cargo xtask",
        false => "ra-rec",
    }
}

/// Returns a path as a shell reads it: in quotes if it has blanks or other special characters.
pub(crate) fn argument(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Returns text from data, such as a title, on one line and harmless to the terminal: control characters, line breaks
/// and marks that change the writing direction become `\u001b`.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, is_control)
}

/// Does the same for whole lines and keeps the line breaks.
fn harmless(lines: &str) -> String {
    escaped(lines, |c| is_control(c) && c != '\n' && c != '\t')
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escapes(c) {
            // The same escapes as in JSON, so that JSON stays valid.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns an error and its causes in one line, without causes that an earlier message already contains.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    words(&told)
}

/// Returns text on one line, with a single space between words.
pub(crate) fn words(text: &impl Display) -> String {
    printable(&text.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_data_holds_has_no_power_over_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[2J\u{7}b\nc\u{9b}d\u{202e}e\0"),
            "a\\u001b[2J\\u0007b\\u000ac\\u009bd\\u202ee\\u0000"
        );
        assert_eq!(printable("红 😀\u{200d} ñ"), "红 😀\u{200d} ñ", "letters of any script are themselves");
        assert_eq!(harmless("a\tb\nc\r"), "a\tb\nc\\u000d");
        let json = format!("{{\"title\": \"{}\"}}", harmless("x\u{9b}y"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["title"], "x\u{9b}y");
    }

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        for (path, told) in [("a/bün.2", "a/bün.2"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$x", "'$x'")] {
            assert_eq!(argument(Path::new(path)), told);
        }
    }

    #[test]
    fn an_error_is_told_once_and_in_one_line() {
        let source = io::Error::other("no such\n file");
        let error = ra_core::Error::io("a.tsv", "cannot read", source);
        let error = anyhow::Error::new(error).context("recipe r");
        assert_eq!(one_line(&error), "recipe r: a.tsv: cannot read: no such file");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_loss() {
        note(Err(ErrorKind::BrokenPipe.into()));
        assert_eq!(LOST.get(), None);
    }
}
