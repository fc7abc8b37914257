//! Times in every unit and spelling: one instant is one number.
use super::strangers_typed::{DAY, START, csv, items, parquet_of, plain, rows, users};
use super::{config, dataset, message, write};
use arrow::array::{
    ArrayRef, Date32Array, Date64Array, Int64Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use parquet::basic::Compression;
use ra_data::{DataConfig, Split, TimePoint, describe, prepare, to_parquet, to_parquet_within};
use std::path::PathBuf;
use std::sync::Arc;

fn by_dates(log: PathBuf, valid: &str, test: &str) -> DataConfig {
    DataConfig {
        split: Split::Temporal,
        temporal_valid_from: Some(TimePoint::Text(valid.into())),
        temporal_test_from: Some(TimePoint::Text(test.into())),
        ..config(log, None)
    }
}

#[test]
fn a_time_is_read_in_whatever_unit_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let seconds = || rows().map(|(.., at)| at);
    let days: Vec<i32> = seconds().map(|at| (at / DAY) as i32).collect();
    let micro = TimestampMicrosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000));
    let typed: Vec<ArrayRef> = vec![
        Arc::new(TimestampSecondArray::from_iter_values(seconds())),
        Arc::new(TimestampMillisecondArray::from_iter_values(seconds().map(|at| at * 1_000))),
        Arc::new(micro.clone().with_timezone("Europe/Berlin")),
        Arc::new(micro),
        Arc::new(TimestampNanosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000_000))),
        Arc::new(Date32Array::from(days)),
        Arc::new(Date64Array::from_iter_values(seconds().map(|at| at * 1_000))),
        Arc::new(Int64Array::from_iter_values(seconds().map(|at| at * 1_000_000_000))),
    ];
    type Writer = fn(i64) -> String;
    let written: [(&str, Writer); 8] = [
        ("s.csv", |at| at.to_string()),
        ("ms.csv", |at| (at * 1_000).to_string()),
        ("us.csv", |at| (at * 1_000_000).to_string()),
        ("float.csv", |at| format!("{at}.0")),
        ("exponent.csv", |at| format!("{}e9", at as f64 / 1e9)),
        ("days.csv", |at| day_of(at).replace('-', "")),
        ("iso.csv", |at| format!("{} 00:00", day_of(at))),
        ("offset.csv", |at| format!("{}T02:00:00.0+02:00", day_of(at))),
    ];
    let texts = written.iter().map(|(name, time)| write(dir, name, &csv(time)));
    let texts: Vec<PathBuf> = texts.collect();
    let files = typed.into_iter().enumerate().map(|(at, column)| {
        let columns = [("user", users()), ("item", items()), ("ts", column)];
        parquet_of(dir, &format!("{at}.parquet"), columns, Compression::SNAPPY)
    });
    let whole = plain(dir);
    let parts = dataset("log", &by_dates(dir.join("plain.csv"), "2014-05-01", "2014-06-15")).unwrap();
    assert_eq!([&parts.train, &parts.valid, &parts.test].map(ra_core::Sequences::total), [12, 5, 3]);
    for file in texts.into_iter().chain(files) {
        let name = file.display().to_string();
        let data = prepare("log", &DataConfig { strict: true, ..config(file.clone(), None) }).unwrap();
        assert_eq!(data.dataset, whole, "{name}");
        assert_eq!(data.span(), Some([START as f64, (START + 190 * DAY) as f64]), "{name}");
        let told = describe(&data).to_string();
        assert!(told.contains("from 2014-01-01 (1388534400) to 2014-07-10 (1404950400)"), "{name}: {told}");
        assert_eq!(dataset("log", &by_dates(file.clone(), "2014-05-01", "2014-06-15")).unwrap(), parts, "{name}");
        // An export, in memory or not, is the same log in seconds.
        for (out, in_parts) in [(dir.join("whole"), false), (dir.join("parts"), true)] {
            let log = if in_parts {
                to_parquet_within("log", &config(file.clone(), None), None, 1 << 22, &out).unwrap();
                out.join("interactions/*.parquet")
            } else {
                to_parquet(&data, &out).unwrap();
                out.join("interactions.parquet")
            };
            let again = prepare("log", &config(log, None)).unwrap();
            assert_eq!((&again.dataset, &again.times), (&whole, &data.times), "{name}");
        }
    }
}

/// Returns the date of a midnight, found by counting days.
fn day_of(at: i64) -> String {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut day, mut month) = ((at - START) / DAY, 0);
    while day >= LENGTHS[month] {
        day -= LENGTHS[month];
        month += 1;
    }
    format!("2014-{:02}-{:02}", month + 1, day + 1)
}

#[test]
fn one_instant_has_one_fingerprint() {
    let dir = tempfile::tempdir().unwrap();
    plain(dir.path());
    let log = dir.path().join("plain.csv");
    let cuts = |valid: TimePoint| {
        let config = DataConfig { temporal_valid_from: Some(valid), ..by_dates(log.clone(), "", "2014-06-15") };
        dataset("log", &config).unwrap().fingerprint()
    };
    let day = cuts(TimePoint::Text("2014-05-01".into()));
    for same in ["2014-05-01T00:00:00", "2014-05-01 02:00+02:00", "1398902400", "20140501"] {
        assert_eq!(cuts(TimePoint::Text(same.into())), day, "{same}");
    }
    for same in [1_398_902_400.0, 1_398_902_400_000.0, 20_140_501.0] {
        assert_eq!(cuts(TimePoint::Number(same)), day, "{same}");
    }
    assert_ne!(cuts(TimePoint::Text("2014-05-01T00:00:01".into())), day);
    // For cuts that hold nothing out, the error gives the time that the log spans.
    let told = message(&by_dates(log.clone(), "2014-05-01", "2019-01-01"));
    assert!(told.contains("temporal_test_from is 2019-01-01") && told.contains("2014-01-01 to 2014-07-10"), "{told}");
    let told = message(&by_dates(log, "2010-05-01", "2010-06-01"));
    assert!(told.contains("temporal_valid_from is 2010-05-01") && told.contains("none to train on"), "{told}");
}

#[test]
fn times_are_ordered_by_the_instant() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = |name: &str, times: [&str; 4]| {
        let row = |(item, time): (usize, &str)| format!("u,i{item},{time}\n");
        let rows: String = times.into_iter().enumerate().map(row).collect();
        dataset("log", &config(write(dir, name, &format!("user,item,ts\n{rows}")), None)).unwrap()
    };
    let spelled =
        ["2014-01-01T14:00:00+14:00", "2013-12-31T14:00:00-11:00", "2014-01-01T02:00:00Z", "2014-01-01 03:00"];
    assert_eq!(
        log("offsets.csv", spelled),
        log("seconds.csv", ["1388534400", "1388538000", "1388541600", "1388545200"])
    );
    let mixed = ["1388534400", "1389398400000", "2014-01-21", "1391126400000000"];
    assert_eq!(log("mixed.csv", mixed), log("one.csv", ["1388534400", "1389398400", "1390262400", "1391126400"]));
    let strict = |log: PathBuf| DataConfig { strict: true, ..config(log, None) };
    let told = message(&strict(dir.join("mixed.csv")));
    assert!(told.contains("1 in seconds, 1 in milliseconds, 1 in microseconds, 1 as dates"), "{told}");
    // Places in an order are never times.
    let order = write(dir, "order.csv", "user,item,pos\nu,a,20140101\nu,b,99\nu,c,1389398400000\nu,d,0\n");
    let data = prepare("log", &strict(order)).unwrap();
    assert_eq!((data.times, data.rejected.rows), ([vec![0.0, 99.0], vec![20_140_101.0], vec![1_389_398_400_000.0]], 0));
    let small = |rows: &str| strict(write(dir, "small.csv", &format!("user,item,ts\n{rows}")));
    assert_eq!(prepare("log", &small("u,a,0\nu,b,-1\nu,c,2014010\nu,d,7\n")).unwrap().rejected.rows, 0);
    let told = message(&small("u,a,5\nu,b,7\nu,c,20140101\nu,d,8\n"));
    assert!(told.contains("3 in seconds, 1 as numbers such as 20140101, which are read as seconds"), "{told}");
}

#[test]
fn what_is_no_time_is_counted_and_the_forms_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, time) in [
        ("american.csv", "1/1/2014 9:05"),
        ("am-pm.csv", "01/01/2014 9:05:58 AM"),
        ("german.csv", "01.03.2014"),
        ("word.csv", "yesterday"),
    ] {
        let told = message(&config(write(dir, name, &csv(|_| time.into())), None));
        let forms = told.contains("2014-03-01 10:00[:00[.5]]") && told.contains("milliseconds");
        assert!(told.contains(time) && told.contains("none of its 20 rows") && forms && !told.contains('\n'), "{told}");
    }
    let dates: fn(i64) -> String = |at| format!("Wed Jan 01 {:02}:00:00 -0800 2014", (at - START) / (10 * DAY));
    assert_eq!(dataset("log", &config(write(dir, "words.csv", &csv(dates)), None)).unwrap(), plain(dir));
    // In a log with a clock, times that stand for "unknown" are left out; the rest is the log without them.
    let good = csv(|at| at.to_string());
    let plain = plain(dir);
    for unknown in [
        "0",
        "-1",
        "9999999999999",
        "253402300799",
        "-62135596800",
        "0001-01-01",
        "9999-12-31",
        "1970-01-01",
        "2147483647",
        "-2147483648",
        "1900-01-01",
        "2099-12-31",
    ] {
        let log = write(dir, "unknown.csv", &format!("{good}u1,i7,{unknown}\nu9,i9,{unknown}\n"));
        let data = prepare("log", &config(log.clone(), None)).unwrap();
        assert_eq!((&data.dataset, data.rejected.rows, data.rejected.read), (&plain, 2, 20), "{unknown}");
        assert!(
            data.rejected.examples[0].contains("row 22") && data.rejected.examples[0].contains(unknown),
            "{data:?}"
        );
        assert!(message(&DataConfig { strict: true, ..config(log.clone(), None) }).contains("row 22"), "{unknown}");
        let bounded = to_parquet_within("log", &config(log, None), None, 1 << 22, &dir.join("out")).unwrap();
        assert_eq!((bounded.fingerprint, bounded.rejected.rows), (plain.fingerprint(), 2), "{unknown}");
    }
    // Numbers among days that are not days.
    let days = csv(|at| day_of(at).replace('-', ""));
    for wrong in ["99991231", "20140230", "5", "0", "19000101"] {
        let log = write(dir, "wrong-day.csv", &format!("{days}u1,i7,{wrong}\n"));
        let data = prepare("log", &config(log.clone(), None)).unwrap();
        assert_eq!((&data.dataset, data.rejected.rows), (&plain, 1), "{wrong}");
        assert!(message(&DataConfig { strict: true, ..config(log.clone(), None) }).contains("row 22"), "{wrong}");
        let bounded = to_parquet_within("log", &config(log, None), None, 1 << 22, &dir.join("out")).unwrap();
        assert_eq!((bounded.fingerprint, bounded.rejected.rows), (plain.fingerprint(), 1), "{wrong}");
    }
    let nulls = TimestampMicrosecondArray::from_iter(rows().map(|(.., at)| Some(at * 1_000_000)).chain([None]));
    let columns = [(0, users()), (1, items())].map(|(_, column)| {
        arrow::compute::concat(&[&column, &(Arc::new(StringArray::from(vec!["u1"])) as ArrayRef)]).unwrap()
    });
    let [users, items] = columns;
    let columns = [("user", users), ("item", items), ("ts", Arc::new(nulls) as ArrayRef)];
    let data = prepare("log", &config(parquet_of(dir, "n.parquet", columns, Compression::SNAPPY), None)).unwrap();
    assert_eq!((data.dataset, data.rejected.rows), (plain, 1));
    assert!(data.rejected.examples[0].contains("`ts` is empty"), "{:?}", data.rejected);
}

#[test]
fn numbers_that_only_look_like_times_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let told = |times: &dyn Fn(i64) -> String| {
        let log = write(dir, "odd.csv", &(csv(times) + &csv(times).replace("user,item,ts\n", "").repeat(2)));
        message(&DataConfig { strict: true, ..config(log, None) })
    };
    let day = |at| day_of(at).replace('-', "");
    for stamp in [told(&|at| day(at) + "09"), told(&|at| day(at) + "0930"), told(&|at| day(at) + "0000")] {
        assert!(stamp.contains("look like year, month, day and hour"), "{stamp}");
    }
    for rounded in [told(&|at| format!("{:.2}E+09", at as f64 / 1e9)), told(&|at| format!("{:.5}e12", at as f64 / 1e9))]
    {
        assert!(rounded.contains("holds rounded times such as 1.3"), "{rounded}");
    }
    let rating = told(&|at| (at / DAY % 5).to_string());
    assert!(rating.contains("different values in 60 rows") && rating.contains("are they ratings?"), "{rating}");
}

#[test]
fn a_date_too_early_for_numbers_of_days_is_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let numbers: String = (0..20).map(|k| format!("u{},i{},{}\n", k % 4, k % 5, 20_140_101 + k)).collect();
    let log = write(dir.path(), "log.csv", &format!("user,item,ts\n{numbers}u1,i9,1971-05-05\n"));
    let data = prepare("log", &config(log.clone(), None)).unwrap();
    assert_eq!(data.dataset.interactions(), 20, "the date is rejected, and not taken for one of the numbers");
    assert_eq!(data.rejected.rows, 1);
    let told = &data.rejected.examples[0];
    assert!(told.contains("row 22") && told.contains("too early for a column of day numbers"), "{told}");
}
