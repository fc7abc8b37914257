//! Quotes in comma-separated text that never close, or that the quote of a later field closes.
use std::io::{Read, Result};

/// Passes quoted text on to a reader that takes everything after an unclosed quote for one field, and tracks the
/// quotes.
#[derive(Debug)]
pub(crate) struct Quotes<R> {
    bytes: R,
    separator: u8,
    state: State,
    /// The line of the next byte, counted from 1.
    line: usize,
    /// The line of the last quote that opened a field.
    opened: usize,
    last: u8,
    ended: bool,
    /// The lines of the first quoted field that spans several lines and is followed by more text.
    stray: Option<(usize, usize)>,
    /// Whether the first line ends with a carriage return and a line feed.
    is_crlf: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a field.
    Start,
    Bare,
    Quoted,
    /// After a quote in a quoted field.
    Closing,
}

impl<R: Read> Quotes<R> {
    pub(crate) fn new(bytes: R, separator: u8) -> Self {
        let (state, last) = (State::Start, b'\n');
        Self { bytes, separator, state, line: 1, opened: 0, last, ended: false, stray: None, is_crlf: None }
    }

    /// At the end of the text, returns the line of a quote that never closes, and the number of whole lines lost in its
    /// field.
    pub(crate) fn unclosed(&self) -> Option<(usize, usize)> {
        let lines = self.line - usize::from(self.last == b'\n');
        (self.ended && self.state == State::Quoted).then(|| (self.opened, lines - self.opened))
    }

    /// Returns the lines where the first quoted field opens and closes that seems to be closed by the quote of another
    /// row.
    pub(crate) fn stray(&self) -> Option<(usize, usize)> {
        self.stray
    }

    /// Returns whether lines end as Windows writes them, judged by the first.
    pub(crate) fn is_crlf(&self) -> bool {
        self.is_crlf == Some(true)
    }

    fn follow(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        if self.is_crlf.is_none()
            && let Some(at) = bytes.iter().position(|byte| *byte == b'\n')
        {
            let before = at.checked_sub(1).map_or(self.last, |at| bytes[at]);
            self.is_crlf = Some(before == b'\r');
        }
        self.last = last;
        if self.state != State::Closing && !bytes.contains(&b'"') {
            self.line += bytes.iter().filter(|byte| **byte == b'\n').count();
            if self.state != State::Quoted {
                self.state = if self.ends_field(last) { State::Start } else { State::Bare };
            }
            return;
        }
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Start, b'"') => {
                    self.opened = self.line;
                    State::Quoted
                }
                (State::Quoted, b'"') => State::Closing,
                (State::Quoted, _) | (State::Closing, b'"') => State::Quoted,
                _ if self.ends_field(byte) => State::Start,
                (State::Closing, _) => {
                    if self.line > self.opened {
                        self.stray.get_or_insert((self.opened, self.line));
                    }
                    State::Bare
                }
                _ => State::Bare,
            };
            self.line += usize::from(byte == b'\n');
        }
    }

    fn ends_field(&self, byte: u8) -> bool {
        byte == self.separator || byte == b'\n' || byte == b'\r'
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        self.follow(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_quote_is_found_where_it_opens() {
        for (text, unclosed, stray) in [
            ("a,b\n1,\"x\ny\"\n", None, None),
            ("a,b\n1,\"x \"\"y\"\"\"\n2,5\" disk\n", None, None),
            ("a,b\n1,\"x\n2,y\n3,z\n", Some((2, 2)), None),
            ("a,b\n1,\"x\n2,y\n3,z", Some((2, 2)), None),
            ("a,b\n1,x\n2,\"y\n", Some((3, 0)), None),
            ("a,b\n1,\"x\n2,y\n3,\"z\"\n4,z\n", None, Some((2, 4))),
            ("a,b\n1,\"x\n2,\"\"\n3,y\n", Some((2, 2)), None),
        ] {
            // In one piece and byte by byte.
            for size in [text.len(), 1] {
                let mut quotes = Quotes::new(text.as_bytes(), b',');
                let mut piece = vec![0; size];
                while quotes.read(&mut piece).unwrap() > 0 {}
                assert_eq!((quotes.unclosed(), quotes.stray()), (unclosed, stray), "{text:?}");
            }
        }
    }
}
