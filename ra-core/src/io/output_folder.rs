//! Tracks which files we may replace or remove: those that a marker file next to them lists, and no others.
//!
//! A name proves nothing: anybody may have a `manifest.json`, an `interactions/` or a `.tmp`. Every folder that we
//! write into therefore holds a marker, [`MARKER`], with its author, the kind of output and the files put there. A file
//! is listed before it is written, so the files of a killed process are known as well.
use crate::{Error, Result, is_unfinished, read_json, write_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The file that marks a folder as ours.
pub const MARKER: &str = ".ra-rec.json";

const MADE_BY: &str = "ra-rec";

/// The content of [`MARKER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    made_by: String,
    kind: String,
    /// Paths relative to the folder, with `/` as separator.
    files: BTreeSet<String>,
}

/// An output folder and the set of its files that are ours.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    marker: Marker,
}

impl OutputFolder {
    /// Opens `path` as a folder for output of this `kind`, such as `run` or `export`. It writes nothing yet, and the
    /// folder need not exist.
    ///
    /// # Errors
    /// If `path` is not a folder, or its marker is not one of ours or is of another kind of output.
    pub fn open(path: &Path, kind: &str) -> Result<Self> {
        let fresh = Marker { made_by: MADE_BY.into(), kind: kind.into(), files: BTreeSet::new() };
        if path.exists() && !path.is_dir() {
            return Err(Error::corrupt(path, "is a file, not a folder; choose another output folder"));
        }
        let file = path.join(MARKER);
        if !file.exists() {
            return Ok(Self { path: path.into(), marker: fresh });
        }
        let marker: Marker = read_json(&file)?;
        if marker.made_by != MADE_BY {
            return Err(Error::corrupt(file, "not a marker of ours; choose another output folder"));
        }
        let is_inside = |name: &String| {
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        };
        if let Some(name) = marker.files.iter().find(|name| !is_inside(name)) {
            return Err(Error::corrupt(
                file,
                format!("lists {name:?}, which is not inside its folder; remove this file"),
            ));
        }
        if marker.kind != kind {
            let problem =
                format!("holds the output of another command ({}, not {kind}); choose another folder", marker.kind);
            return Err(Error::corrupt(path, problem));
        }
        Ok(Self { path: path.into(), marker })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder had a marker of ours, or something was claimed since.
    pub fn is_ours(&self) -> bool {
        !self.marker.files.is_empty() || self.path.join(MARKER).exists()
    }

    /// Whether the file `name` (relative to the folder, with `/` as separator) is ours.
    pub fn owns(&self, name: &str) -> bool {
        self.marker.files.contains(name)
    }

    /// The names of all files that are ours, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.marker.files.iter().map(String::as_str)
    }

    /// Checks that writing `names` would not overwrite anything that is not ours; writes nothing.
    ///
    /// # Errors
    /// Names the first file or folder in the way.
    pub fn check(&self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| self.refuse_links(name))?;
        let in_the_way = |name: &&&str| !self.owns(name) && self.path.join(name).symlink_metadata().is_ok();
        match names.iter().find(in_the_way) {
            Some(name) => Err(Error::corrupt(
                self.path.join(name),
                "is there already and was not written by this command; move it away, or choose another folder",
            )),
            None => Ok(()),
        }
    }

    /// Rejects a file behind a link: it is in another folder, whatever the marker lists.
    fn refuse_links(&self, name: &str) -> Result<()> {
        let file = self.path.join(name);
        let mut parents = file.ancestors().skip(1).take_while(|parent| *parent != self.path);
        match parents.find(|parent| parent.is_symlink()) {
            Some(link) => {
                Err(Error::corrupt(link, "is a link to another folder; remove the link, or choose another folder"))
            }
            None => Ok(()),
        }
    }

    /// Makes `names` ours, after a [`check`](Self::check): they may be written, replaced and removed from now on.
    ///
    /// # Errors
    /// Names the file that is not ours to replace, or the marker that cannot be written.
    pub fn claim(&mut self, names: &[&str]) -> Result<()> {
        self.check(names)?;
        if self.is_ours() && names.iter().all(|name| self.owns(name)) {
            return Ok(());
        }
        self.marker.files.extend(names.iter().map(|&name| name.to_owned()));
        write_json(&self.path.join(MARKER), &self.marker)
    }

    /// Removes those of our files that `unwanted` selects, and the folders that become empty. Files that are not ours
    /// stay.
    ///
    /// # Errors
    /// Names the file that cannot be removed.
    pub fn remove(&mut self, unwanted: impl Fn(&str) -> bool) -> Result<()> {
        self.files().filter(|name| unwanted(name)).try_for_each(|name| self.refuse_links(name))?;
        let (gone, kept): (BTreeSet<String>, BTreeSet<String>) =
            std::mem::take(&mut self.marker.files).into_iter().partition(|name| unwanted(name));
        self.marker.files = kept;
        for name in &gone {
            let file = self.path.join(name);
            if file.symlink_metadata().is_ok() {
                std::fs::remove_file(&file).map_err(|e| Error::io(&file, "cannot remove", e))?;
            }
            // A folder that still holds files of others stays.
            let parents = file.ancestors().skip(1).take_while(|parent| *parent != self.path);
            parents.take_while(|parent| std::fs::remove_dir(parent).is_ok()).for_each(drop);
        }
        if gone.is_empty() { Ok(()) } else { write_json(&self.path.join(MARKER), &self.marker) }
    }

    /// Removes the temporary files that our interrupted writes left here and in the folders of our files.
    ///
    /// # Errors
    /// Names the file that cannot be removed.
    pub fn sweep(&self) -> Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let own = self.files().filter(|name| self.refuse_links(name).is_ok());
        let parents = own.filter_map(|name| self.path.join(name).parent().map(Path::to_path_buf));
        let folders: BTreeSet<PathBuf> = parents.chain([self.path.clone()]).collect();
        for entry in folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
            if is_unfinished(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), "cannot remove", e))?;
            }
        }
        Ok(())
    }
}

/// Returns an error if any of `outputs` is one of `inputs` under any name: through links, `..` or another path to the
/// folder.
///
/// # Errors
/// Names the output.
pub fn refuse_inputs(outputs: &[PathBuf], inputs: &[PathBuf]) -> Result<()> {
    let known: Vec<Identity> = inputs.iter().filter_map(|path| Identity::of(path)).collect();
    match outputs.iter().find(|path| Identity::of(path).is_some_and(|own| known.iter().any(|input| own.is(input)))) {
        Some(path) => Err(Error::corrupt(path, "is also an input; choose another output folder")),
        None => Ok(()),
    }
}

/// Returns an error if any of `inputs` is `folder` or lies in it, because inputs would then lie among the outputs. For
/// a pattern or a file that does not exist, the nearest existing folder counts.
///
/// # Errors
/// Names the input and the folder.
pub fn refuse_inputs_within(folder: &Path, inputs: &[PathBuf]) -> Result<()> {
    let Ok(place) = folder.canonicalize() else { return Ok(()) };
    let lies_within = |input: &&PathBuf| nearest_existing(input).is_some_and(|path| path.starts_with(&place));
    match inputs.iter().find(lies_within) {
        Some(input) => Err(Error::corrupt(
            input,
            format!("is an input inside the output folder {}; choose another output folder", folder.display()),
        )),
        None => Ok(()),
    }
}

/// Returns where a path leads without links, or the nearest folder above it that exists.
pub fn nearest_existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

/// The file that a path leads to.
struct Identity {
    path: PathBuf,
    /// Device and inode number, if the system has them: a file may have several names.
    #[cfg(unix)]
    file: (u64, u64),
}

impl Identity {
    /// The identity of an existing file or folder.
    fn of(path: &Path) -> Option<Self> {
        Some(Self {
            path: path.canonicalize().ok()?,
            #[cfg(unix)]
            file: {
                use std::os::unix::fs::MetadataExt;
                let found = path.metadata().ok()?;
                (found.dev(), found.ino())
            },
        })
    }

    fn is(&self, other: &Self) -> bool {
        #[cfg(unix)]
        if self.file == other.file {
            return true;
        }
        self.path == other.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_atomic;

    #[test]
    fn only_what_was_claimed_is_replaced_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        write_atomic(&file("manifest.json"), b"{\"name\":\"my app\"}").unwrap();
        write_atomic(&file("parts/notes.md"), b"mine").unwrap();
        let mut folder = OutputFolder::open(dir.path(), "run").unwrap();
        let error = folder.claim(&["report.json", "manifest.json"]).unwrap_err().to_string();
        assert!(error.contains("manifest.json: is there already"), "{error}");
        assert!(!folder.is_ours() && !file(MARKER).exists());

        folder.claim(&["report.json", "parts/one", "parts/two", "more/three"]).unwrap();
        for name in ["report.json", "parts/one", "more/three"] {
            write_atomic(&file(name), b"ours").unwrap();
        }
        let mut folder = OutputFolder::open(dir.path(), "run").unwrap();
        assert!(folder.is_ours() && folder.owns("parts/two") && !folder.owns("parts/notes.md"));
        folder.remove(|name| name != "report.json").unwrap();
        assert_eq!(folder.files().collect::<Vec<_>>(), ["report.json"]);
        assert!(!file("parts/one").exists() && !file("more").exists());
        assert!(file("parts/notes.md").exists() && file("manifest.json").exists() && file("report.json").exists());
    }

    #[test]
    fn a_marker_is_believed_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            write_atomic(&dir.path().join(MARKER), text.as_bytes()).unwrap();
            OutputFolder::open(dir.path(), "run").unwrap_err().to_string()
        };
        assert!(told("{\"name\": 1}").contains(MARKER));
        assert!(told(r#"{"made_by":"me","kind":"run","files":[]}"#).contains("not a marker of ours"));
        assert!(told(r#"{"made_by":"ra-rec","kind":"export","files":[]}"#).contains("another command (export"));
        assert!(told(r#"{"made_by":"ra-rec","kind":"run","files":["../a"]}"#).contains("not inside its folder"));
        let file = dir.path().join("a-file");
        write_atomic(&file, b"").unwrap();
        assert!(OutputFolder::open(&file, "run").unwrap_err().to_string().contains("is a file, not a folder"));
    }

    #[test]
    fn leftovers_are_swept_where_the_folder_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (left, theirs) = (dir.path().join(".ra-rec-tmp-x"), dir.path().join(".tmp-keep"));
        let make = || [&left, &theirs].map(|path| std::fs::write(path, b"").unwrap());
        make();
        let mut folder = OutputFolder::open(dir.path(), "run").unwrap();
        folder.sweep().unwrap();
        assert!(left.exists());
        folder.claim(&["a"]).unwrap();
        folder.sweep().unwrap();
        assert!(!left.exists() && theirs.exists());
    }

    #[test]
    fn an_input_within_the_folder_for_the_output_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (out, log) = (dir.path().join("out"), dir.path().join("out/logs/log.tsv"));
        write_atomic(&log, b"").unwrap();
        let refused = |folder: &Path, input: &Path| refuse_inputs_within(folder, &[input.to_path_buf()]).is_err();
        for input in
            [log.clone(), out.join("logs"), out.clone(), out.join("logs/*.tsv"), out.join("logs/../absent.tsv")]
        {
            assert!(refused(&out, &input), "{input:?}");
        }
        for folder in ["new", "out/new", "out/logs/new"] {
            assert!(!refused(&dir.path().join(folder), &log), "{folder}");
        }
        assert!(refused(dir.path(), &log) && !refused(&out, &dir.path().join("log.tsv")));
    }

    #[cfg(unix)]
    #[test]
    fn what_lies_behind_a_link_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let mut folder = OutputFolder::open(&ours, "export").unwrap();
        folder.claim(&["parts/one"]).unwrap();
        write_atomic(&theirs.join("one"), b"mine").unwrap();
        std::os::unix::fs::symlink(&theirs, ours.join("parts")).unwrap();
        for done in [folder.check(&["parts/one"]), folder.claim(&["parts/two"]), folder.remove(|_| true)] {
            assert!(done.unwrap_err().to_string().contains("parts: is a link to another folder"));
        }
        assert!(theirs.join("one").exists() && folder.owns("parts/one"));
    }

    #[cfg(unix)]
    #[test]
    fn an_input_is_known_by_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let (log, link, twin) = (dir.path().join("log"), dir.path().join("link"), dir.path().join("twin"));
        std::fs::write(&log, b"").unwrap();
        std::os::unix::fs::symlink(&log, &link).unwrap();
        std::fs::hard_link(&log, &twin).unwrap();
        let around = dir.path().join(".").join("..").join(dir.path().file_name().unwrap()).join("log");
        for output in [log.clone(), link, twin, around] {
            assert!(refuse_inputs(std::slice::from_ref(&output), std::slice::from_ref(&log)).is_err(), "{output:?}");
        }
        assert!(refuse_inputs(&[dir.path().join("other")], &[log]).is_ok());
    }
}
