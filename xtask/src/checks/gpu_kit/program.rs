//! The program of a kit: built for a back end, and without symbols.
use crate::checks::ci;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build of this program for another back end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Build {
    feature: &'static str,
    /// Whether the package with an LLVM bundle is replaced by the one in the repository.
    without_llvm: bool,
}

pub(super) const CUDA: Build = Build { feature: "cuda-nvrtc", without_llvm: true };
pub(super) const WGPU: Build = Build { feature: "wgpu", without_llvm: false };

/// The stand-in for `cubecl-llvm`.
const STAND_IN: &str = "docs/air-gapped/cubecl-llvm";

/// The version of CUDA whose functions the program may call, unless the environment names another: any later driver has
/// them. Where there is no CUDA, the build would choose the latest.
const CUDA_VERSION: (&str, &str) = ("CUDARC_CUDA_VERSION", "13000");

/// The first bytes of a program of Linux.
const ELF: &[u8] = b"\x7fELF";

impl Build {
    /// Builds the program from the sources in `root` and returns its path.
    ///
    /// A patch makes cargo rewrite the lock file, so the build has a workspace of its own: links to the sources, and a
    /// copy of the lock file. Whatever happens to the build, that of the repository stays as it is.
    ///
    /// # Errors
    /// If a source is missing or the build fails.
    pub(super) fn run(self, release: bool, root: &Path) -> Result<PathBuf> {
        let target = ci::target()?;
        let workspace = target.join("gpu-kit");
        link_sources(root, &workspace)?;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--package", "xtask", "--bin", "xtask", "--features", self.feature]);
        cargo.arg("--manifest-path").arg(workspace.join("Cargo.toml")).arg("--target-dir").arg(&target);
        if release {
            cargo.arg("--release");
        }
        if self.without_llvm {
            let path = toml::Value::String(root.join(STAND_IN).canonicalize()?.to_string_lossy().into_owned());
            cargo.arg("--config").arg(format!("patch.crates-io.cubecl-llvm.path={path}"));
            let (name, version) = CUDA_VERSION;
            cargo.env(name, std::env::var_os(name).unwrap_or_else(|| version.into()));
        }
        say!("gpu-kit: build with {}; the first time takes many minutes ..", self.feature);
        let status = cargo.current_dir(root).status().context("cargo cannot be started; name a program by --binary")?;
        ensure!(status.success(), "cargo build --features {}: {status}", self.feature);
        Ok(target.join(if release { "release" } else { "debug" }).join("xtask"))
    }
}

/// Makes `workspace` a folder of links to the sources in `root`, with a lock file of its own.
fn link_sources(root: &Path, workspace: &Path) -> Result<()> {
    let cannot = || format!("{}: cannot be written (is the disk full or the folder read-only?)", workspace.display());
    let root = root.canonicalize().with_context(|| format!("{}: is not a folder", root.display()))?;
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .with_context(|| format!("{}: is no checkout of the project; call the command there", root.display()))?
        .parse()?;
    let members = manifest.get("workspace").and_then(|table| table.get("members")).and_then(toml::Value::as_array);
    let members = members.with_context(|| format!("{}: has no members", root.join("Cargo.toml").display()))?;
    fs::create_dir_all(workspace).with_context(cannot)?;
    for name in members.iter().filter_map(toml::Value::as_str).chain(["Cargo.toml"]) {
        let link = workspace.join(name);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(cannot)?;
        }
        symlink(&root.join(name), &link).with_context(cannot)?;
    }
    fs::copy(root.join("Cargo.lock"), workspace.join("Cargo.lock")).with_context(cannot)?;
    Ok(())
}

#[cfg(unix)]
fn symlink(to: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::Error::other("links need a Unix system; name a program by --binary"))
}

/// Returns the program without symbols, if the machine has `strip`.
///
/// # Errors
/// If it is neither a program of Linux nor a script.
pub(super) fn stripped(path: &Path) -> Result<Vec<u8>> {
    let whole = fs::read(path).with_context(|| format!("--binary {}: cannot be read", path.display()))?;
    if whole.starts_with(b"#!") {
        return Ok(whole);
    }
    if !whole.starts_with(ELF) {
        bail!("--binary {}: is neither a program of Linux nor a script", path.display());
    }
    let folder = tempfile::tempdir()?;
    let without = folder.path().join("program");
    match Command::new("strip").arg("-o").arg(&without).arg(path).status() {
        Ok(status) if status.success() => Ok(fs::read(&without)?),
        Ok(status) => {
            say!("gpu-kit: {} keeps its symbols: strip: {status}", path.display());
            Ok(whole)
        }
        Err(error) => {
            say!("gpu-kit: {} keeps its symbols: strip cannot be started: {error}", path.display());
            Ok(whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_build_has_the_sources_and_a_lock_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (root, workspace) = (dir.path().join("root"), dir.path().join("target/gpu-kit"));
        fs::create_dir_all(root.join("one/src")).unwrap();
        fs::write(root.join("Cargo.toml"), "[workspace]\nmembers = [\"one\"]\n").unwrap();
        fs::write(root.join("Cargo.lock"), "locked").unwrap();
        fs::write(root.join("one/src/lib.rs"), "").unwrap();
        for _ in 0..2 {
            link_sources(&root, &workspace).unwrap();
            assert!(workspace.join("one/src/lib.rs").exists());
            assert_eq!(fs::read_to_string(workspace.join("Cargo.lock")).unwrap(), "locked");
            fs::write(workspace.join("Cargo.lock"), "patched").unwrap();
        }
        assert_eq!(fs::read_to_string(root.join("Cargo.lock")).unwrap(), "locked");
        let told = format!("{:#}", link_sources(&dir.path().join("target"), &workspace).unwrap_err());
        assert!(told.contains("no checkout of the project"), "{told}");
    }

    #[test]
    fn a_program_is_one_of_linux_or_a_script() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(stripped(&path).unwrap(), b"#!/bin/sh\n");
        fs::write(&path, "text").unwrap();
        assert!(stripped(&path).unwrap_err().to_string().contains("neither a program of Linux nor a script"));
        assert!(stripped(&dir.path().join("absent")).unwrap_err().to_string().contains("absent: cannot be read"));
    }
}
