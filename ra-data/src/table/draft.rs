//! An export in progress: its tables are written to a separate folder beside the result and moved into place at the
//! end.
use crate::table::cannot_write;
use crate::table::spill_folder::SpillFolder;
use crate::{DataConfig, DataError, Result, ingest};
use ra_core::OutputFolder;
use std::path::{Path, PathBuf};

pub(crate) const INTERACTIONS: &str = "interactions.parquet";
pub(crate) const ITEMS: &str = "items.parquet";
pub(crate) const SAMPLES: &str = "samples.parquet";

/// Replaces [`INTERACTIONS`] if the log is written in parts.
pub(crate) const PARTS: &str = "interactions";

/// The name of the kind of folder in its marker.
const KIND: &str = "export";

/// The form of the table of interactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One file.
    Whole,
    /// A folder of files.
    Parts,
}

/// Checks that an export of `config` into `folder`, in parts or as a whole, would not replace anybody else's files or
/// its own input; writes nothing.
///
/// # Errors
/// Names the file or folder in the way.
pub fn check_export(config: &DataConfig, in_parts: bool, folder: &Path) -> Result<()> {
    let form = if in_parts { Form::Parts } else { Form::Whole };
    checked(&ingest::files(config)?, form, folder).map(drop)
}

fn checked(inputs: &[PathBuf], form: Form, folder: &Path) -> Result<OutputFolder> {
    let out = OutputFolder::open(folder, KIND)?;
    let tables = [INTERACTIONS, ITEMS, SAMPLES];
    let mut outputs: Vec<PathBuf> = out.files().chain(tables).map(|name| folder.join(name)).collect();
    // A log that is read as a folder must not contain this export the next time it is read.
    outputs.push(folder.into());
    let parts = folder.join(PARTS);
    if form == Form::Parts {
        outputs.push(parts.clone());
    }
    ra_core::refuse_inputs(&outputs, inputs)?;
    let is_around = |input: &&PathBuf| {
        input.is_dir() && ra_core::refuse_inputs_within(input, std::slice::from_ref(&folder.to_path_buf())).is_err()
    };
    if let Some(input) = inputs.iter().find(is_around) {
        let problem = format!("lies in {}, a folder that is read; name another folder", input.display());
        return Err(DataError::corrupt(folder, problem));
    }
    out.check(&out.files().chain(tables).collect::<Vec<_>>())?;
    if form == Form::Parts {
        // A link is not followed.
        let entries = if parts.is_symlink() { None } else { parts.read_dir().ok() };
        match entries {
            Some(entries) => {
                let mut names =
                    entries.flatten().map(|entry| format!("{PARTS}/{}", entry.file_name().to_string_lossy()));
                names.try_for_each(|name| out.check(&[&name]))?;
            }
            None => out.check(&[PARTS])?,
        }
    }
    Ok(out)
}

/// An export that is not in place yet.
pub(crate) struct Draft {
    spill: SpillFolder,
    out: OutputFolder,
}

impl Draft {
    /// Starts an export of what was read from `inputs`. Writes only a temporary folder, which is removed with this
    /// value.
    pub(crate) fn begin(inputs: &[PathBuf], form: Form, folder: &Path) -> Result<Self> {
        let out = checked(inputs, form, folder)?;
        let spill = SpillFolder::within(folder)?;
        out.sweep()?;
        Ok(Self { spill, out })
    }

    /// Returns the folder to write its tables into, by name.
    pub(crate) fn path(&self) -> &Path {
        self.spill.path()
    }

    /// Moves the new tables into the place of an earlier export. All earlier files are first set aside, and deleted at
    /// the end. So a killed export never leaves interactions beside another table of items, and a failed one restores
    /// the earlier files.
    pub(crate) fn finish(mut self) -> Result<()> {
        let fail = |e| cannot_write(self.out.path(), e);
        let is_there = |name: &&str| self.spill.path().join(name).exists();
        let written: Vec<&str> = [ITEMS, SAMPLES, INTERACTIONS, PARTS].into_iter().filter(is_there).collect();
        let mut files: Vec<String> =
            written.iter().filter(|name| **name != PARTS).map(|&name| name.to_owned()).collect();
        if written.contains(&PARTS) {
            let entries = self.spill.path().join(PARTS).read_dir().map_err(fail)?.flatten();
            files.extend(entries.map(|entry| format!("{PARTS}/{}", entry.file_name().to_string_lossy())));
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let earlier: Vec<String> = self.out.files().map(str::to_owned).collect();
        self.out.check(&[earlier.iter().map(String::as_str).collect(), files.clone()].concat())?;
        self.out.claim(&files)?;
        let (folder, new) = (self.out.path().to_path_buf(), self.spill.path().to_path_buf());
        let aside = new.join("earlier");
        let mut moves: Vec<[PathBuf; 2]> = earlier.iter().map(|name| [folder.join(name), aside.join(name)]).collect();
        moves.retain(|[from, _]| from.symlink_metadata().is_ok());
        moves.extend(written.iter().map(|name| [new.join(name), folder.join(name)]));
        for (at, [from, to]) in moves.iter().enumerate() {
            if let Err(error) = moved(from, to, &folder) {
                let left = moves[..at].iter().rev().filter(|[from, to]| moved(to, from, &folder).is_err()).count();
                if left == 0 {
                    return Err(cannot_write(to, error).into());
                }
                self.spill.keep();
                let told =
                    format!("cannot write ({error}); the files of the earlier export are in {}", aside.display());
                return Err(ra_core::Error::corrupt(to, told).into());
            }
        }
        Ok(self.out.remove(|name| !files.contains(&name))?)
    }
}

/// Moves a file or folder, and removes the folder within `folder` that it leaves if that is then empty.
fn moved(from: &Path, to: &Path, folder: &Path) -> std::io::Result<()> {
    to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::rename(from, to)?;
    // A folder that is not empty stays.
    from.parent().filter(|parent| *parent != folder).map(std::fs::remove_dir);
    Ok(())
}

/// Claims the file `path` for an export.
pub(crate) fn claim(path: &Path, inputs: &[PathBuf]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut out = OutputFolder::open(folder, KIND)?;
    ra_core::refuse_inputs(&[path.into()], inputs)?;
    Ok(out.claim(&[&name])?)
}
