//! Text files and folders as strangers have them: read as the plain log, or refused in one true line.
use super::{config, message, write};
use ra_data::{Columns, DataConfig, prepare, read};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Four users, twenty interactions, by `separator` under `header`.
fn rows(separator: &str) -> Vec<String> {
    let row = |k: usize| {
        let (user, item) = (k % 4, (k + k / 4) % 8);
        format!("u{user}{separator}i{item}{separator}{}", 1_388_534_400 + k * 864_000)
    };
    (0..20).map(row).collect()
}

fn table(separator: &str) -> String {
    format!("{}\n{}\n", ["user", "item", "ts"].join(separator), rows(separator).join("\n"))
}

/// The same as objects, a line each.
fn objects() -> Vec<String> {
    let object = |row: String| {
        let [user, item, ts] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        format!(r#"{{"user": "{user}", "item": "{item}", "ts": {ts}}}"#)
    };
    rows(",").into_iter().map(object).collect()
}

fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Whether `config` reads the data set of the plain table, to the last row.
#[track_caller]
fn is_plain(config: &DataConfig) {
    let dir = tempfile::tempdir().unwrap();
    let plain = read("log", &super::config(put(dir.path(), "plain.tsv", table("\t")), None)).unwrap();
    assert_eq!(read("log", config).unwrap(), plain, "{:?}", config.interactions);
}

#[track_caller]
fn refused(config: &DataConfig, told: &[&str]) {
    let message = message(config);
    assert!(told.iter().all(|told| message.contains(told)) && !message.contains('\n'), "{told:?}: {message}");
}

fn strict(path: PathBuf) -> DataConfig {
    DataConfig { strict: true, ..config(path, None) }
}

fn columns(user: &str, item: &str, time: &str) -> Columns {
    Columns { user: Some(user.into()), item: Some(item.into()), time: Some(time.into()), ..Columns::default() }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_row() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let numbers = |separator: &str, more: &str| -> String {
        let row = |k: usize| [&(k % 4).to_string(), &((k + k / 4) % 8).to_string()].map(String::as_str).join(separator);
        (0..20).map(|k| format!("{}{}\n", row(k), more.replace('T', &(1_388_534_400 + k).to_string()))).collect()
    };
    for (name, text) in [
        ("log.csv", table(",")),
        ("log.tsv", table("\t")),
        ("log.jsonl", objects().join("\n")),
        ("pairs.txt", numbers(" ", "")),
        ("lists.txt", "1 5 6 7\n2 6 5 7 8\n".into()),
        ("ratings.dat", numbers("::", "::5::T")),
        ("u.data", numbers("\t", "\t5\tT")),
    ] {
        let without = prepare("log", &config(put(dir, name, &text), None)).unwrap();
        let marked = format!("\u{feff}{text}");
        for bytes in [marked.clone().into_bytes(), gzip(marked.as_bytes())] {
            assert_eq!(prepare("log", &strict(put(dir, name, bytes))).unwrap(), without, "{name}");
        }
    }
}

#[test]
fn a_file_is_read_by_its_content_or_named_for_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plain = table("\t");
    let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let member = gzip(plain.as_bytes());
    let (start, end) = plain.split_at(100);
    let halves = [gzip(start.as_bytes()), gzip(end.as_bytes())].concat();
    for (name, bytes) in [
        ("plain.tsv.gz", plain.clone().into_bytes()),
        ("gzip.tsv", member.clone()),
        ("zstd.tsv.gz", zst(plain.as_bytes())),
        ("twice.tsv.gz.gz", gzip(&member)),
        ("members.tsv.gz", halves.clone()),
        ("empty-first.tsv.gz", [gzip(b""), member.clone()].concat()),
        ("padded.tsv.gz", [&member[..], &[0; 700]].concat()),
        ("newline.tsv.gz", [&member[..], b"\n"].concat()),
        ("padded-within.tsv.gz", [gzip(start.as_bytes()), vec![0; 512], gzip(end.as_bytes())].concat()),
        ("frames.tsv.zst", [zst(start.as_bytes()), zst(end.as_bytes())].concat()),
        ("no-ending", plain.clone().into_bytes()),
        ("json-lines.csv", objects().join("\n").into_bytes()),
    ] {
        is_plain(&strict(put(dir, name, bytes)));
    }
    let mut long = zstd::Encoder::new(Vec::new(), 1).unwrap();
    long.window_log(30).unwrap();
    long.write_all(plain.as_bytes()).unwrap();
    is_plain(&strict(put(dir, "long.tsv.zst", long.finish().unwrap())));

    let wide: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    for (name, bytes, told) in [
        ("bom.csv", [&b"\xff\xfe"[..], &wide].concat(), "UTF-16"),
        ("wide.csv", wide.clone(), "UTF-16"),
        ("wide.csv.gz", gzip(&wide), "UTF-16"),
        ("log.tsv.bz2", b"BZh91AY&SY..".to_vec(), "bunzip2"),
        ("log.csv", b"PK\x03\x04..".to_vec(), "zip"),
        ("page.csv", b"\n<!doctype html><p>".to_vec(), "HTML"),
        ("pointer.csv", pointer.to_vec(), "git lfs pull"),
        ("pointer.parquet", pointer.to_vec(), "git lfs pull"),
        ("pointer.arrow", pointer.to_vec(), "git lfs pull"),
        ("pointer.jsonl.gz", pointer.to_vec(), "git lfs pull"),
        ("text.parquet", plain.clone().into_bytes(), "is text"),
        ("more.tsv.gz", [&member[..], b"more"].concat(), "no gzip"),
        ("cut.tsv.gz", member[..member.len() - 20].to_vec(), "cut short"),
        ("empty.tsv", Vec::new(), "empty"),
        ("empty.tsv.gz", gzip(b""), "empty"),
        ("mark.tsv", b"\xef\xbb\xbf".to_vec(), "empty"),
        ("prose", b"Dear all, here is\nthe log\n".to_vec(), "no user column"),
        ("words", b"Dear all\nhere is the log\n".to_vec(), "unknown file type"),
    ] {
        refused(&config(put(dir, name, bytes), None), &[name, told]);
    }
}

#[test]
fn a_parquet_file_is_one_under_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = read("log", &config(put(dir.path(), "log.tsv", table("\t")), None)).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    ra_data::to_parquet(&prepared, &out).unwrap();
    let bytes = std::fs::read(out.join("interactions.parquet")).unwrap();
    is_plain(&strict(put(dir.path(), "named.csv", &bytes)));
    refused(&config(put(dir.path(), "log.parquet.gz", gzip(&bytes)), None), &["log.parquet.gz", "unpack it first"]);
    // The folder that an export wrote is data: its table of items is none of the log.
    is_plain(&config(out.clone(), None));
    let titled = DataConfig { items: Some(out.clone()), ..config(out, None) };
    assert_eq!(prepare("log", &titled).unwrap().catalog.len(), 8);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("pipe.tsv", table("\t").into_bytes()),
        ("pipe", objects().join("\n").into_bytes()),
        ("p.gz", gzip(table(",").as_bytes())),
    ] {
        let pipe = dir.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let to = pipe.clone();
        let writer = std::thread::spawn(move || std::fs::write(to, bytes).unwrap());
        is_plain(&strict(pipe));
        writer.join().unwrap();
    }
}

#[test]
fn rows_are_cut_by_what_the_header_shows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, separator) in [
        ("semicolons.csv", ";"),
        ("tabs.csv", "\t"),
        ("bars.csv", "|"),
        ("colons.csv", "::"),
        ("commas.tsv", ","),
        ("tabs.dat", "\t"),
        ("colons.dat", "::"),
        ("commas.data", ","),
        ("tabs.txt", "\t"),
        ("commas.txt", ","),
        ("spaces.txt", " "),
        ("commas.json", ","),
    ] {
        is_plain(&strict(put(dir, name, table(separator))));
        is_plain(&strict(put(dir, name, table(separator).replace('\n', "\r\n"))));
    }
    let quoted = table("\t").replace('\t', "\"\t\"").replace('\n', "\"\n\"");
    let quoted = format!("\"{}", quoted.strip_suffix('"').unwrap());
    is_plain(&strict(put(dir, "quoted.tsv", quoted)));
    // HetRec: tabs, a header, Latin-1.
    let hetrec = table("\t").replacen("user\titem\tts", "userID\tartistID\ttimestamp", 1);
    let hetrec = DataConfig {
        columns: columns("userID", "artistID", "timestamp"),
        ..strict(put(dir, "user_artists.dat", hetrec.replace('\n', "\r\n")))
    };
    is_plain(&hetrec);
    let artists: Vec<u8> = "artistID\tname\turl\ni1\tCafé\thttp://x::y\n".chars().map(|c| c as u8).collect();
    let mut titled = DataConfig { items: Some(put(dir, "artists.dat", artists)), ..hetrec };
    titled.columns.title = Some(ra_data::TitleParts::One("name".into()));
    assert!(prepare("log", &titled).unwrap().catalog.titles().contains(&"Café".to_owned()));
    titled.columns.time = None;
    titled.interactions = Some(put(dir, "no-time.dat", "userID\tartistID\tweight\n1\t2\t3\n"));
    refused(&titled, &["no time column", "`userID`, `artistID`, `weight`"]);
}

#[test]
fn a_first_row_of_data_is_no_header() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let bare: String = rows(",").join("\n");
    let log = put(dir, "ratings.csv", &bare);
    refused(&config(log.clone(), None), &["the first row looks like data", "`u0`"]);
    let first = DataConfig { columns: columns("u0", "i0", "1388534400"), ..config(log, None) };
    refused(&first, &["the first row looks like data"]);
    for (name, text) in [
        ("tabs.tsv", bare.replace(',', "\t")),
        ("dates.csv", "u0,i0,2014-01-01\nu1,i1,2014-01-02\n".into()),
        ("two.txt", bare.clone()),
        ("numbers.dat", bare.replace(',', "\t")),
    ] {
        refused(&config(put(dir, name, text), None), &[name, "the first row"]);
    }
    let numbered: String = std::iter::once(",0,1,2\n".to_owned())
        .chain(rows(",").iter().enumerate().map(|(at, row)| format!("{at},{row}\n")))
        .collect();
    is_plain(&DataConfig { columns: columns("0", "1", "2"), ..strict(put(dir, "pandas.csv", numbered)) });
    refused(&config(put(dir, "caps.csv", "UserID,ItemID,Time\na,b,1\n"), None), &["`UserID`, `ItemID`, `Time`"]);
}

#[test]
fn a_quote_that_never_closes_is_told_with_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let with = |last: bool, comment: &dyn Fn(usize) -> &'static str| -> String {
        let header = if last { "user,item,ts,note\n" } else { "user,note,item,ts\n" };
        let row = |(at, row): (usize, String)| match (last, row.split_once(',').unwrap()) {
            (true, _) => format!("{row},{}\n", comment(at)),
            (false, (user, rest)) => format!("{user},{},{rest}\n", comment(at)),
        };
        header.to_owned() + &rows(",").into_iter().enumerate().map(row).collect::<String>()
    };
    for last in [true, false] {
        let open = with(last, &|at| if at == 5 { "\"oops" } else { "fine" });
        for strict in [true, false] {
            let config = DataConfig { strict, ..config(put(dir, "open.csv", &open), None) };
            refused(&config, &["open.csv: row 7: a quote opens here and never closes", "14 lines"]);
        }
        refused(&config(put(dir, "open.csv.gz", gzip(open.as_bytes())), None), &["row 7"]);
        // It ends where a later one opens.
        let later = with(last, &|at| if at == 5 || at == 9 { "\"oops" } else { "fine" });
        refused(&strict(put(dir, "later.csv", later)), &["row 7", "row 11"]);
        let trailing =
            with(last, &|at| ["\"oops", "fine", "fine", "fine", "oops\""].get(at.wrapping_sub(5)).unwrap_or(&"fine"));
        refused(&strict(put(dir, "trailing.csv", trailing)), &["row 7", "look like rows"]);
        is_plain(&strict(put(
            dir,
            "closed.csv",
            with(last, &|_| "\"two\nlines, \"\"and\"\" a comma, and, one more,\nthree\""),
        )));
        is_plain(&strict(put(dir, "inch.csv", with(last, &|_| "5\" disk"))));
    }
    let log = put(dir, "log.tsv", table("\t"));
    let titles = put(dir, "items.csv", "item,title\ni0,a\ni1,\"b\ni2,c\ni3,d\n");
    refused(&DataConfig { items: Some(titles), ..config(log, None) }, &["items.csv: row 3", "2 lines"]);
    // Tabs are not quoted.
    is_plain(&strict(put(
        dir,
        "tabs.tsv",
        table("\t").replace("item\tts", "item\tts\tnote").replace("00\n", "00\t\"x\n"),
    )));
}

#[test]
fn a_header_is_told_what_it_has_twice_and_lists() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let twice = format!(
        "user,item,ts,item\n{}\n",
        rows(",").iter().map(|row| format!("{row},x")).collect::<Vec<_>>().join("\n")
    );
    refused(&strict(put(dir, "twice.csv", &twice)), &["`item` 2 times"]);
    is_plain(&config(put(dir, "twice.csv", &twice), None));
    let inter = "user_id:token\titem_id_list:token_seq\titem_id:token\ttimestamp:float\n";
    let inter =
        inter.to_owned() + &rows("\t").iter().map(|row| row.replacen('\t', "\ti1 i2\t", 1) + "\n").collect::<String>();
    let log = put(dir, "log.inter", inter);
    is_plain(&strict(log.clone()));
    let mut listed = config(log, None);
    listed.columns.item = Some("item_id_list".into());
    refused(&listed, &["`item_id_list:token_seq` holds lists"]);
}

#[test]
fn a_table_is_no_list_of_items() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let numbers = |more: &dyn Fn(usize) -> String| -> String {
        (0..20).map(|k| format!("{} {}{}\n", k % 4, (k + k / 4) % 8, more(k))).collect()
    };
    let pairs = numbers(&|_| String::new());
    let right = prepare("log", &config(put(dir, "pairs.txt", &pairs), None)).unwrap();
    assert_eq!((right.users.len(), right.catalog.len(), right.interactions()), (4, 8, 20));
    let headed = put(dir, "headed.txt", format!("user_id item_id\n{pairs}"));
    assert_eq!(prepare("log", &config(headed, None)).unwrap(), right);
    for (name, text, told) in [
        ("ratings.txt", numbers(&|k| format!(" {}", k % 5)), "more than one item in row 1 and again in row 5"),
        ("decimals.txt", numbers(&|k| format!(" {}.5", k % 5)), "`0.5`"),
        ("times.txt", numbers(&|k| format!(" 3 {}", 1_388_534_400 + k)), "looks like a table"),
        ("dates.txt", numbers(&|_| " 2014-07-10T00:00:00Z 30.2 -97.7".into()), "2014-07-10T00:00:00Z"),
        ("header.txt", format!("org remap\n{pairs}"), "looks like a header"),
        ("rated.txt", format!("user item rating\n{}", numbers(&|_| " 3".into())), "no time column"),
        ("comment.txt", format!("# user item\n{pairs}"), "comment"),
        ("commas.txt", pairs.replace(' ', ","), "first row"),
        ("colons.txt", pairs.replace(' ', "::"), "first row"),
        ("prose.txt", "This log has users\nThis log has items\n".into(), "`This`"),
    ] {
        refused(&config(put(dir, name, text), None), &[name, told]);
    }
}

#[test]
fn json_is_read_in_every_layout_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let all = objects();
    let pretty = |text: &str| text.replace("{", "{\n  ").replace(", ", ",\n  ").replace('}', "\n}");
    let python: String = all.iter().map(|line| line.replace('"', "'") + "\n").collect();
    for (name, text) in [
        ("lines.jsonl", all.join("\n")),
        ("blank.jsonl", format!("\n\n{}\n\n", all.join("\r\n\r\n"))),
        ("records.json", format!("[{}]", all.join(", "))),
        ("one-a-line.json", format!("[\n{}\n]\n", all.join(",\n"))),
        ("pretty.json", format!(" [\n{}\n]", pretty(&all.join(",")))),
        ("jq.json", pretty(&all.join("\n"))),
        ("python.json", python),
        ("twice.jsonl", all.join("\n").replace("{", "{\"item\": \"old\", ")),
    ] {
        is_plain(&strict(put(dir, name, text)));
    }
    let many = "{\"user\": {\"0\": \"u\", \"1\": \"v\"}, \"item\": {\"0\": 1, \"1\": 2}, \"ts\": {\"0\": 1, \"1\": 2}}";
    for (name, text, told) in [
        ("columns.json", many.to_owned(), "one JSON object for all rows"),
        ("around.json", format!("{{\"data\": [{}]}}", all.join(",")), "one JSON object for all rows (`data`"),
        ("pretty-around.json", format!("{{\n \"data\": [\n{}\n]\n}}", pretty(&all.join(","))), "for all rows (`data`"),
        ("split.json", "{\"columns\":[\"user\",\"item\",\"ts\"],\"data\":[[1,2,3]]}".into(), "for all rows"),
        ("cut.json", format!("[{}", all.join(",")), "cut short"),
        ("arrays.jsonl", "[\"u\", \"i\", 1]\n[\"u\", \"i\", 2]\n".into(), "more follows the end of its array"),
        ("values.json", "[[\"u\", \"i\", 1], [\"u\", \"i\", 2]]".into(), "a list, not a JSON object"),
        ("names.json", "[{\"who\": 1, \"item\": 2, \"ts\": 3}]".into(), "no user column: found `item`, `ts`, `who`"),
        ("text.json", "hello".into(), "neither `{` nor `[`"),
    ] {
        refused(&config(put(dir, name, text), None), &[name, told]);
    }
    // A broken line is one row, whatever it opens.
    let broken = all.join("\n") + "\n{\"user\": \"u1\", \"item\n{\"user\": {\n";
    let found = read("log", &config(put(dir, "broken.jsonl", broken), None)).unwrap().skipped;
    assert_eq!((found.read, found.rows), (20, 2));
}

#[test]
fn an_id_is_one_value_exact_to_the_digit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ids = ["18446744073709551616", "18446744073709551617", "-9223372036854775809", "7"];
    let csv = |id: &dyn Fn(usize) -> String| -> String {
        (0..20).map(|k| format!("{},{},{k}\n", id(k % 4), id((k + k / 4) % 4))).collect()
    };
    let jsonl = |text: &str| -> String {
        let object = |row: &str| {
            let [user, item, ts] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
            format!("{{\"user\": {user}, \"item\": {item}, \"ts\": {ts}}}\n")
        };
        text.lines().map(object).collect()
    };
    let long = csv(&|k| ids[k].into());
    let text = prepare("log", &strict(put(dir, "long.csv", format!("user,item,ts\n{long}")))).unwrap();
    assert_eq!((text.users.len(), text.catalog.len()), (4, 4));
    let titles = put(dir, "items.jsonl", format!("{{\"item\": {}, \"title\": \"long\"}}\n", ids[1]));
    let titled = DataConfig { items: Some(titles), ..strict(put(dir, "long.jsonl", jsonl(&long))) };
    let json = prepare("log", &titled).unwrap();
    assert_eq!((&json.users, &json.train), (&text.users, &text.train));
    assert_eq!(json.catalog.titles().iter().filter(|title| *title == "long").count(), 1);
    let python = jsonl(&long).replace('"', "'");
    assert_eq!(prepare("log", &strict(put(dir, "python.json", python))).unwrap(), text);

    // A float of a whole number is the number, in every format.
    let whole =
        prepare("log", &strict(put(dir, "w.csv", format!("user,item,ts\n{}", csv(&|k| k.to_string()))))).unwrap();
    let floats = csv(&|k| format!("{k}.0"));
    for (name, text) in [("f.csv", format!("user,item,ts\n{floats}")), ("f.jsonl", jsonl(&floats))] {
        assert_eq!(prepare("log", &strict(put(dir, name, text))).unwrap(), whole, "{name}");
    }

    for (id, told) in [
        ("[\"a\", \"b\"]", "`user` holds a list"),
        ("{\"id\": 1}", "`user` holds an object"),
        ("true", "`user` is true"),
        ("null", "`user` is empty"),
        ("NaN", "`user` is empty"),
        ("\"NULL\"", "`user` is \"NULL\""),
        ("1e20", "without its last digits"),
        ("1.5E+20", "without its last digits"),
    ] {
        let row = format!("{{\"user\": {id}, \"item\": 1, \"ts\": 1}}\n");
        refused(&strict(put(dir, "bad.jsonl", &row)), &["bad.jsonl: row 1", told]);
        let found = read("log", &config(put(dir, "some.jsonl", jsonl(&long) + &row), None)).unwrap().skipped;
        assert_eq!((found.read, found.rows), (20, 1), "{id}");
    }
    let nested: String = jsonl(&long).replace("\"user\": ", "\"user\": {\"id\": ").replace(", \"item\"", "}, \"item\"");
    let mut inside = strict(put(dir, "nested.jsonl", nested));
    inside.columns.user = Some("user.id".into());
    assert_eq!(prepare("log", &inside).unwrap(), text);
}

#[test]
fn a_folder_is_the_files_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let all = rows(",");
    let part = |rows: &[String]| format!("user,item,ts\n{}\n", rows.join("\n"));
    let fresh = |name: &str, files: &[(&str, String)]| {
        let folder = dir.path().join(name);
        files.iter().for_each(|(name, text)| drop(put(&folder, name, text)));
        folder
    };
    let halves = [("part-0.csv", part(&all[..9])), ("part-1.csv", part(&all[9..]))];
    let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        halves.clone().into_iter().chain(more.iter().map(|(name, text)| (*name, (*text).to_owned()))).collect()
    };
    let movies = "item,title\ni0,A\n";
    for (name, files) in [
        (
            "spark",
            with(&[("_SUCCESS", ""), ("part-2.csv", ""), ("part-3.csv", "user,item,ts\n"), (".part-0.csv.crc", "x")]),
        ),
        ("notes", with(&[("README.txt", "This log has users\n"), ("LICENSE.txt", "Be kind\n"), ("notes.md", "x")])),
        ("mac", with(&[("._part-0.csv", "\0\u{5}\u{16}\u{7}"), (".DS_Store", "x")])),
        ("titles", with(&[("movies.csv", movies), ("links.csv", "item,imdb\ni0,1\n"), ("u.item", "1|A\n")])),
        ("lists", with(&[("ids.txt", "1 2 3\n")])),
        ("hive", vec![("month=1/a.csv", part(&all[..9])), ("month=2/day=3/a.csv", part(&all[9..]))]),
        (
            "json",
            vec![
                ("a.json", objects()[..9].join("\n")),
                ("b.json", objects()[9..].join("\n")),
                ("c.json", String::new()),
            ],
        ),
        (
            "meta",
            vec![("log.jsonl", objects().join("\n")), ("meta.jsonl", "{\"item\": \"i0\", \"title\": \"A\"}\n".into())],
        ),
    ] {
        is_plain(&config(fresh(name, &files), None));
    }
    is_plain(&config(dir.path().join("spark/part-*"), None));
    is_plain(&config(dir.path().join("mac/*part*.csv"), None));
    is_plain(&config(dir.path().join("hive/**/*.csv"), None));
    let titled = DataConfig { items: Some(dir.path().join("titles")), ..config(dir.path().join("titles"), None) };
    assert_eq!(prepare("log", &titled).unwrap().catalog.title(1), "A");

    let tags = "user,item,tag,ts\nu0,i0,nice,1\n";
    for (name, files, told) in [
        ("tagged", with(&[("tags.csv", tags)]), &["part-0.csv", "tags.csv", "different tables"][..]),
        ("formats", vec![("log.csv", part(&all)), ("log.tsv.gz", table("\t"))], &["log.csv", "log.tsv.gz", "twice"]),
        ("packed", vec![("log.csv", part(&all)), ("log.csv.gz", part(&all))], &["same table twice"]),
        (
            "others",
            vec![("links.csv", "a,b\n1,2\n".into()), ("z.csv", "c,d\n1,2\n".into())],
            &["none of its files", "`a`, `b`"],
        ),
        (
            "below",
            vec![("items.csv", movies.into()), ("logs/a.csv", part(&all))],
            &["it holds folders (logs)", "*.csv"],
        ),
        ("deep", vec![("logs/a.csv", part(&all))], &["no file here", "it holds folders (logs)", "deep/*/*.csv"]),
        ("by-user", vec![("user=u1/a.csv", "item,ts\ni0,1\n".into())], &["no user column"]),
        ("nothing", vec![("a.csv", String::new()), ("b.csv", String::new())], &["empty"]),
        ("none", vec![("notes.md", String::new())], &["no file here that can be read"]),
    ] {
        refused(&config(fresh(name, &files), None), told);
    }
    let copies = fresh("copies", &[("a.csv", part(&all)), ("a copy.csv", part(&all))]);
    refused(&strict(copies), &["a copy.csv", "same to the byte"]);
}

#[test]
fn movielens_folders_are_read_or_told_which_file_to_name() {
    let dir = tempfile::tempdir().unwrap();
    let rated = |separator: &str| {
        rows(separator)
            .iter()
            .map(|row| {
                let (ids, ts) = row.rsplit_once(separator).unwrap();
                format!("{ids}{separator}5{separator}{ts}\n")
            })
            .collect::<String>()
    };
    for (name, text) in [
        ("ml/ratings.dat", rated("::")),
        ("ml/movies.dat", "i0::A::Drama\n".into()),
        ("ml/users.dat", "u0::F::1::10::48067\nu1::M::56::16::70072\n".into()),
        ("ml/tags.dat", "u0::i0::nice::1388534400\n".into()),
        ("ml/README", "words".into()),
        ("100k/u.data", rated("\t")),
        ("100k/u.item", "i0|A|x\n".into()),
        ("100k/u.user", "u0|24|M\n".into()),
    ] {
        put(dir.path(), name, text);
    }
    for folder in ["ml", "100k"] {
        let folder = dir.path().join(folder);
        is_plain(&config(folder.clone(), None));
        let titled = DataConfig { items: Some(folder.clone()), ..config(folder, None) };
        assert_eq!(prepare("log", &titled).unwrap().catalog.title(1), "A");
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_do_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "log.csv", table(","));
    std::os::unix::fs::symlink(dir.path(), dir.path().join("year=2014")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("gone.csv")).unwrap();
    is_plain(&config(dir.path().to_path_buf(), None));
    refused(&config(dir.path().join("gone.csv"), None), &["gone.csv: cannot read: No such file"]);
}

#[test]
fn formats_agree_within_a_memory_bound_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = put(dir.path(), "log.json", format!("[{}]", objects().join(",")));
    let in_memory = prepare("log", &config(write(dir.path(), "log.tsv.zst", &table("\t")), None)).unwrap();
    let out = dir.path().join("out");
    let bounded = ra_data::to_parquet_within("log", &strict(log), None, 64 << 20, &out).unwrap();
    assert_eq!(bounded.fingerprint, in_memory.fingerprint());
}
