//! `cargo xtask gpu-kit`: a folder for a GPU machine that has neither cargo nor a network, and little time. Its script
//! `run.sh` does there what is worth knowing, most worthy first.
mod half;
mod program;

use super::gpu_check::tiny;
use crate::{fetch, machine};
use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use ra_core::{MARKER, OutputFolder, write_atomic};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kind of the folder in its marker.
const KIND: &str = "gpu kit";

const SCRIPT: &str = include_str!("run.sh");

/// The largest kit, which must travel with a machine's request.
const MAX_KIT: usize = 60 << 20;

/// The largest packed program, in MB.
const MAX_PROGRAM: f64 = 25.0;

/// Files of at least this size are packed.
const PACKED_FROM: usize = 256 << 10;

/// The data set and the model of the recipe `quickstart`.
const DATA: &str = "ml-100k";
const MODEL: &str = "minilm";

/// The arguments of the command line.
#[derive(Debug)]
pub(crate) struct KitArgs {
    /// The folder of the kit.
    pub(crate) to: PathBuf,
    /// The program with CUDA; it is built if there is none.
    pub(crate) binary: Option<PathBuf>,
    /// A program with WGPU; it is built if no path is given.
    pub(crate) wgpu: Option<Option<PathBuf>>,
    /// Whether the data set and the model stay outside.
    pub(crate) without_data: bool,
    /// Whether programs are built with cargo's release profile.
    pub(crate) release: bool,
}

/// The files of the kit by name, with `/` as separator.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the kit. The repository is `root`; data and models are below it.
///
/// # Errors
/// If the folder holds anything but a kit, if something is missing or cannot be built, or if the kit is too large.
pub(crate) fn gpu_kit(asked: &KitArgs, root: &Path) -> Result<()> {
    check_place(&asked.to)?;
    let mut files = Files::new();
    add_repository(&mut files, root)?;
    if asked.without_data {
        say!("gpu-kit: WITHOUT {DATA} and {MODEL}: the GPU machine will not run the quickstart");
    } else {
        add_data(&mut files, root)?;
        add_model(&mut files, root)?;
    }
    add_program(&mut files, "xtask", asked.binary.as_deref(), program::CUDA, asked.release, root)?;
    if let Some(given) = &asked.wgpu {
        add_program(&mut files, "xtask-wgpu", given.as_deref(), program::WGPU, asked.release, root)?;
    }
    let mut files = packed(files)?;
    check_size(&files)?;
    let sizes: BTreeMap<&String, usize> = files.iter().map(|(name, bytes)| (name, bytes.len())).collect();
    let about = json!({ "commit": machine::commit(root), "files": sizes });
    files.insert("kit.json".into(), serde_json::to_vec_pretty(&about)?);
    let whole: usize = files.values().map(Vec::len).sum();
    place(&asked.to, &files)?;
    say!("gpu-kit: {} files, {} in {}", files.len(), mib(whole), asked.to.display());
    say!("next: carry the folder to the GPU machine and call {}", asked.to.join("run.sh").display());
    say!("rehearse: KIT_BACKEND=cpu {}", asked.to.join("run.sh").display());
    Ok(())
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Adds what the repository has: golden cases, recipes, a tiny run, scripts, and the CPU's report of the quickstart.
fn add_repository(files: &mut Files, root: &Path) -> Result<()> {
    for folder in ["ra-llm/tests/golden", "ra-idmodels/tests/golden", "xtask/recipes"] {
        add_folder(files, &root.join(folder), folder)?;
    }
    for script in ["pytorch.py", "card.py"] {
        let name = format!("docs/lab/peers/{script}");
        files.insert(name.clone(), read(&root.join(name))?);
    }
    files.insert("expected/quickstart.json".into(), read(&root.join("docs/results/quickstart/report.json"))?);
    files.insert("run.sh".into(), SCRIPT.into());
    let folder = tempfile::tempdir()?;
    tiny::write(folder.path(), Path::new("tiny"), &root.join("ra-llm/tests/golden"))?;
    add_folder(files, folder.path(), "")
}

/// Returns the folder of a fetched data set or model.
fn fetched(name: &str, root: &Path) -> Result<PathBuf> {
    let entry =
        fetch::list().iter().find(|entry| entry.name == name).with_context(|| format!("unknown name {name}"))?;
    entry.available(root).with_context(|| {
        format!("{name} is not there: {}; or leave data and model out by --without-data", entry.advice())
    })
}

fn add_data(files: &mut Files, root: &Path) -> Result<()> {
    add_folder(files, &fetched(DATA, root)?, &format!("data/{DATA}"))
}

/// Adds the model with weights in `f16`. The record of its download stays behind: it names other weights.
fn add_model(files: &mut Files, root: &Path) -> Result<()> {
    let from = fetched(MODEL, root)?;
    let mut own = Files::new();
    add_folder(&mut own, &from, "")?;
    own.remove("source.json");
    let cannot = || format!("{}: its weights cannot be halved", from.display());
    let weights = own.get_mut("model.safetensors").with_context(cannot)?;
    *weights = half::halved(weights).with_context(cannot)?;
    half::check(&own).with_context(cannot)?;
    files.extend(own.into_iter().map(|(name, bytes)| (format!("models/{MODEL}/{name}"), bytes)));
    Ok(())
}

/// Adds a program as `bin/NAME`: the one that is `given`, or one that is built with a feature.
fn add_program(
    files: &mut Files,
    name: &str,
    given: Option<&Path>,
    build: program::Build,
    release: bool,
    root: &Path,
) -> Result<()> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => build.run(release, root)?,
    };
    files.insert(format!("bin/{name}"), program::stripped(&path)?);
    Ok(())
}

/// Adds the files below `from` whose names do not start with a dot.
fn add_folder(files: &mut Files, from: &Path, to: &str) -> Result<()> {
    let cannot = || format!("{}: cannot be read; call the command in a checkout of the project", from.display());
    for entry in from.read_dir().with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if to.is_empty() { own.clone() } else { format!("{to}/{own}") };
        if own.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            add_folder(files, &path, &name)?;
        } else {
            files.insert(name, read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    ra_core::read_bytes(path).with_context(|| format!("{}: is needed", path.display()))
}

/// Packs large files; `run.sh` unpacks them.
fn packed(files: Files) -> Result<Files> {
    let mut all = Files::new();
    for (name, bytes) in files {
        let is_program = name.starts_with("bin/");
        if bytes.len() < PACKED_FROM && !is_program {
            all.insert(name, bytes);
            continue;
        }
        let (ending, packed) = pack(&bytes).with_context(|| format!("{name} cannot be packed"))?;
        if is_program {
            let [whole, packed] = [bytes.len(), packed.len()].map(|size| size as f64 / 1e6);
            say!("gpu-kit: {name}: {whole:.1} MB, packed {packed:.1} MB");
            ensure!(
                packed <= MAX_PROGRAM,
                "{name}: the program is {packed:.1} MB packed, and a kit takes {MAX_PROGRAM} MB; build it without \
                 debug information or with fewer features, and name it by --binary"
            );
        }
        all.insert(format!("{name}.{ending}"), packed);
    }
    Ok(all)
}

/// Returns packed bytes and the ending of their file: by `xz`, which makes programs a third smaller than gzip does, or
/// by gzip on a machine without it.
fn pack(bytes: &[u8]) -> Result<(&'static str, Vec<u8>)> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    if let Ok(output) = Command::new("xz").args(["-9", "--stdout"]).arg(file.path()).output() {
        ensure!(output.status.success(), "xz: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        return Ok(("xz", output.stdout));
    }
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes)?;
    Ok(("gz", packer.finish()?))
}

/// Refuses a kit that is too large, and names its largest files.
fn check_size(files: &Files) -> Result<()> {
    let whole: usize = files.values().map(Vec::len).sum();
    if whole < MAX_KIT {
        return Ok(());
    }
    let mut sizes: Vec<(usize, &String)> = files.iter().map(|(name, bytes)| (bytes.len(), name)).collect();
    sizes.sort_by(|a, b| b.cmp(a));
    let largest: Vec<String> = sizes.iter().take(5).map(|(size, name)| format!("{name} {}", mib(*size))).collect();
    bail!(
        "the kit is {}, and it must stay below {}; its largest files: {}; leave out --wgpu, or data and model by \
         --without-data",
        mib(whole),
        mib(MAX_KIT),
        largest.join(", ")
    )
}

/// Checks that a kit may stand at `to`: nothing is there, or an empty folder, or a kit and nothing else.
fn check_place(to: &Path) -> Result<()> {
    if to.symlink_metadata().is_err() {
        return Ok(());
    }
    ensure!(!to.is_symlink(), "--to {}: is a link; name another folder", to.display());
    let old = OutputFolder::open(to, KIND)?;
    let mut here = Vec::new();
    names(to, "", &mut here)?;
    match here.iter().find(|name| *name != MARKER && !old.owns(name)) {
        Some(name) => bail!(
            "--to {}: holds {name}, which is no part of a kit; name another folder, or move it away",
            to.display()
        ),
        None => Ok(()),
    }
}

/// Lists all files below `folder`.
fn names(folder: &Path, within: &str, into: &mut Vec<String>) -> Result<()> {
    for entry in folder.read_dir().with_context(|| format!("{}: cannot be read", folder.display()))? {
        let entry = entry?;
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            names(&entry.path(), &format!("{name}/"), into)?;
        } else {
            into.push(name);
        }
    }
    Ok(())
}

/// Writes the files to a folder next to `to`, and renames it when all are there.
fn place(to: &Path, files: &Files) -> Result<()> {
    let to = std::path::absolute(to)?;
    let parent = to.parent().with_context(|| format!("--to {}: is not a folder with a name", to.display()))?;
    let cannot = || format!("{}: cannot be written (is the disk full or the folder read-only?)", to.display());
    fs::create_dir_all(parent).with_context(cannot)?;
    // It is removed if anything fails.
    let work = tempfile::Builder::new().prefix(".ra-rec-tmp-kit-").tempdir_in(parent).with_context(cannot)?;
    let mut folder = OutputFolder::open(work.path(), KIND)?;
    folder.claim(&files.keys().map(String::as_str).collect::<Vec<_>>())?;
    for (name, bytes) in files {
        write_atomic(&work.path().join(name), bytes)?;
    }
    open_to_all(work.path(), &["run.sh"]).with_context(cannot)?;
    // Somebody may have used the place meanwhile.
    check_place(&to)?;
    if to.exists() {
        let mut old = OutputFolder::open(&to, KIND)?;
        old.remove(|_| true)?;
        fs::remove_file(to.join(MARKER)).ok();
        fs::remove_dir(&to).with_context(cannot)?;
    }
    fs::rename(work.keep(), &to).with_context(cannot)
}

/// Gives the folder and its programs the usual permissions; a temporary folder is its owner's alone.
#[cfg(unix)]
fn open_to_all(folder: &Path, programs: &[&str]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let usual = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, usual.clone())?;
    programs.iter().try_for_each(|name| fs::set_permissions(folder.join(name), usual.clone()))
}

#[cfg(not(unix))]
fn open_to_all(_: &Path, _: &[&str]) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_that_is_too_large_names_its_largest_files() {
        let small = Files::from([("small".into(), vec![0; 10]), ("run.sh".into(), vec![0; 20])]);
        check_size(&small).unwrap();
        let large = Files::from([("small".into(), vec![0; 10]), ("models/large".into(), vec![0; MAX_KIT])]);
        let told = check_size(&large).unwrap_err().to_string();
        assert!(told.contains("60.0 MiB, and it must stay below 60.0 MiB"), "{told}");
        assert!(told.contains("largest files: models/large 60.0 MiB, small 0.0 MiB"), "{told}");
    }

    #[test]
    fn large_files_and_programs_are_packed() {
        let files = packed(Files::from([
            ("bin/xtask".into(), b"#!/bin/sh\n".to_vec()),
            ("data/log".into(), vec![7; PACKED_FROM]),
            ("run.sh".into(), b"echo".to_vec()),
        ]));
        let files = files.unwrap();
        // Without xz they are packed by gzip.
        let names: Vec<&str> = files.keys().map(|name| name.trim_end_matches(".xz").trim_end_matches(".gz")).collect();
        assert_eq!(names, ["bin/xtask", "data/log", "run.sh"]);
        assert!(!files.contains_key("bin/xtask") && !files.contains_key("data/log") && files.contains_key("run.sh"));
        assert!(files.iter().all(|(name, bytes)| name.starts_with("bin/") || bytes.len() < PACKED_FROM / 100));
    }

    #[test]
    fn a_kit_takes_the_place_of_a_kit_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("new/kit");
        let (first, second) = (
            Files::from([("a/one".into(), b"1".to_vec()), ("run.sh".into(), b"2".to_vec())]),
            Files::from([("run.sh".into(), b"3".to_vec())]),
        );
        place(&to, &first).unwrap();
        place(&to, &second).unwrap();
        assert!(!to.join("a").exists() && fs::read(to.join("run.sh")).unwrap() == b"3");
        // What somebody put into it is theirs, and so is what stands there without a marker.
        write_atomic(&to.join("out/all.json"), b"[]").unwrap();
        assert!(place(&to, &first).unwrap_err().to_string().contains("holds out/all.json"));
        let theirs = dir.path().join("theirs");
        write_atomic(&theirs.join("run.sh"), b"mine").unwrap();
        assert!(place(&theirs, &first).unwrap_err().to_string().contains("holds run.sh"));
        assert_eq!(fs::read(theirs.join("run.sh")).unwrap(), b"mine");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "nothing unfinished stays: {left:?}");
    }
}
