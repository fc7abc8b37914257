//! Text files as people save them: UTF-8 with or without a byte order mark; other encodings are recognised by their
//! first bytes.
use crate::{Error, Result, lfs_pointer, lfs_pointer_error, read_bytes};
use std::path::Path;

/// The byte order mark that some programs write before UTF-8 text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The number of bytes that suffices to tell encodings apart.
const NEEDED: usize = 512;

const UTF_16: &str = "UTF-16 text; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8 OLD > NEW`)";
const UTF_16_LITTLE: &str = "UTF-16 text (little endian); save it as UTF-8 (`iconv -f UTF-16LE -t UTF-8 OLD > NEW`)";
const UTF_16_BIG: &str = "UTF-16 text (big endian); save it as UTF-8 (`iconv -f UTF-16BE -t UTF-8 OLD > NEW`)";
const UTF_32: &str = "UTF-32 text; save it as UTF-8 (`iconv -f UTF-32 -t UTF-8 OLD > NEW`)";

/// The encoding of text that starts with `head`, and what to do, if it is UTF-16 or UTF-32, with or without a mark.
pub fn other_encoding(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some(UTF_32),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some(UTF_16),
        _ => {}
    }
    // In UTF-16, every second byte of plain letters is 0.
    let pairs = head[..head.len().min(NEEDED)].as_chunks::<2>().0;
    let share = |at: usize| pairs.iter().filter(|pair| pair[at] == 0 && pair[1 - at] != 0).count();
    match (pairs.len(), share(0), share(1)) {
        (0..4, ..) => None,
        (all, big, 0) if big * 10 > all * 7 => Some(UTF_16_BIG),
        (all, 0, little) if little * 10 > all * 7 => Some(UTF_16_LITTLE),
        _ => None,
    }
}

/// Reads a UTF-8 text file, without its byte order mark.
///
/// # Errors
/// Names the path; identifies Git LFS pointers and [other encodings](other_encoding).
pub fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = read_bytes(path)?;
    if lfs_pointer(&bytes) {
        return Err(lfs_pointer_error(path));
    }
    if let Some(told) = other_encoding(&bytes) {
        return Err(Error::corrupt(path, told));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_by_its_first_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let letters = "user,item,ts\n";
        let wide = |bytes: fn(u16) -> [u8; 2]| letters.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for (bytes, told) in [
            (letters.as_bytes().to_vec(), None),
            ("käufer,商品\n".as_bytes().to_vec(), None),
            (b"{}".to_vec(), None),
            ([&b"\xff\xfe"[..], &wide(u16::to_le_bytes)].concat(), Some("UTF-16 -t")),
            (wide(u16::to_le_bytes), Some("UTF-16LE -t")),
            (wide(u16::to_be_bytes), Some("UTF-16BE -t")),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), Some("UTF-32 -t")),
            (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), Some("Git LFS")),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            match (read_text(&path), told) {
                (Ok(read), None) => assert_eq!(read, bytes),
                (Err(error), Some(told)) => assert!(error.to_string().contains(told), "{error}"),
                (found, _) => panic!("{found:?} of {bytes:?}"),
            }
        }
        std::fs::write(&path, [BYTE_ORDER_MARK, b"a"].concat()).unwrap();
        assert_eq!(read_text(&path).unwrap(), b"a");
    }
}
