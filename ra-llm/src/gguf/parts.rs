//! Finds the files of a GGUF model: one, or parts whose names end in `-00001-of-00002.gguf`.
use crate::Result;
use ra_core::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files of the GGUF model that `path` is, or of the only one in the folder `path`, in order; `None` for a folder
/// without a GGUF model or with a model of another kind.
///
/// # Errors
/// Names the models to choose from, or the missing part.
pub(crate) fn find(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    if path.is_dir() {
        return if path.join("config.json").is_file() { Ok(None) } else { alone_in(path) };
    }
    if !has_ending(path) {
        // The content decides whether a file is a model; any other file is a mistake.
        let mut magic = [0; 4];
        let file = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        return match file {
            Ok(()) if &magic == b"GGUF" => Ok(Some(vec![path.into()])),
            Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(Error::io(path, "cannot read", e).into()),
            _ => Err(Error::corrupt(path, "not a GGUF file; for a Hugging Face model, use its folder").into()),
        };
    }
    let Some((stem, own, parts)) = place(path) else { return Ok(Some(vec![path.into()])) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for part in 1..=parts {
        let file = folder.join(format!("{stem}-{part:05}-of-{parts:05}.gguf"));
        // The given part may be spelled differently.
        let file = if part == own { path.to_path_buf() } else { file };
        if !file.is_file() {
            let problem = format!("part {part} of {parts} is missing; download all parts into one folder");
            return Err(Error::corrupt(file, problem).into());
        }
        files.push(file);
    }
    Ok(Some(files))
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
}

/// The only model in a folder.
fn alone_in(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "cannot read", e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|path| has_ending(path)).collect();
    files.sort();
    // The first part found stands for a model in parts.
    let whole = |file: &PathBuf| place(file).map_or_else(|| file.display().to_string(), |(stem, ..)| stem);
    files.dedup_by_key(|file| whole(file));
    match &files[..] {
        [] => Ok(None),
        [one] => find(one),
        _ => {
            let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
            Err(Error::corrupt(folder, format!("several GGUF models; choose one: {}", names.join(", "))).into())
        }
    }
}

/// The name without its numbering, the part's number (from 1), and the number of parts.
fn place(path: &Path) -> Option<(String, usize, usize)> {
    let (rest, parts) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let plain = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (part, parts): (usize, usize) = (number(part)?, number(parts)?);
    (1..=parts).contains(&part).then(|| (stem.to_string(), part, parts))
}
