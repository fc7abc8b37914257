//! Files over HTTP: resumed where they broke off, checked, and put in place whole.
use super::wheel::{hex, sha256, sync_folder};
use crate::store::lock::is_same_file;
use crate::terminal::progress::Bars;
use anyhow::{Context, Result, anyhow, bail};
use md5::{Digest, Md5};
use ra_core::Progress;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use ureq::http::{HeaderName, Response};
use ureq::{Agent, Body};

/// The ends of the names of a file that is still incomplete, and of the note which version of the file it is.
const PART: &str = ".ra-rec-part";
const VERSION: &str = ".ra-rec-part-of";

/// How long a server may take to answer, and to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest text that is read into memory, in bytes.
const LONGEST_TEXT: u64 = 64 << 20;

/// Files above this many bytes have a progress bar.
const SHOWN: u64 = 8 << 20;
const MB: u64 = 1_000_000;

/// No answer: the network, a name, a proxy or a certificate.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be reached ({why})")]
pub(super) struct Unreachable {
    place: String,
    why: String,
}

/// An answer other than success.
#[derive(Debug, thiserror::Error)]
#[error("the server answers {status} for {url}")]
pub(super) struct Refused {
    url: String,
    status: StatusCode,
    /// What a hub adds, such as `GatedRepo`.
    pub(super) code: String,
}

impl Refused {
    fn new(answer: &Response<Body>, url: &str) -> Self {
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        Self { url: url.into(), status: answer.status(), code: code.into() }
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

/// A published checksum in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sum {
    Sha256(String),
    Md5(String),
}

/// The token of a user, which no message shows.
#[derive(Clone)]
pub(super) struct Token(pub(super) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A file of a server.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) url: String,
    /// The name in messages.
    pub(super) name: String,
    /// The token of a user, for the host of the URL alone.
    pub(super) token: Option<Token>,
    /// The size and checksum, as far as they are known.
    pub(super) bytes: Option<u64>,
    pub(super) sum: Option<Sum>,
}

/// Returns the client of all downloads. A status such as 404 is an answer, not an error.
pub(super) fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // A `.gz` file is wanted as it is.
        .accept_encoding("identity")
        .user_agent(concat!("ra-rec/", env!("CARGO_PKG_VERSION")))
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE));
    config.build().into()
}

/// Asks for `url`, with the token of a user if there is one, and with more headers.
///
/// # Errors
/// [`Unreachable`] if there is no answer.
fn ask(agent: &Agent, url: &str, token: Option<&Token>, more: &[(&str, String)]) -> Result<Response<Body>> {
    let mut request = agent.get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.0));
    }
    for (name, value) in more {
        request = request.header(*name, value);
    }
    let place = url.split('/').take(3).collect::<Vec<_>>().join("/");
    request.call().map_err(|error| Unreachable { place, why: error.to_string() }.into())
}

/// Returns a short text of a server.
///
/// # Errors
/// [`Unreachable`], [`Refused`].
pub(super) fn text(agent: &Agent, url: &str, token: Option<&Token>) -> Result<String> {
    let mut answer = ask(agent, url, token, &[])?;
    if !answer.status().is_success() {
        return Err(Refused::new(&answer, url).into());
    }
    let body = answer.body_mut().with_config().limit(LONGEST_TEXT).read_to_string();
    body.with_context(|| format!("{url}: the answer broke off or is no text"))
}

impl Remote {
    /// Returns the names of all files that a download into a file called `name` writes.
    pub(super) fn files(name: &str) -> [String; 3] {
        ["", PART, VERSION].map(|end| format!("{name}{end}"))
    }

    /// Downloads the file to `to` unless it is there, and returns its SHA-256.
    ///
    /// What was received of it before is continued if the server still has the same version. Another process that
    /// downloads the same file is waited for.
    ///
    /// # Errors
    /// [`Unreachable`]; a status other than success; a file that broke off, is another one than published, or does not
    /// fit on the disk. What was received so far stays only if it can be continued.
    pub(super) fn download(&self, agent: &Agent, to: &Path) -> Result<String> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| unwritable(parent))?;
        }
        let Some(mut part) = Part::open(to)? else { return whole_sum(to) };
        if let Err(error) = self.receive(agent, &mut part) {
            part.forget_if_empty();
            return Err(error);
        }
        let found = self.check(&part)?;
        part.publish(to)?;
        Ok(found)
    }

    fn receive(&self, agent: &Agent, part: &mut Part) -> Result<()> {
        let (had, version) = part.held()?;
        let rest = [("range", format!("bytes={had}-")), ("if-range", version)];
        let answer = ask(agent, &self.url, self.token.as_ref(), if had > 0 { &rest } else { &[] })?;
        let noted = &rest[1].1;
        let at = match answer.status() {
            // Some servers ignore `if-range`.
            StatusCode::PARTIAL_CONTENT if !version_of(&answer).is_empty() && version_of(&answer) != *noted => {
                part.forget()?;
                bail!(
                    "{}: the file on the server is another one now (what was received is removed); try again",
                    self.name
                );
            }
            StatusCode::PARTIAL_CONTENT if starts_at(&answer, had) => had,
            StatusCode::OK => 0,
            // Nothing comes after what we have.
            StatusCode::RANGE_NOT_SATISFIABLE if self.bytes.or(size_of(&answer)) == Some(had) => return Ok(()),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.forget()?;
                bail!("{}: what was received is no part of the file any more (removed); try again", self.name);
            }
            _ => return Err(Refused::new(&answer, &self.url)).with_context(|| self.name.clone()),
        };
        if let Some(kind) = header(&answer, CONTENT_TYPE).filter(|kind| kind.starts_with("text/html")) {
            bail!(
                "{}: {} is a web page ({kind}), not the file; does a proxy or a login page answer? Open it in \
                 a browser",
                self.name,
                self.url
            );
        }
        part.begin(at, &version_of(&answer))?;
        let rest = answer.body().content_length();
        let total = self.bytes.or(rest.map(|rest| rest.saturating_add(at)));
        self.copy(answer, part, at, total)
    }

    /// Appends the body to the part, and checks that all of it came.
    fn copy(&self, answer: Response<Body>, part: &mut Part, at: u64, total: Option<u64>) -> Result<()> {
        let (mut body, mut chunk, mut done) = (answer.into_body().into_reader(), vec![0; 1 << 16], at);
        let bar = total.filter(|total| *total > SHOWN).map(|total| {
            let bar = Bars::new();
            bar.start(&format!("{}, MB", self.name), total / MB);
            bar
        });
        let broke = loop {
            match body.read(&mut chunk) {
                Ok(0) => break None,
                Ok(n) => {
                    part.file.write_all(&chunk[..n]).map_err(|error| self.unwritten(&error, part, total, done))?;
                    done += n as u64;
                    bar.iter().for_each(|bar| bar.update(done / MB, ""));
                    if total.is_some_and(|total| done > total) {
                        break None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error.to_string()),
            }
        };
        bar.iter().for_each(Bars::finish);
        part.file.sync_all().map_err(|error| self.unwritten(&error, part, total, done))?;
        let is_all = total.is_none_or(|total| done == total);
        if broke.is_none() && is_all {
            return Ok(());
        }
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        let why = broke.map_or_else(String::new, |why| format!(" ({why})"));
        if total.is_some_and(|total| done > total) {
            part.forget()?;
            bail!("{}: the server sent {done} bytes{of}: this is another file; try again", self.name);
        }
        let next = if part.version.is_empty() { "starts again" } else { "goes on from there" };
        bail!("{}: the download broke off after {done}{of} bytes{why}; the same command {next}", self.name)
    }

    fn unwritten(&self, error: &std::io::Error, part: &Part, total: Option<u64>, done: u64) -> anyhow::Error {
        let (name, path) = (&self.name, part.path.display());
        if error.kind() == ErrorKind::StorageFull {
            let more = total.map_or_else(String::new, |total| {
                format!(", {} MB more are needed", total.saturating_sub(done) / MB + 1)
            });
            return anyhow!("{name}: the disk is full ({path}){more}; free some and give the same command again");
        }
        anyhow!("{name}: cannot be written to {path}: {error}")
    }

    /// Checks the size and sum of a complete part, and removes it if it is not the published file.
    fn check(&self, part: &Part) -> Result<String> {
        let found = sha256(&part.path)?;
        let size = fs::metadata(&part.path)?.len();
        let wrong = match &self.sum {
            Some(Sum::Sha256(want)) if *want != found => Some(format!("sha256 {found}, expected {want}")),
            Some(Sum::Md5(want)) => {
                let md5 = md5(&part.path)?;
                (md5 != *want).then(|| format!("md5 {md5}, expected {want}"))
            }
            _ => None,
        };
        let wrong = wrong.or_else(|| {
            self.bytes.filter(|bytes| *bytes != size).map(|bytes| format!("{size} bytes, expected {bytes}"))
        });
        let Some(wrong) = wrong else { return Ok(found) };
        part.forget()?;
        bail!("{}: is not the published file: {wrong} ({size} bytes, removed); try again", self.name)
    }
}

/// A file that is being received, locked against other processes.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    /// Which version of the file it is, as the server says; empty if it does not.
    version: String,
}

impl Part {
    /// Opens the part of `to`; nothing if `to` is there.
    fn open(to: &Path) -> Result<Option<Self>> {
        let path = beside(to, PART);
        loop {
            if to.exists() {
                return Ok(None);
            }
            let options = OpenOptions::new().read(true).append(true).create(true).open(&path);
            let file = options.with_context(|| unwritable(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    tell!("{}: another process downloads this; waiting for it", to.display());
                    file.lock().with_context(|| unwritable(&path))?;
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| unwritable(&path)),
            }
            // Whoever held the lock may have put the file in place, or removed it, and another may have made a new one.
            if is_same_file(&file, &path) && !to.exists() {
                return Ok(Some(Self { path, file, version: String::new() }));
            }
        }
    }

    /// Returns how much of which version is there. Without a version it cannot be continued.
    fn held(&self) -> Result<(u64, String)> {
        let version = fs::read_to_string(self.note()).unwrap_or_default();
        let length = self.file.metadata()?.len();
        Ok(if version.is_empty() { (0, version) } else { (length, version) })
    }

    /// Prepares for bytes from `at` on.
    fn begin(&mut self, at: u64, version: &str) -> Result<()> {
        self.file.set_len(at)?;
        version.clone_into(&mut self.version);
        ra_core::write_atomic(&self.note(), version.as_bytes())?;
        Ok(())
    }

    /// Removes what was received.
    fn forget(&self) -> Result<()> {
        let _ = fs::remove_file(self.note());
        fs::remove_file(&self.path).with_context(|| format!("{}: cannot be removed", self.path.display()))
    }

    fn forget_if_empty(&self) {
        if self.file.metadata().is_ok_and(|own| own.len() == 0) {
            // The next attempt finds the same.
            let _ = self.forget();
        }
    }

    fn publish(self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).with_context(|| unwritable(to))?;
        let _ = fs::remove_file(self.note());
        to.parent().into_iter().for_each(sync_folder);
        ra_core::point(format_args!("received {}", to.file_name().unwrap_or_default().display()));
        Ok(())
    }

    fn note(&self) -> PathBuf {
        let name = self.path.to_string_lossy();
        PathBuf::from(format!("{}{VERSION}", name.strip_suffix(PART).unwrap_or(&name)))
    }
}

fn whole_sum(file: &Path) -> Result<String> {
    sha256(file).with_context(|| format!("{}: cannot be read", file.display()))
}

fn beside(to: &Path, end: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn unwritable(path: &Path) -> String {
    format!("{}: cannot write (is the disk full or the folder read-only?)", path.display())
}

fn header(answer: &Response<Body>, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Returns the words of a server for the version of a file. A weak tag does not promise the same bytes.
fn version_of(answer: &Response<Body>) -> String {
    let tag = header(answer, ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| header(answer, LAST_MODIFIED)).unwrap_or_default().to_owned()
}

/// Returns whether a partial answer begins at byte `at`.
fn starts_at(answer: &Response<Body>, at: u64) -> bool {
    let range = header(answer, CONTENT_RANGE).unwrap_or_default();
    range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok()) == Some(at)
}

/// Returns the size of the file that a refusal of a range names.
fn size_of(answer: &Response<Body>) -> Option<u64> {
    header(answer, CONTENT_RANGE)?.strip_prefix("bytes */")?.parse().ok()
}

fn md5(file: &Path) -> Result<String> {
    let (mut file, mut hash, mut chunk) = (File::open(file)?, Md5::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&chunk[..n]),
        }
    }
}

/// Returns the MD5 of bytes, for tests.
#[cfg(test)]
pub(super) fn md5_of(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}
