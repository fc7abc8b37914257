//! JSON, ids and folders as other people have them: read like the plain log, or refused in one accurate line.
use super::strangers_text::{is_plain, objects, put, refused, rows, strict, table};
use super::{config, dataset};
use ra_core::ItemId;
use ra_data::{DataConfig, prepare};

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
        ("joined.json", all.concat()),
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
        ("arrays.jsonl", "[\"u\", \"i\", 1]\n[\"u\", \"i\", 2]\n".into(), "more after its array"),
        ("values.json", "[[\"u\", \"i\", 1], [\"u\", \"i\", 2]]".into(), "a list, not a JSON object"),
        ("names.json", "[{\"who\": 1, \"item\": 2, \"ts\": 3}]".into(), "no user column: found `item`, `ts`, `who`"),
        ("empty.json", "{}".into(), "row 1: has no user"),
        ("text.json", "hello".into(), "neither `{` nor `[`"),
    ] {
        refused(&config(put(dir, name, text), None), &[name, told]);
    }
    // A broken line counts as one row, whatever quotes or brackets it opens.
    let broken = all.join("\n") + "\n{\"user\": \"u1\", \"item\n{\"user\": {\n";
    let found = prepare("log", &config(put(dir, "broken.jsonl", broken), None)).unwrap().rejected;
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
    let text = dataset("log", &strict(put(dir, "long.csv", format!("user,item,ts\n{long}")))).unwrap();
    assert_eq!((text.users.len(), text.catalog.len()), (4, 4));
    let titles: String = ids.iter().map(|id| format!("{{\"item\": {id}, \"title\": \"of {id}\"}}\n")).collect();
    let titles = put(dir, "items.jsonl", titles);
    let titled = DataConfig { items: Some(titles), ..strict(put(dir, "long.jsonl", jsonl(&long))) };
    let json = dataset("log", &titled).unwrap();
    assert_eq!((&json.users, &json.train), (&text.users, &text.train));
    assert!(json.catalog.all().all(|item| json.catalog.title(item) == format!("of {}", json.catalog.id(item))));
    let python = jsonl(&long).replace('"', "'");
    assert_eq!(dataset("log", &strict(put(dir, "python.json", python))).unwrap(), text);

    // A float with a whole value is read as that whole number, in every format.
    let whole =
        dataset("log", &strict(put(dir, "w.csv", format!("user,item,ts\n{}", csv(&|k| k.to_string()))))).unwrap();
    let floats = csv(&|k| format!("{k}.0"));
    for (name, text) in [("f.csv", format!("user,item,ts\n{floats}")), ("f.jsonl", jsonl(&floats))] {
        assert_eq!(dataset("log", &strict(put(dir, name, text))).unwrap(), whole, "{name}");
    }

    for (id, told) in [
        ("[\"a\", \"b\"]", "`user` holds a list"),
        ("{\"id\": 1}", "`user` holds an object"),
        ("true", "`user` is true"),
        ("null", "`user` is null or NaN"),
        ("NaN", "`user` is null or NaN"),
        ("\"[a, b]\"", "`user` is [a, b]"),
        ("\"NULL\"", "`user` is \"NULL\""),
        ("1e20", "lost its last digits"),
        ("1.5E+20", "lost its last digits"),
    ] {
        let row = format!("{{\"user\": {id}, \"item\": 1, \"ts\": 1}}\n");
        refused(&strict(put(dir, "bad.jsonl", &row)), &["bad.jsonl: row 1", told]);
        let found = prepare("log", &config(put(dir, "some.jsonl", jsonl(&long) + &row), None)).unwrap().rejected;
        assert_eq!((found.read, found.rows), (20, 1), "{id}");
    }
    for (id, told) in [
        ("NA", "`user` is \"NA\" in 2 of 22 rows"),
        ("n/a", "stand for a missing id"),
        ("1e+16", "may have lost digits"),
        ("1e+05", "may have lost digits"),
        ("9007199254740993.0", "may have lost digits"),
    ] {
        let odd = format!("user,item,ts\n{long}{id},7,1\n{id},-9223372036854775809,2\n");
        refused(&strict(put(dir, "odd.csv", odd)), &["odd.csv", told]);
    }
    let listed = put(dir, "listed.csv", format!("user,item,ts\n{}", csv(&|k| format!("{k}|9"))));
    refused(&strict(listed), &["listed.csv", "lists or objects as text in 20 of 20 rows"]);
    let words =
        format!("user,item,ts\n{long}null,7,1\n\\N,7,1\nNaN,7,1\n7,\"['a', 'b']\",1\n1.8446744073709552e+19,7,1\n");
    let found = prepare("log", &config(put(dir, "words.csv", words), None)).unwrap().rejected;
    assert_eq!((found.read, found.rows), (20, 5), "{:?}", found.examples);
    let nested: String = jsonl(&long).replace("\"user\": ", "\"user\": {\"id\": ").replace(", \"item\"", "}, \"item\"");
    let mut inside = strict(put(dir, "nested.jsonl", nested));
    inside.columns.user = Some("user.id".into());
    assert_eq!(dataset("log", &inside).unwrap(), text);
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
        ("lists", with(&[("ids.txt", "1 2 3\n"), ("old/part-0.csv", "user,item,ts\nx,y,1\n")])),
        ("notice", vec![("notice_events.csv", part(&all)), ("NOTICE.txt", "a b c\na b c\n".into())]),
        ("hive", vec![("month=1/a.csv", part(&all[..9])), ("month=2/day=3/a.csv", part(&all[9..]))]),
        (
            "json",
            vec![
                ("a.json", objects()[..9].join("\n")),
                ("B.json", objects()[9..14].join("\n")),
                ("b.json", objects()[14..].join("\n")),
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
    assert_eq!(dataset("log", &titled).unwrap().catalog.title(ItemId(1)), "A");

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
    // A file that may be a part of the log is reported; in strict mode it is an error.
    let half = rows("\t")[9..].join("\n");
    for (at, (name, bytes)) in [
        ("part-1", part(&all[9..]).as_bytes()),
        ("part-1.tsv.tmp", half.as_bytes()),
        ("part-00001", half.as_bytes()),
        ("_part-1.tsv", half.as_bytes()),
        ("part-1.tsv", half.as_bytes()),
        ("part-1.csv", b"who,what,ts\nu0,i0,1388534400\n"),
        ("part-1.txt", b"u0 i0\n"),
        ("2014/part-1.csv", part(&all[9..]).as_bytes()),
        ("2014/01/part-1.csv", part(&all[9..]).as_bytes()),
        ("part-1.csv.bz2", b"BZh91AY&SY.."),
        ("part-1.csv.xz", b"\xfd7zXZ\0.."),
        ("part-1.zip", b"PK\x03\x04.."),
        ("part-1.orc", b"ORC\x11\0.."),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = fresh(&format!("half-{at}"), &[("part-0.csv", part(&all)), ("_SUCCESS", String::new())]);
        is_plain(&strict(folder.clone()));
        put(&folder, name, bytes);
        is_plain(&config(folder.clone(), None));
        refused(&strict(folder), &[name.split('/').next().unwrap(), "not read"]);
    }
    is_plain(&strict(fresh("hives", &[("000000_0", part(&all[..9])), ("000001_0", part(&all[9..]))])));
    for (name, text) in [("notes.md", "# Log\n"), ("make.py", "import a, b\nprint(a)\n"), ("movies.csv", movies)] {
        is_plain(&strict(fresh(&format!("beside-{name}"), &[("log.csv", part(&all)), (name, text.to_owned())])));
    }
    let copies = fresh("copies", &[("a.csv", part(&all)), ("a copy.csv", part(&all))]);
    refused(&strict(copies), &["a copy.csv", "identical: every row counts twice"]);
    let delta = fresh("delta", &[("a.csv", part(&all)), ("_delta_log/0.json", "{}".into())]);
    is_plain(&config(delta.clone(), None));
    refused(&strict(delta), &["Delta table"]);
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
        assert_eq!(dataset("log", &titled).unwrap().catalog.title(ItemId(1)), "A");
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_back_do_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "log.csv", table(","));
    std::os::unix::fs::symlink(dir.path(), dir.path().join("year=2014")).unwrap();
    is_plain(&config(dir.path().to_path_buf(), None));
    std::os::unix::fs::symlink("nowhere", dir.path().join("gone.csv")).unwrap();
    for path in ["", "*", "gone.csv"] {
        refused(&config(dir.path().join(path), None), &["gone.csv: cannot read: No such file"]);
    }
}
