//! An export replaces what an earlier export wrote, and no other files.
use super::{LOG, TITLES, config, write};
use ra_data::{
    CurateConfig, CurateMethod, DataConfig, check_export, prepare, samples_to_parquet, to_parquet, to_parquet_within,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MEMORY: usize = 1 << 22;

/// Returns every file below a folder.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => files.extend(snapshot(&path)),
            path => drop(files.insert(path.clone(), std::fs::read(path).unwrap())),
        }
    }
    files
}

fn names(folder: &Path) -> Vec<String> {
    snapshot(folder).keys().map(|path| path.strip_prefix(folder).unwrap().display().to_string()).collect()
}

/// Returns the errors of a refused export, in memory and within a bound. Checking beforehand gives the same error, and
/// nothing is written.
fn refused(config: &DataConfig, within: &Path, out: &Path) -> [String; 2] {
    let before = snapshot(within);
    let whole = to_parquet(&prepare("log", config).unwrap(), out).unwrap_err().to_string();
    assert_eq!(check_export(config, false, out).unwrap_err().to_string(), whole);
    let parts = to_parquet_within("log", config, None, MEMORY, out).unwrap_err().to_string();
    assert_eq!(snapshot(within), before, "{whole}; {parts}");
    [whole, parts]
}

#[test]
fn an_output_among_the_inputs_is_refused_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (first, parts) = (dir.join("first"), dir.join("parts"));
    to_parquet(&prepare("log", &config(write(dir, "l.tsv", LOG), Some(write(dir, "t.tsv", TITLES)))).unwrap(), &first)
        .unwrap();
    let (log, titles) = (first.join("interactions.parquet"), first.join("items.parquet"));
    let again = config(log.clone(), Some(titles));
    let around = dir.join("parts/../first");
    std::fs::create_dir(&parts).unwrap();
    for out in [&first, &around] {
        refused(&again, dir, out).iter().for_each(|told| assert!(told.contains("is also an input"), "{told}"));
    }
    // A folder or a pattern stands for all of its files.
    let folder = config(first.join("inter*.parquet"), None);
    assert!(refused(&folder, dir, &first)[0].contains("interactions.parquet"));
    write(&parts, "part-0.tsv", LOG);
    assert!(refused(&config(parts.clone(), None), dir, &parts)[0].contains("parts"));
    #[cfg(unix)]
    {
        let (link, twin) = (dir.join("link"), dir.join("twin"));
        std::os::unix::fs::symlink(&first, &link).unwrap();
        refused(&again, dir, &link);
        std::fs::create_dir(&twin).unwrap();
        std::fs::hard_link(&log, twin.join("interactions.parquet")).unwrap();
        refused(&again, dir, &twin);
        // A link in place of our folder belongs to somebody else.
        let linked = dir.join("linked");
        std::fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(&parts, linked.join("interactions")).unwrap();
        let before = snapshot(&parts);
        assert!(to_parquet_within("log", &again, None, MEMORY, &linked).is_err());
        assert_eq!(snapshot(&parts), before);
    }
    for told in refused(&config(parts.clone(), None), dir, &parts.join("day=1")) {
        assert!(told.contains("a folder that is read"), "{told}");
    }
    // The log's own folder `interactions` is where the parts would be written.
    let raw = dir.join("raw");
    std::fs::create_dir_all(raw.join("interactions")).unwrap();
    write(&raw.join("interactions"), "part-0.tsv", LOG);
    let before = snapshot(dir);
    let told = to_parquet_within("log", &config(raw.join("interactions"), None), None, MEMORY, &raw).unwrap_err();
    assert!(told.to_string().contains("is also an input"), "{told}");
    assert_eq!(snapshot(dir), before);
}

#[test]
fn what_another_has_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = config(write(dir, "l.tsv", LOG), None);
    for name in ["interactions.parquet", "items.parquet", "samples.parquet", "interactions", ".ra-rec.json"] {
        let out = dir.join(format!("with {name}"));
        std::fs::create_dir(&out).unwrap();
        write(&out, name, "mine");
        let before = snapshot(&out);
        let told = to_parquet_within("log", &data, None, MEMORY, &out).unwrap_err().to_string();
        assert!(told.contains(name), "{told}");
        assert_eq!(snapshot(&out), before);
    }
    let out = dir.join("folder");
    std::fs::create_dir_all(out.join("interactions")).unwrap();
    write(&out.join("interactions"), "emails.csv", "mine");
    let told = to_parquet_within("log", &data, None, MEMORY, &out).unwrap_err().to_string();
    assert!(told.contains("emails.csv") && told.contains("was not written by this command"), "{told}");
    assert_eq!(names(&out), ["interactions/emails.csv"]);
    let file = write(dir, "a-file", "mine");
    refused(&data, dir, &file).iter().for_each(|told| assert!(told.contains("is a file, not a folder"), "{told}"));

    // Names that look like ours, and are not.
    let out = dir.join("notes");
    for theirs in [".tmp-keep", ".ra-rec-tmp-keep", ".partitions-mine/x", ".ra-rec-spill-mine/x", "notes.md"] {
        let path = out.join(theirs);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "mine").unwrap();
    }
    let before = snapshot(&out);
    to_parquet_within("log", &data, None, MEMORY, &out).unwrap();
    let after = snapshot(&out);
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "{:?}", names(&out));
}

#[test]
fn an_export_takes_the_place_of_an_earlier_one_of_any_form() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (data, out) = (config(write(dir, "l.tsv", LOG), None), dir.join("out"));
    let prepared = prepare("log", &data).unwrap();
    let random = CurateConfig { method: CurateMethod::Random, ..CurateConfig::default() };
    let whole = || {
        to_parquet(&prepared, &out).unwrap();
        let samples = ra_data::curate(&prepared.dataset, &random, 50, 1).unwrap().samples;
        samples_to_parquet(&prepared, &samples, 50, &out.join("samples.parquet")).unwrap();
    };
    whole();
    assert_eq!(names(&out), [".ra-rec.json", "interactions.parquet", "items.parquet", "samples.parquet"]);
    write(&out, "notes.md", "mine");
    to_parquet_within("log", &data, None, MEMORY, &out).unwrap();
    assert_eq!(names(&out), [".ra-rec.json", "interactions/part-00000.parquet", "items.parquet", "notes.md"]);
    whole();
    assert_eq!(names(&out), [".ra-rec.json", "interactions.parquet", "items.parquet", "notes.md", "samples.parquet"]);
    to_parquet(&prepared, &out).unwrap();
    assert_eq!(names(&out), [".ra-rec.json", "interactions.parquet", "items.parquet", "notes.md"]);
}

#[test]
fn what_a_killed_export_left_goes_and_one_at_work_is_let_work() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (data, out) = (config(write(dir, "l.tsv", LOG), None), dir.join("out"));
    to_parquet_within("log", &data, None, MEMORY, &out).unwrap();
    // What a killed export leaves: a folder with our marker, a lock that nobody holds, and tables.
    let left = out.join(".ra-rec-spill-left");
    std::fs::create_dir(&left).unwrap();
    write(&left, ".ra-rec.json", r#"{"made_by":"ra-rec","kind":"spill","files":[]}"#);
    let lock = write(&left, "lock", "");
    write(&left, "items0", "x");
    write(&out, ".ra-rec-tmp-left", "x");
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let told = to_parquet_within("log", &data, None, MEMORY, &out).unwrap_err().to_string();
    assert!(told.contains("another export writes here") && left.exists(), "{told}");
    drop(held);
    to_parquet(&prepare("log", &data).unwrap(), &out).unwrap();
    assert_eq!(names(&out), [".ra-rec.json", "interactions.parquet", "items.parquet"]);
    // Killed between two renames: the marker lists the missing file, and the next export is complete.
    std::fs::remove_file(out.join("interactions.parquet")).unwrap();
    to_parquet_within("log", &data, None, MEMORY, &out).unwrap();
    assert_eq!(names(&out), [".ra-rec.json", "interactions/part-00000.parquet", "items.parquet"]);
}

#[test]
fn a_relative_folder_is_a_folder() {
    // In the crate's own folder, where tests run, because the path is relative.
    let dir = tempfile::tempdir_in(".").unwrap();
    let out = PathBuf::from(dir.path().file_name().unwrap()).join("out");
    let data = config(write(dir.path(), "l.tsv", LOG), None);
    to_parquet_within("log", &data, None, MEMORY, &out).unwrap();
    to_parquet(&prepare("log", &data).unwrap(), &out).unwrap();
    assert_eq!(names(&out), [".ra-rec.json", "interactions.parquet", "items.parquet"]);
}
