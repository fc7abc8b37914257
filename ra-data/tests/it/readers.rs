//! Files as people have them.
use super::{LOG, config, dataset, message, write};
use ra_core::{ItemId, UserId};
use ra_data::{DataConfig, RejectedRows, Split, TitleParts, prepare, to_parquet, write_columns};
use std::path::Path;

/// `LOG` as ratings with a clock: user, item, rating, seconds.
fn ratings(separator: &str) -> String {
    let row = |line: &str| {
        let [user, item, pos] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        [user, item, "5", &(pos.parse::<u64>().unwrap() * 86_400 + 978_300_000).to_string()].join(separator)
    };
    LOG.lines().skip(1).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn movielens_is_read_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plain = dataset("ml", &config(write(dir, "plain.tsv", LOG), None)).unwrap();
    let films = "a::Ant, The (1998)::Family\nb::Bee::Comedy|Drama\nc::Caf\u{e9}::Drama\n";
    let latin: Vec<u8> = films.chars().map(|c| c as u8).collect();
    std::fs::write(dir.join("movies.dat"), latin).unwrap();
    let bars: String = films.replace("::", "|");
    for (log, titles) in [
        (write(dir, "ratings.dat", &ratings("::")), dir.join("movies.dat")),
        (
            write(dir, "u.data", &ratings("\t")),
            write(dir, "u.item", bars.lines().map(|l| l.to_owned() + "|x\n").collect::<String>().as_str()),
        ),
        (
            write(dir, "ratings.csv", &format!("userId,movieId,rating,timestamp\n{}", ratings(","))),
            write(
                dir,
                "movies.csv",
                "movieId,title,genres\na,\"Ant, The (1998)\",Family\nb,Bee,Comedy\nc,Café,Drama\n",
            ),
        ),
    ] {
        let name = log.display().to_string();
        let data = prepare("ml", &DataConfig { strict: true, ..config(log, Some(titles)) }).unwrap();
        assert_eq!((&data.dataset.train, &data.dataset.test), (&plain.train, &plain.test), "{name}");
        assert_eq!(data.dataset.catalog.titles(), ["Ant, The (1998)", "Bee", "Café"], "{name}");
        assert_eq!(data.span(), Some([978_300_000.0, 978_300_000.0 + 3.0 * 86_400.0]), "{name}");
    }
}

#[test]
fn amazon_reviews_of_every_year_are_read_as_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let objects = |user: &str, item: &str, time: &str| {
        let object = |line: &str| {
            let [u, i, at] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            format!(
                "{{\"{user}\": \"{u}\", \"{item}\": \"{i}\", \"overall\": 5.0, \"{time}\": {at}, \"text\": \"..\"}}\n"
            )
        };
        LOG.lines().skip(1).map(object).collect::<String>()
    };
    let meta_2014 = "{'asin': 'a', 'title': \"Ant's &amp; Co\", 'categories': [['Toys', 'Farm']], 'price': 9.5}\n\
                     {'asin': 'b', 'categories': [['Toys']], 'related': {'also_bought': ['a']}, 'brand': 'Bee'}\n\
                     {'asin': 'c', 'title': u'Caf\\xe9'}\n";
    let meta_2018 = "{\"asin\": \"a\", \"title\": \"Ant's &amp; Co\", \"category\": [\"Toys\", \"Farm\"]}\n\
                     {\"asin\": \"b\", \"category\": [\"Toys\"], \"brand\": \"Bee\"}\n{\"asin\": \"c\", \"title\": \"Café\"}\n";
    let parts = |category: &str| Some(TitleParts::Several(["title", category, "brand"].map(String::from).to_vec()));
    let plain = dataset("amazon", &config(write(dir, "plain.tsv", LOG), None)).unwrap();
    for (log, meta, category) in [
        (
            write(dir, "reviews_Farm_5.json.gz", &objects("reviewerID", "asin", "unixReviewTime")),
            write(dir, "meta_Farm.json.gz", meta_2014),
            "categories",
        ),
        (
            write(dir, "Farm.jsonl", &objects("user_id", "parent_asin", "timestamp")),
            write(dir, "meta_2023.jsonl", &meta_2018.replace("asin", "parent_asin")),
            "category",
        ),
    ] {
        let mut config = DataConfig { strict: true, ..config(log, Some(meta)) };
        config.columns.title = parts(category);
        let data = prepare("amazon", &config).unwrap();
        assert_eq!((&data.dataset.train, &data.dataset.test), (&plain.train, &plain.test));
        assert_eq!(data.dataset.catalog.titles(), ["Ant's & Co Toys Farm", "Toys Bee", "Café"]);
        // The exported tables, read again, are the same data set.
        let out = dir.join("out");
        std::fs::create_dir_all(&out).unwrap();
        to_parquet(&data, &out).unwrap();
        let files = super::config(out.join("interactions.parquet"), Some(out.join("items.parquet")));
        let again = prepare("amazon", &files).unwrap();
        assert_eq!((again.dataset, again.times), (data.dataset, data.times));
    }
}

#[test]
fn lists_and_pairs_in_a_text_file_are_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let lists = dataset("t", &config(write(dir.path(), "lists.txt", "1 5 6 7\n2 6 5 7 8\n"), None)).unwrap();
    let pairs =
        dataset("t", &config(write(dir.path(), "pairs.txt", "1 5\n1 6\n2 6\n2 5\n1 7\n2 7\n2 8\n"), None)).unwrap();
    assert_eq!(lists, pairs);
    assert_eq!(lists.test.row(UserId(1)), [ItemId(4)]);
}

#[test]
fn a_folder_or_a_pattern_is_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let whole = dataset("log", &config(write(dir, "whole.tsv", LOG), None)).unwrap();
    let parts = dir.join("parts");
    std::fs::create_dir(&parts).unwrap();
    let rows: Vec<&str> = LOG.lines().skip(1).collect();
    write(&parts, "1.tsv.gz", &format!("user\titem\tpos\n{}\n", rows[..3].join("\n")));
    write(&parts, "2.csv", &format!("user,item,pos\n{}\n", rows[3..].join("\n").replace('\t', ",")));
    write(&parts, "notes.md", "not a log");
    assert_eq!(dataset("log", &config(parts.clone(), None)).unwrap(), whole);
    assert_eq!(dataset("log", &config(parts.join("[12].*"), None)).unwrap(), whole);
    assert!(message(&config(parts.join("*.parquet"), None)).contains("no file here"));
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let broken = format!("{LOG}2\tb\n10\t\t7\n");
    let path = write(dir.path(), "l.tsv", &broken);
    let data = prepare("log", &config(path.clone(), None)).unwrap();
    let RejectedRows { read, rows, examples } = data.rejected;
    assert_eq!((read, rows), (7, 2));
    assert!(examples[0].contains("row 9: 2 fields") && examples[1].contains("row 10: `item` is empty"), "{examples:?}");
    assert_eq!(data.dataset, dataset("log", &config(write(dir.path(), "whole.tsv", LOG), None)).unwrap());
    assert!(message(&DataConfig { strict: true, ..config(path, None) }).contains("row 9"));
}

#[test]
fn a_temporal_split_is_cut_by_dates() {
    let dir = tempfile::tempdir().unwrap();
    let rows =
        "user,item,time\nu,a,2014-01-01\nu,b,2014-02-01 08:00:00\nu,c,2014-03-01\nv,a,2014-01-02\nv,b,2014-04-01\n";
    let log = write(dir.path(), "l.csv", rows);
    let dated = |valid: &str, test: &str| DataConfig {
        split: Split::Temporal,
        temporal_valid_from: Some(ra_data::TimePoint::Text(valid.into())),
        temporal_test_from: Some(ra_data::TimePoint::Text(test.into())),
        ..config(log.clone(), None)
    };
    let data = dataset("log", &dated("2014-03-01", "2014-03-15")).unwrap();
    assert_eq!(
        (data.train.row(UserId(0)), data.valid.row(UserId(0)), data.test.row(UserId(1))),
        (&ItemId::list([1, 2])[..], &[ItemId(3)][..], &[ItemId(2)][..])
    );
    assert!(data.split.contains("2014-03-15"));
    assert!(message(&dated("soon", "2014-03-15")).contains("temporal_valid_from is"));
}

#[test]
fn cold_items_are_held_out_of_training_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String =
        (0..200).flat_map(|u| (0..8).map(move |t| format!("u{u}\ti{}\t{t}\n", (u * 7 + t * 13) % 60))).collect();
    let log = write(dir.path(), "l.tsv", &format!("user\titem\tpos\n{rows}"));
    let with = |cold_items| DataConfig { cold_items, ..config(log.clone(), None) };
    let (all, some) = (prepare("log", &with(0.0)).unwrap(), prepare("log", &with(0.3)).unwrap());
    let (data, whole) = (&some.dataset, &all.dataset);
    let cold: Vec<bool> = data.popularity().iter().map(|&count| count == 0).collect();
    let count = cold[1..].iter().filter(|&&cold| cold).count();
    assert!((8..29).contains(&count), "about 18 of 60: {count}");
    let kept = |user| whole.train.row(user).iter().copied().filter(|&item| !cold[item.index()]).collect::<Vec<_>>();
    assert!(
        UserId::all(200).all(|user| data.train.row(user) == kept(user) && data.test.row(user) == whole.test.row(user))
    );
    assert_eq!((&data.catalog, data.train.total()), (&whole.catalog, some.times[0].len()));
    assert!(data.test.rows().flatten().any(|&item| cold[item.index()]), "they are asked for");
    assert!(data.fingerprint() != whole.fingerprint() && data.filter.contains("cold_items=0.3"));
    let refused = ra_data::to_parquet_within("log", &with(0.3), None, 1 << 20, dir.path()).unwrap_err().to_string();
    assert!(refused.contains("cold_items") && message(&with(1.0)).contains("cold_items is"), "{refused}");
}

#[test]
fn unusual_logs_are_logs() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = String::from("user\titem\tpos\nlone\tx\t0\n");
    (0..2314).for_each(|at| rows += &format!("Ünï\u{1f600}\titem {}\t{at}\n", at % 700));
    let titles = (0..700).map(|i| format!("item {i}\tτίτλος {i} 题\n")).collect::<String>();
    let titles = write(dir.path(), "t.tsv", &format!("item\ttitle\n{titles}"));
    let data = dataset("log", &config(write(dir.path(), "l.tsv", &rows), Some(titles))).unwrap();
    assert_eq!(data.users, ["lone", "Ünï\u{1f600}"]);
    assert_eq!((data.train.row(UserId(0)).len(), data.train.row(UserId(1)).len()), (1, 2312));
    assert!(data.catalog.titles().iter().filter(|t| t.contains('题')).count() == 700);
}

#[test]
fn an_arrow_file_is_a_log_like_any_other() {
    use ra_data::Column;
    let dir = tempfile::tempdir().unwrap();
    let parquet = dir.path().join("l.parquet");
    let fields = |at: usize| LOG.lines().skip(1).map(move |line| line.split('\t').nth(at).unwrap().to_owned());
    let columns = [
        ("user", Column::Text(fields(0).collect())),
        ("item", Column::Text(fields(1).collect())),
        ("pos", Column::Numbers(fields(2).map(|at| at.parse().unwrap()).collect())),
    ];
    write_columns(&parquet, &columns).unwrap();
    let plain = dataset("log", &config(write(dir.path(), "l.tsv", LOG), None)).unwrap();
    assert_eq!(dataset("log", &config(parquet.clone(), None)).unwrap(), plain);
    let batch =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&parquet).unwrap());
    let batch = batch.unwrap().build().unwrap().next().unwrap().unwrap();
    let path = |name: &str| Path::new(dir.path()).join(name);
    let file = |name| std::fs::File::create(path(name)).unwrap();
    let mut footed = arrow::ipc::writer::FileWriter::try_new(file("l.arrow"), &batch.schema()).unwrap();
    footed.write(&batch).unwrap();
    footed.finish().unwrap();
    let mut streamed = arrow::ipc::writer::StreamWriter::try_new(file("l.feather"), &batch.schema()).unwrap();
    streamed.write(&batch).unwrap();
    streamed.finish().unwrap();
    for name in ["l.arrow", "l.feather"] {
        assert_eq!(dataset("log", &config(path(name), None)).unwrap(), plain, "{name}");
    }
}
