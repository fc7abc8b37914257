//! A server on loopback for tests: files, a hub, and everything that goes wrong between.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A request: the path with its query, and the headers by their names in small letters.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ends after this many bytes of the body.
    pub(crate) cut: usize,
}

impl Answer {
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body: body.into(), cut: usize::MAX }
    }

    pub(crate) fn file(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "application/octet-stream", body)
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        let answer = Self::new(status, "application/json", "{}");
        if code.is_empty() { answer } else { answer.with("x-error-code", code) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the rest of the file that is asked for, as servers do that know ranges.
    pub(crate) fn ranged(self, asked: &Asked, version: &str) -> Self {
        let own = self.with("etag", version);
        let start = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let is_same = asked.headers.get("if-range").is_none_or(|wanted| wanted == version);
        let (Some(start), true, size) = (start.and_then(|start| start.parse::<usize>().ok()), is_same, own.body.len())
        else {
            return own;
        };
        if start >= size {
            return Self::error(416, "");
        }
        let range = format!("bytes {start}-{}/{size}", size - 1);
        Self { status: 206, body: own.body[start..].to_vec(), ..own }.with("content-range", range)
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers every request by `answer`, each on a connection of its own, until the process ends.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                let answer = answer(&request);
                // The next request does not wait for the end of this one.
                std::thread::spawn(move || write(stream, &answer));
            }
        });
        Self { url, asked }
    }

    /// Returns what was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the last parts of the files that were asked for since the last call.
    pub(crate) fn files(&self) -> Vec<String> {
        let file = |asked: &Asked| Some(asked.path.split_once("/resolve/")?.1.split_once('/')?.1.to_owned());
        self.asked().iter().filter_map(file).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    Some(Asked { path, headers })
}

fn write(mut stream: TcpStream, answer: &Answer) {
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    answer.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let body = &answer.body[..answer.body.len().min(answer.cut)];
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // The other side may still be reading.
    let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(200)));
    let _ = stream.read(&mut [0; 64]);
}

/// The models of a hub: for each commit the files, and where the branches are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Models {
    pub(crate) repo: &'static str,
    pub(crate) branches: BTreeMap<String, String>,
    pub(crate) commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What stands in for the file of this name.
    pub(crate) instead: BTreeMap<String, Answer>,
    /// Whether the listing leaves out sizes and hashes, as some mirrors do.
    pub(crate) is_terse: bool,
}

impl Models {
    /// Returns the hash of the commit with this number.
    pub(crate) fn commit(number: u8) -> String {
        format!("{number:x}").repeat(40)[..40].to_owned()
    }

    /// Adds a commit with `files`, and moves `main` to it.
    pub(crate) fn push(&mut self, number: u8, files: &[(&str, &[u8])]) {
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
        self.commits.insert(Self::commit(number), files);
        self.branches.insert("main".into(), Self::commit(number));
    }

    /// Answers a request.
    pub(crate) fn answer(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let json = |text: String| Answer::new(200, "application/json", text);
        if path == "/api/models" {
            let is_like = query.starts_with("search=tiny");
            return json(if is_like { format!("[{{\"id\": \"{}\"}}]", self.repo) } else { "[]".into() });
        }
        let Some(rest) = path.strip_prefix("/api/models/") else { return self.file(path, asked) };
        let Some(rest) = rest.strip_prefix(self.repo) else { return Answer::error(401, "RepoNotFound") };
        if rest == "/refs" {
            let names = self.branches.keys().map(|name| format!("{{\"name\": \"{name}\"}}")).collect::<Vec<_>>();
            return json(format!("{{\"branches\": [{}], \"tags\": []}}", names.join(",")));
        }
        let revision = rest.strip_prefix("/revision/").unwrap_or_default().replace("%2F", "/");
        let commit = self.branches.get(&revision).unwrap_or(&revision);
        let Some(files) = self.commits.get(commit) else { return Answer::error(404, "RevisionNotFound") };
        let files: Vec<String> = files.iter().map(|(name, content)| self.sibling(name, content)).collect();
        json(format!("{{\"sha\": \"{commit}\", \"tags\": [\"license:mit\"], \"siblings\": [{}]}}", files.join(",")))
    }

    fn sibling(&self, name: &str, content: &[u8]) -> String {
        let (size, sum) = (content.len(), super::sum_of(content));
        let large = ["safetensors", "gguf", "bin"].iter().any(|end| name.ends_with(end));
        match (self.is_terse, large) {
            (true, _) => format!("{{\"rfilename\": \"{name}\"}}"),
            (false, false) => {
                format!("{{\"rfilename\": \"{name}\", \"size\": {size}, \"blobId\": \"{}\"}}", &sum[..40])
            }
            (false, true) => format!(
                "{{\"rfilename\": \"{name}\", \"size\": {size}, \"blobId\": \"{}\", \
                 \"lfs\": {{\"sha256\": \"{sum}\", \"size\": {size}}}}}",
                &sum[24..]
            ),
        }
    }

    fn file(&self, path: &str, asked: &Asked) -> Answer {
        let own = || path.strip_prefix('/')?.strip_prefix(self.repo)?.strip_prefix("/resolve/")?.split_once('/');
        let Some((commit, name)) = own() else { return Answer::error(404, "") };
        if let Some(answer) = self.instead.get(name) {
            return answer.clone();
        }
        match self.commits.get(commit).and_then(|files| files.get(name)) {
            Some(content) => Answer::file(content.clone()).ranged(asked, &format!("\"{}\"", super::sum_of(content))),
            None => Answer::error(404, "EntryNotFound"),
        }
    }
}
