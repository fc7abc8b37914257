//! Text files and folders as other people have them: read like the plain log, or refused in one accurate line.
use super::{config, dataset, message, write};
use ra_data::{Columns, DataConfig, prepare};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Returns twenty interactions of four users, with fields separated by `separator`.
pub(crate) fn rows(separator: &str) -> Vec<String> {
    let row = |k: usize| {
        let (user, item) = (k % 4, (k + k / 4) % 8);
        format!("u{user}{separator}i{item}{separator}{}", 1_388_534_400 + k * 864_000)
    };
    (0..20).map(row).collect()
}

pub(crate) fn table(separator: &str) -> String {
    format!("{}\n{}\n", ["user", "item", "ts"].join(separator), rows(separator).join("\n"))
}

/// Returns the same rows as objects, one per line.
pub(crate) fn objects() -> Vec<String> {
    let object = |row: String| {
        let [user, item, ts] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        format!(r#"{{"user": "{user}", "item": "{item}", "ts": {ts}}}"#)
    };
    rows(",").into_iter().map(object).collect()
}

pub(crate) fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
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

/// Checks that `config` reads exactly the data set of the plain table.
#[track_caller]
pub(crate) fn is_plain(config: &DataConfig) {
    let dir = tempfile::tempdir().unwrap();
    let plain = prepare("log", &super::config(put(dir.path(), "plain.tsv", table("\t")), None)).unwrap();
    let found = prepare("log", config).unwrap();
    assert_eq!(found.dataset, plain.dataset, "{:?}", config.interactions);
    assert_eq!((found.times, found.rejected), (plain.times, plain.rejected), "{:?}", config.interactions);
}

#[track_caller]
pub(crate) fn refused(config: &DataConfig, told: &[&str]) {
    let message = message(config);
    assert!(told.iter().all(|told| message.contains(told)) && !message.contains('\n'), "{told:?}: {message}");
}

fn strict_items(log: &Path, items: PathBuf) -> DataConfig {
    DataConfig { items: Some(items), ..strict(log.to_owned()) }
}

pub(crate) fn strict(path: PathBuf) -> DataConfig {
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
        let without = dataset("log", &config(put(dir, name, &text), None)).unwrap();
        let marked = format!("\u{feff}{text}");
        for bytes in [marked.clone().into_bytes(), gzip(marked.as_bytes())] {
            assert_eq!(dataset("log", &strict(put(dir, name, bytes))).unwrap(), without, "{name}");
        }
        // A mark between two files, as `cat` leaves it.
        let later = text.replacen('\n', "\n\u{feff}", 1);
        assert_eq!(dataset("log", &strict(put(dir, name, later))).unwrap(), without, "{name}");
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
        ("returns.csv", table(",").replace('\n', "\r").into_bytes()),
        ("returns.tsv", plain.replace('\n', "\r").into_bytes()),
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
        ("more.tsv.gz", [&member[..], b"more"].concat(), "is not gzip"),
        ("cut.tsv.gz", member[..member.len() - 20].to_vec(), "cut short"),
        ("damaged.tsv.zst", [&b"\x28\xb5\x2f\xfd\x08"[..], &[0; 40]].concat(), "damaged, or"),
        (
            "named.dat",
            format!("UserID::MovieID::Rating::Time\n{}", "1::2::3::4\n".repeat(9)).into(),
            "`UserID`, `MovieID`",
        ),
        ("returns.dat", rows("::").join("\r").into_bytes(), "carriage returns"),
        ("empty.tsv", Vec::new(), "empty"),
        ("empty.tsv.gz", gzip(b""), "empty"),
        ("mark.tsv", b"\xef\xbb\xbf".to_vec(), "empty"),
        ("prose", b"Dear all, here is\nthe log\n".to_vec(), "no user column"),
        ("excel.csv", format!("sep=;\n{}", table(";")).into_bytes(), "row 1 (`sep=`)"),
        ("noted.csv", format!("# made on Monday\n{}", table(",")).into_bytes(), "row 1 is a comment"),
        ("words", b"Dear all\nhere is the log\n".to_vec(), "unknown file type"),
    ] {
        refused(&config(put(dir, name, bytes), None), &[name, told]);
    }
}

#[test]
fn a_parquet_file_is_one_under_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepare("log", &config(put(dir.path(), "log.tsv", table("\t")), None)).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    ra_data::to_parquet(&prepared, &out).unwrap();
    let bytes = std::fs::read(out.join("interactions.parquet")).unwrap();
    is_plain(&strict(put(dir.path(), "named.csv", &bytes)));
    refused(&config(put(dir.path(), "log.parquet.gz", gzip(&bytes)), None), &["log.parquet.gz", "decompress it first"]);
    // The folder of an export can be read; its table of items is not part of the log.
    is_plain(&config(out.clone(), None));
    let titled = DataConfig { items: Some(out.clone()), ..config(out, None) };
    assert_eq!(dataset("log", &titled).unwrap().catalog.len(), 8);
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
    let artists: String = (0..8).map(|at| format!("i{at}\tCafé {at}\thttp://x::y\n")).collect();
    let artists: Vec<u8> = format!("artistID\tname\turl\n{artists}").chars().map(|c| c as u8).collect();
    let mut titled = DataConfig { items: Some(put(dir, "artists.dat", artists)), ..hetrec };
    titled.columns.title = Some(ra_data::TitleParts::One("name".into()));
    assert!(dataset("log", &titled).unwrap().catalog.titles().contains(&"Café 1".to_owned()));
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
        ("spaces.data", bare.replace(',', " ")),
    ] {
        refused(&config(put(dir, name, text), None), &[name, "first row"]);
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
        // An open quote that ends where a later one opens.
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
    for (open, closed) in [
        ("u,c,3,\"oops\n", "v,a,4,ok\n\nv,c,6,ok\nv,d,7,fine\"\n"),
        ("u,b,2,\"oops\n", "v,a,4,fine\"\n"),
        ("u,b,2,\"oops\n", "v,a,4\nv,b,,ok\"\n"),
    ] {
        let text = format!("user,item,ts,note\nu,a,1,ok\nu,b,2,ok\n{open}{closed}u,d,8,ok\n");
        refused(&strict(put(dir, "shut.csv", text)), &["row 4", "look like rows"]);
    }
    let last = table(",").replace("ts", "ts,note").replace("00\n", "00,\n") + "u0,i0,1388534400,\"oops\n";
    refused(&strict(put(dir, "last.csv", &last)), &["row 22: a quote opens here, in the last row"]);
    let titled = |titles: &str| DataConfig {
        items: Some(put(dir, "shut-items.csv", format!("item,title\n{titles}\n"))),
        ..strict(put(dir, "log.tsv", table("\t")))
    };
    refused(&titled("i0,a\ni1,\"b\ni2,c\"\ni3,d"), &["shut-items.csv: row 3", "look like rows"]);
    dataset("log", &titled("i0,a\ni1,\"b\nc, d\"\ni3,d\ni4,e\ni5,f")).unwrap();
    refused(&config(put(dir, "header.csv", table(",").replacen("ts", "\"ts", 1)), None), &["row 1: a quote opens"]);
    let log = put(dir, "log.tsv", table("\t"));
    let titles = put(dir, "items.csv", "item,title\ni0,a\ni1,\"b\ni2,c\ni3,d\n");
    refused(&DataConfig { items: Some(titles), ..config(log, None) }, &["items.csv: row 3", "2 lines"]);
    // Fields separated by tabs are not quoted.
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
    // One of two such columns may hold names for people.
    for (header, told) in [("user,item,ts,item_id", "`columns.item`"), ("user_id,item,ts,user", "`columns.user`")] {
        let both = twice.replacen("user,item,ts,item", header, 1);
        refused(&strict(put(dir, "both.csv", &both)), &["both.csv", told]);
        let user = if header.starts_with("user_id") { "user_id" } else { "user" };
        let columns = Columns { user: Some(user.into()), item: Some("item".into()), ..Columns::default() };
        is_plain(&DataConfig { columns, ..strict(put(dir, "both.csv", &both)) });
    }
    let wide: Vec<String> = (0..12_000).map(|at| format!("field{at}")).collect();
    let values = ",0".repeat(12_000);
    let wide = format!("user,item,ts,{}\n", wide.join(","))
        + &rows(",").iter().map(|row| format!("{row}{values}\n")).collect::<String>();
    is_plain(&config(put(dir, "wide.csv", wide), None));
    let inter = "user_id:token\titem_id_list:token_seq\titem_id:token\ttimestamp:float\n";
    let inter =
        inter.to_owned() + &rows("\t").iter().map(|row| row.replacen('\t', "\ti1 i2\t", 1) + "\n").collect::<String>();
    let log = put(dir, "log.inter", inter);
    is_plain(&config(log.clone(), None));
    refused(&strict(log.clone()), &["columns of lists are not read: item_id_list:token_seq"]);
    let labelled = table("\t").replace("ts", "ts\tlabel").replace("00\n", "00\t1\n");
    refused(&strict(put(dir, "label.inter", labelled)), &["`label` is not read"]);
    for blank in ["", "nan", "null"] {
        let titles = (0..8).map(|k| format!("i{k},{blank}\n")).collect::<String>();
        let titles = put(dir, "blank.csv", format!("item,title\n{titles}"));
        let blank = config(put(dir, "log.tsv", table("\t")), Some(titles));
        assert!(dataset("log", &blank).unwrap().catalog.titles().iter().all(String::is_empty));
        refused(&DataConfig { strict: true, ..blank }, &["blank.csv", "none of the items has a title"]);
    }
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
    let right = dataset("log", &config(put(dir, "pairs.txt", &pairs), None)).unwrap();
    assert_eq!((right.users.len(), right.catalog.len(), right.interactions()), (4, 8, 20));
    let headed = put(dir, "headed.txt", format!("user_id item_id\n{pairs}"));
    assert_eq!(dataset("log", &config(headed, None)).unwrap(), right);
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
        ("python.txt", "u1 ['i1', 'i2']\nu2 ['i2', 'i3']\n".into(), "`['i1',`"),
        ("libsvm.txt", "1 3:1 4:2\n2 4:1 5:0.5\n".into(), "`3:1`"),
        ("prose.txt", "This log has users\nThis log has items\n".into(), "`This`"),
    ] {
        refused(&config(put(dir, name, text), None), &[name, told]);
    }
    let sentences = put(dir, "sentences.txt", "We sell lamps\nUsers buy them by day.\nItems are sold\n");
    refused(&DataConfig { strict: true, ..config(sentences, None) }, &["sentences.txt", "`day.`", "prose"]);
}

#[test]
fn formats_agree_within_a_memory_bound_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = put(dir.path(), "log.json", format!("[{}]", objects().join(",")));
    let in_memory = dataset("log", &config(write(dir.path(), "log.tsv.zst", &table("\t")), None)).unwrap();
    let out = dir.path().join("out");
    let bounded = ra_data::to_parquet_within("log", &strict(log), None, 64 << 20, &out).unwrap();
    assert_eq!(bounded.fingerprint, in_memory.fingerprint());
}

#[test]
fn the_first_title_that_is_not_empty_counts_and_another_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = put(dir, "log.csv", table(","));
    let titled = |name: &str, first: &str| {
        let rest: String = (1..8).map(|item| format!("i{item},title {item}\n")).collect();
        strict_items(&log, put(dir, name, format!("item,title\n{first}\n{rest}")))
    };
    for (name, rows) in [("blank.csv", "i0,\ni0,  \ni0,A\ni0,"), ("same.csv", "i0,A\ni0,A")] {
        let data = dataset("log", &titled(name, rows)).unwrap();
        let item = data.catalog.all().find(|&item| data.catalog.id(item) == "i0").unwrap();
        assert_eq!(data.catalog.title(item), "A", "{name}");
    }
    refused(&titled("two.csv", "i0,\ni0,A\ni0,B\ni0,A"), &["two.csv", "1 rows give an item a different title"]);
}

#[test]
fn what_a_spreadsheet_saves_is_read_or_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Row numbers do not depend on line endings.
    for end in ["\n", "\r\n"] {
        let log = format!("user;item;ts{end}a;i;2014-03-01{end}b;i;1/2/24{end}");
        let error = message(&strict(put(dir, "rows.csv", log)));
        assert!(error.contains("row 3: `ts` is \"1/2/24\""), "{end:?}: {error}");
    }
    // Excel's plain CSV: half of the rows would be left out.
    let name = |at: usize| ["Müller", "Meier"][at % 2];
    type Row = fn(&str, usize) -> String;
    let tables: [(&str, &str, Row); 4] = [
        ("excel.csv", "user;item;ts", |name, at| format!("{name};i{};{}", at % 7, 1_400_000_000 + at)),
        ("plain.dat", "user::item::ts", |name, at| format!("{name}::i{}::{}", at % 7, 1_400_000_000 + at)),
        ("rows.jsonl", "", |name, at| format!(r#"{{"user": "{name}", "item": {}, "ts": {at}}}"#, at % 7)),
        ("lists.txt", "", |name, at| format!("{name}{at} i1 i2 i3")),
    ];
    for (file, header, row) in tables {
        let rows = (0..40).map(|at| row(name(at), at));
        let text: Vec<String> = [header.to_owned()].into_iter().filter(|line| !line.is_empty()).chain(rows).collect();
        let latin: Vec<u8> = text.join("\n").chars().map(|c| c as u8).collect();
        let log = DataConfig { strict: false, ..strict(put(dir, file, latin)) };
        if file == "plain.dat" {
            // As MovieLens has it.
            assert_eq!(dataset("log", &log).unwrap().users, ["Meier", "Müller"]);
            continue;
        }
        let (error, first) = (message(&log), if header.is_empty() { "row 1" } else { "row 2" });
        // A list is a row for each of its items.
        let rows = if file == "lists.txt" { 80 } else { 40 };
        let told = format!("20 of {rows} rows are not UTF-8 text, the first in {first}");
        assert!(error.contains(&told), "{error}");
        assert!(error.contains(file) && error.contains("CSV UTF-8"), "{error}");
    }
    // A few broken rows are broken rows.
    let mut few: Vec<u8> = b"user;item;ts\n".to_vec();
    few.extend((0..40).flat_map(|at| format!("u{};i{};{}\n", at % 5, at % 7, 1_400_000_000 + at).into_bytes()));
    few.extend(b"M\xfcller;i1;1400000000\n");
    let data = prepare("log", &DataConfig { strict: false, ..strict(put(dir, "few.csv", few)) }).unwrap();
    assert_eq!((data.rejected.rows, data.dataset.users.len()), (1, 5));
    // Days as numbers: 45292 is 2024-01-01.
    let rows: String = (0..60).map(|at| format!("u{},i{},{}\n", at % 9, at % 7, 45_292 + at)).collect();
    let error = message(&strict(put(dir, "days.csv", format!("user,item,ts\n{rows}"))));
    assert!(error.contains("a spreadsheet has for days"), "{error}");
    assert!(dataset("log", &strict(put(dir, "order.csv", format!("user,item,pos\n{rows}")))).is_ok());
}
