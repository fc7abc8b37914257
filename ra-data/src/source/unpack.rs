//! Decompresses gzip and Zstandard.
use flate2::bufread::GzDecoder;
use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// The largest window of the Zstandard format, as written by `zstd --long=31`.
const LARGEST_WINDOW: u32 = 31;

/// Reads the members of a gzip file one after the other. Zeros and white space after a member are padding, as left by
/// tapes, block devices and shells.
pub(crate) struct Gzip<R: BufRead> {
    /// The current member; `None` after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    pub(crate) fn new(bytes: R) -> Self {
        Self { member: Some(GzDecoder::new(bytes)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            match member.read(buffer)? {
                0 => {
                    self.member = self.member.take().map(GzDecoder::into_inner).map(next_member).transpose()?.flatten()
                }
                bytes => return Ok(bytes),
            }
        }
    }
}

/// Returns the member after the padding at the start of `bytes`.
fn next_member<R: BufRead>(mut bytes: R) -> Result<Option<GzDecoder<R>>> {
    loop {
        let ahead = bytes.fill_buf()?;
        let padding = ahead.iter().take_while(|byte| **byte == 0 || byte.is_ascii_whitespace()).count();
        match ahead.get(padding) {
            None if padding == 0 => return Ok(None),
            None => bytes.consume(padding),
            Some(0x1f) => {
                bytes.consume(padding);
                return Ok(Some(GzDecoder::new(bytes)));
            }
            Some(_) => return Err(Error::new(ErrorKind::InvalidData, "the data after the gzip member is not gzip")),
        }
    }
}

/// Reads the frames of a Zstandard file one after the other, with any window size.
pub(crate) fn zstandard(bytes: impl BufRead + 'static) -> Result<Box<dyn Read>> {
    let mut decoder = zstd::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    Ok(Box::new(decoder))
}
