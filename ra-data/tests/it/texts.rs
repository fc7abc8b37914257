//! Texts of items by a template.
use super::{LOG, config, dataset, message, write};
use ra_core::ItemId;
use ra_data::{DataConfig, audit, describe, prepare, to_parquet};
use std::path::{Path, PathBuf};

const TEMPLATE: &str = "{title}. Category: {category}. Brand: {brand}. Year {year}";

fn with_text(dir: &Path, items: PathBuf, template: &str) -> DataConfig {
    DataConfig {
        text: Some(template.parse().unwrap()),
        strict: true,
        ..config(write(dir, "log.tsv", LOG), Some(items))
    }
}

#[test]
fn every_format_gives_the_same_texts_with_plain_numbers_and_lists() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();

    for items in [
        write(
            dir,
            "bars.tsv",
            "item\ttitle\tcategory\tbrand\tyear\na\tAnt\tToys|Farm\tB &amp; C\t1998.0\nb\tBee\t\tnan\t\nc\t\tSea\tNone\t2001\n",
        ),
        write(
            dir,
            "quoted.csv",
            "item,title,category,brand,year\na,Ant,\"['Toys', 'Farm']\",B & C,1998\nb,Bee,,,\nc,,Sea,,2001\n",
        ),
        write(
            dir,
            "bare-list.tsv",
            "item\ttitle\tcategory\tbrand\tyear\na\tAnt\t'Toys', 'Farm'\tB & C\t1998\nb\tBee\t\t\t\nc\t\t'Sea'\t\t2001\n"
                .replace("'Sea'", "Sea")
                .as_str(),
        ),
        write(
            dir,
            "items.jsonl",
            "{\"item\": \"a\", \"title\": \"Ant\", \"category\": [[\"Toys\"], [\"Farm\"]], \"brand\": \"B & C\", \"year\": 1998}\n\
             {\"item\": \"b\", \"title\": \"Bee\", \"category\": [], \"brand\": null}\n\
             {\"item\": \"c\", \"category\": \"Sea\", \"year\": 2001.0}\n",
        ),
    ] {
        let name = items.display().to_string();
        let data = dataset("texts", &with_text(dir, items, TEMPLATE)).unwrap();
        let texts: Vec<String> = data.catalog.all().map(|item| data.catalog.text(item).into_owned()).collect();
        let expected = ["Ant. Category: Toys, Farm. Brand: B & C. Year 1998", "Bee", "Category: Sea. Year 2001"];
        assert_eq!(texts, expected, "{name}");
        assert_eq!(data.catalog.titles(), ["Ant", "Bee", ""], "{name}");
        assert_eq!(data.catalog.text_parts(ItemId(1))[1], ". Category: Toys, Farm");
    }
}

#[test]
fn the_title_is_the_one_that_is_read_and_need_not_be_part_of_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let items = write(dir, "items.csv", "item,name,kind\na,Ant,x\nb,Bee,y\nc,Sea,z\n");
    let mut named = with_text(dir, items.clone(), "{kind}: {title}");
    named.columns.title = Some(ra_data::TitleParts::One("name".into()));
    assert_eq!(dataset("texts", &named).unwrap().catalog.text(ItemId(2)), "y: Bee");
    let untitled = dataset("texts", &with_text(dir, items, "A {kind}")).unwrap();
    assert_eq!((untitled.catalog.text(ItemId(3)).as_ref(), untitled.catalog.title(ItemId(3))), ("A z", ""));
}

#[test]
fn a_field_that_no_file_has_is_an_error_that_lists_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let json = "{\"item\": \"a\", \"title\": \"Ant\", \"kind\": {\"name\": \"x\"}}\n";
    let parts = dir.join("parts");
    std::fs::create_dir(&parts).unwrap();
    write(&parts, "one.jsonl", json);
    write(&parts, "two.jsonl", &json.replace("\"a\"", "\"b\""));
    for items in [write(dir, "items.tsv", "item\ttitle\tkind\na\tAnt\tx\n"), write(dir, "items.jsonl", json), parts] {
        let told = message(&DataConfig { strict: false, ..with_text(dir, items, "{title} {colour}") });
        assert!(told.contains("{colour}") && told.contains("`text`"), "{told}");
        assert!(["`item`", "`title`", "`kind`"].iter().all(|name| told.contains(name)), "{told}");
    }
    let told = message(&with_text(dir, dir.join("items.jsonl"), "{title} {kind}"));
    assert!(told.contains("object") && told.contains("text"), "{told}");
    let inner = DataConfig { strict: false, ..with_text(dir, dir.join("items.jsonl"), "{title} {kind.name}") };
    assert_eq!(dataset("texts", &inner).unwrap().catalog.text(ItemId(1)), "Ant x");
    let told = message(&DataConfig { items: None, ..inner });
    assert!(told.contains("text") && told.contains("set items"), "{told}");
}

#[test]
fn a_table_in_parts_may_lack_a_field_in_some_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let parts = dir.join("parts");
    std::fs::create_dir(&parts).unwrap();
    write(&parts, "one.jsonl", "{\"item\": \"a\", \"title\": \"Ant\"}\n{\"item\": \"b\", \"title\": \"Bee\"}\n");
    write(&parts, "two.jsonl", "{\"item\": \"c\", \"title\": \"Sea\", \"kind\": \"z\"}\n");
    let data = dataset("texts", &with_text(dir, parts, "{title}[ ({kind})]")).unwrap();
    assert_eq!([1, 3].map(|item| data.catalog.text(ItemId(item)).into_owned()), ["Ant", "Sea (z)"]);
}

#[test]
fn items_without_a_text_are_counted_and_an_export_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let items = write(dir, "items.csv", "item,title,kind\na,Ant,x\nb,,y\nc,,\n");
    let config = with_text(dir, items, "{title} of {kind}");
    let data = prepare("texts", &config).unwrap();
    let told = describe(&data);
    let texts = told.texts.as_ref().unwrap();
    assert_eq!((texts.empty, told.empty_titles, texts.lacking.as_slice()), (1, 2, &[("kind".to_owned(), 1)][..]));
    assert!(told.to_string().contains("1 empty, 0 shared with another item, words per text"), "{told}");
    let found = audit(&data).findings.into_iter().find(|found| found.name == "empty texts").unwrap();
    assert!(found.told.contains("1 of 3 items have no text"), "{}", found.told);
    let out = dir.join("out");
    std::fs::create_dir(&out).unwrap();
    to_parquet(&data, &out).unwrap();
    let again = DataConfig {
        interactions: Some(out.join("interactions.parquet")),
        items: Some(out.join("items.parquet")),
        ..config
    };
    assert_eq!(prepare("texts", &again).unwrap().dataset, data.dataset);
}
