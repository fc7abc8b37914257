//! Identifies a file by its first bytes, whatever its name says.

/// The content that the first bytes reveal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Gzip,
    Zstandard,
    Parquet,
    /// Arrow files, of the file or the stream format.
    Arrow,
    /// The pointer file that `git clone` leaves without git-lfs.
    LfsPointer,
    /// An unsupported file: what it is, and what to do.
    Foreign(&'static str),
    /// Text, or an unknown format.
    Other,
}

/// The number of first bytes needed to tell the contents apart.
pub(crate) const NEEDED: usize = 512;

/// The first bytes of unsupported files.
const FOREIGN: [(&[u8], &str); 17] = [
    (b"PK\x03\x04", "a zip archive or an Excel file; unpack it, or save the sheet as csv"),
    (b"\xfd7zXZ\0", "compressed with xz, which is not supported; decompress it with `unxz`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!\x1a\x07", "a rar archive; unpack it"),
    (b"\x04\x22\x4d\x18", "compressed with lz4, which is not supported; decompress it with `unlz4`"),
    (b"\x1f\x9d", "compressed with compress, which is not supported; decompress it with `uncompress`"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy, which is not supported; decompress it"),
    (b"SQLite format 3\0", "an SQLite database; export the table as csv"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; write the table as Parquet or csv"),
    (b"\x93NUMPY", "a NumPy array; write the table as Parquet or csv"),
    (b"Obj\x01", "an Avro file; write it as Parquet"),
    (b"%PDF-", "a PDF"),
    (b"\0\x05\x16\x07", "macOS metadata, not the file itself; name the file without `._`"),
    (b"\x80\x04\x95", "a Python pickle; write the table as Parquet or csv"),
    (b"\x80\x05\x95", "a Python pickle; write the table as Parquet or csv"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file; save the sheet as csv"),
    (b"{\\rtf", "a text processor's document; save it as plain text"),
];

/// First bytes that a header in plain text may share.
const FOREIGN_LETTERS: [(&[u8], &str); 3] = [
    (b"ORC", "an ORC file; write it as Parquet"),
    (b"PARE", "an encrypted Parquet file; write it without encryption"),
    (b"FEA1", "a Feather file of version 1; write it as version 2 or as Parquet"),
];

/// Identifies the content of a file that begins with `head`, of which [`NEEDED`] bytes are enough.
pub(crate) fn content(head: &[u8]) -> Content {
    match head {
        [] => Content::Nothing,
        [0x1f, 0x8b, ..] => Content::Gzip,
        // A frame, or a skippable frame as at the start of seekable files.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Content::Zstandard,
        [b'P', b'A', b'R', b'1', ..] if !is_text(head) => Content::Parquet,
        [b'A', b'R', b'R', b'O', b'W', b'1', 0, ..] | [0xff, 0xff, 0xff, 0xff, ..] => Content::Arrow,
        _ if ra_core::lfs_pointer(head) => Content::LfsPointer,
        _ => foreign(head).map_or(Content::Other, Content::Foreign),
    }
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    if let Some((_, told)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(told);
    }
    if head.starts_with(b"BZh") && matches!(head.get(4..10), Some(b"1AY&SY" | b"\x17rE8P\x90")) {
        return Some("compressed with bzip2, which is not supported; decompress it with `bunzip2`");
    }
    if let Some((_, told)) = FOREIGN_LETTERS.iter().find(|(magic, _)| head.starts_with(magic) && !is_text(head)) {
        return Some(told);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it");
    }
    let text = head.trim_ascii_start();
    let begins = |tag: &str| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
    if ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| begins(tag)) {
        return Some("an HTML page, perhaps from a refused download; fetch the file again");
    }
    if begins("<?xml") {
        return Some("XML, which is not supported; write the table as csv, jsonl or Parquet");
    }
    ra_core::other_encoding(head)
}

/// Returns whether `head` is readable text, without control characters.
pub(crate) fn is_text(head: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    !head.is_empty() && !head.iter().take(NEEDED).any(is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_are() {
        for (head, told) in [
            (b"".to_vec(), Content::Nothing),
            (b"user,item\n".to_vec(), Content::Other),
            (b"PAR1,BZh,ARROW1\n".to_vec(), Content::Other),
            (b"ARROW1,item\n".to_vec(), Content::Other),
            (b"BZh_user,item\n".to_vec(), Content::Other),
            (b"PARENT_ASIN,USER_ID\n".to_vec(), Content::Other),
            (b"ORCID,item\n".to_vec(), Content::Other),
            ("käufer,item\n".as_bytes().to_vec(), Content::Other),
            (b"\x1f\x8b\x08".to_vec(), Content::Gzip),
            (b"\x28\xb5\x2f\xfd\0".to_vec(), Content::Zstandard),
            (b"PAR1\x15\0".to_vec(), Content::Parquet),
            (b"ARROW1\0\0".to_vec(), Content::Arrow),
            (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), Content::LfsPointer),
        ] {
            assert_eq!(content(&head), told, "{head:?}");
        }
        for (head, told) in [
            (&b"PK\x03\x04"[..], "zip"),
            (b"BZh91AY&SY", "bzip2"),
            (b"\n<!DOCTYPE html>", "HTML"),
            (b"ORC\x11\0", "ORC"),
            (b"\xff\xfeu\0", "UTF-16"),
            (b"\xd0\xcf\x11\xe0\xa1", "old Excel"),
        ] {
            assert!(matches!(content(head), Content::Foreign(what) if what.contains(told)), "{told}");
        }
        assert!(is_text(b"a\tb\r\n") && !is_text(b"a\0b") && !is_text(b""));
    }
}
