//! Tests with damaged packages: their contents are accepted or refused, and nothing is written outside the folder.
use super::wheel::{Registry, Wheel};
use ra_core::testkit::damage::{Trial, fuzz_reader};
use std::fs;
use std::io::Write;
use zip::write::SimpleFileOptions;

/// Returns a trial of a reader that counts its memory.
fn trial(cases: usize) -> Trial {
    Trial::new(cases, |name| std::env::var(name).ok(), |read| allocation_counter::measure(read).bytes_max)
}

const MEMBERS: [(&str, &[u8]); 3] =
    [("d/a.inter", b"user\titem\n1\t2\n"), ("d/a.item", b"item\n2\n"), ("d/other", b"x")];

fn package(registry: Registry) -> Wheel {
    let (bytes, unpacked) = (400, 100);
    Wheel {
        registry,
        package: "p",
        version: "1",
        sha256: "",
        bytes,
        unpacked,
        folder: "d/",
        files: &["a.inter", "a.item"],
        extras: &[],
    }
}

fn zipped(stored: bool) -> Vec<u8> {
    let method = if stored { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in MEMBERS {
        zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tarred() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in MEMBERS {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn damaged_packages_are_taken_or_refused_and_stay_in_their_folder() {
    let root = tempfile::tempdir().unwrap();
    let (file, place) = (root.path().join("package"), root.path().join("place"));
    let files = [("stored.whl", zipped(true)), ("packed.whl", zipped(false)), ("plain.tgz", tarred())];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes));
    fuzz_reader(&files, trial(3_000), |name, bytes| {
        let registry = if name.ends_with("tgz") { Registry::Npm } else { Registry::Pypi };
        // A tar is damaged before it is compressed: gzip's checksum detects any later damage.
        let bytes = match registry {
            Registry::Pypi | Registry::Home => bytes.to_vec(),
            Registry::Npm => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(bytes).unwrap();
                gzip.finish().unwrap()
            }
        };
        fs::write(&file, bytes).unwrap();
        let taken = package(registry).unpack(&file, &place.join("in")).is_ok();
        let names = |folder: &std::path::Path| fs::read_dir(folder).map_or(0, Iterator::count);
        assert!(names(root.path()) <= 2 && names(&place) <= 1 && names(&place.join("in")) <= 2);
        let size = |name: &str| fs::metadata(place.join("in").join(name)).map_or(0, |m| m.len());
        assert!(
            size("a.inter") + size("a.item") <= 101,
            "no more than was agreed, and one byte to see that it is more"
        );
        let _ = fs::remove_dir_all(&place);
        taken
    });
}
