//! Titles are tokenized as ordinary words, whatever they contain.
use crate::strangers::load;
use crate::{device, folder};
use ra_core::{Error, Tokenizer};
use serde_json::{Value, json};

/// Changes the tokenizer of a folder.
fn change(folder: &std::path::Path, change: impl Fn(&mut Value)) {
    let path = folder.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut tokenizer);
    std::fs::write(path, tokenizer.to_string()).unwrap();
}

fn special(names: &[(&str, u32)]) -> Value {
    let token = |(name, id): &(&str, u32)| {
        json!({
            "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    };
    names.iter().map(token).collect()
}

#[test]
fn special_tokens_in_a_title_are_words() {
    let names = [("[UNK]", 1), ("[CLS]", 2), ("[SEP]", 3)];
    // Either brackets are separate words, or the tokenizer splits at spaces only and its vocabulary contains the
    // special names.
    for cut in ["Whitespace", "WhitespaceSplit"] {
        let dir = folder();
        change(dir.path(), |tokenizer| {
            tokenizer["added_tokens"] = special(&names);
            tokenizer["normalizer"] = Value::Null;
            tokenizer["pre_tokenizer"]["type"] = cut.into();
        });
        let lm = load(dir.path());
        let ids = lm
            .tokenizer
            .tokenize(&["toy [SEP] story", "[CLS]", "toy unheard story", "toy [UNK] story unheard"])
            .unwrap();
        assert!(ids.iter().flatten().all(|id| ![2, 3].contains(id)), "{cut}: {ids:?}");
        assert_eq!((ids[0][0], ids[0][ids[0].len() - 1]), (5, 6), "{cut}");
        assert_eq!(ids[2], [5, 1, 6], "{cut}: an unknown word stays one");
        assert_eq!((ids[3][1], ids[3][ids[3].len() - 1]), (1, 1), "{cut}: beside its token's name too");
        assert_eq!(
            lm.tokenizer.special_tokens(),
            (vec![2], vec![3]),
            "{cut}: what stands around a text is there all the same"
        );
    }
}

#[test]
fn any_characters_make_a_title() {
    let lm = load(folder().path());
    let long = "toy ".repeat(3_000);
    let titles = [
        "",
        " ",
        "\0toy\u{1b}[2J",
        "😀🦊",
        "玩具总动员",
        "toy\nstory\r\n",
        "<script>alert(1)</script>",
        "e\u{301}",
        &long,
    ];
    let ids = lm.tokenizer.tokenize(&titles).unwrap();
    assert_eq!(ids.len(), titles.len());
    assert_eq!((ids[0].len(), ids[8].len()), (0, 3_000));
}

#[test]
fn a_title_that_cannot_be_cut_is_an_error_that_names_it() {
    let dir = folder();
    // No token for unknown words.
    change(dir.path(), |tokenizer| tokenizer["model"]["unk_token"] = "[NONE]".into());
    let told = load(dir.path()).tokenizer.tokenize(&["toy", "toy\u{1b} unheard"]).unwrap_err();
    assert!(matches!(told, Error::Text { .. }));
    assert!(told.to_string().contains(r#"the text "toy\u{1b} unheard" cannot be tokenized"#), "{told}");
}

#[test]
fn a_word_list_alone_is_the_tokenizer_of_bert() {
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "toy", "story", "##s", ":", "a", "玩", "ℝ"];
    let list = |words: &[&str], end: &str| words.iter().map(|word| format!("{word}{end}")).collect::<String>();
    for end in ["\n", "\r\n"] {
        let dir = folder();
        std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
        std::fs::write(dir.path().join("vocab.txt"), list(&words, end)).unwrap();
        let lm = load(dir.path());
        assert_eq!(lm.tokenizer.special_tokens(), (vec![2], vec![3]));
        let ids = lm.tokenizer.tokenize(&["Toy Storys: á玩", "[SEP]", "\u{0}"]).unwrap();
        assert_eq!(
            ids[0],
            [5, 6, 7, 8, 9, 10],
            "lower case in spite of ℝ, no accents, a word is cut, a Chinese character is one"
        );
        assert!(!ids[1].contains(&3) && ids[2].is_empty(), "{ids:?}");

        std::fs::write(dir.path().join("tokenizer_config.json"), r#"{ "do_lower_case": false }"#).unwrap();
        let cased = load(dir.path());
        assert_eq!(cased.tokenizer.tokenize(&["Toy toy"]).unwrap(), [[1, 5]]);
        assert_ne!(cased.fingerprint, lm.fingerprint, "another tokenizer, another model");

        // A list with capital letters belongs to a cased model.
        std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
        std::fs::write(dir.path().join("vocab.txt"), list(&[&words[..], &["Toy"]].concat(), end)).unwrap();
        assert_eq!(load(dir.path()).tokenizer.tokenize(&["Toy toy"]).unwrap(), [[12, 5]]);
        std::fs::write(dir.path().join("vocab.txt"), "toy\nstory\n").unwrap();
        let told = ra_llm::load(dir.path(), None, &device()).unwrap_err().to_string();
        assert!(told.contains("vocab.txt: not a BERT word list: [UNK] is missing"), "{told}");
        std::fs::remove_file(dir.path().join("vocab.txt")).unwrap();
        let told = ra_llm::load(dir.path(), None, &device()).unwrap_err().to_string();
        assert!(told.contains("tokenizer.json: not found; create it with"), "{told}");
    }
}

#[test]
fn an_encoder_of_lower_case_is_given_lower_case() {
    let dir = folder();
    change(dir.path(), |tokenizer| tokenizer["normalizer"] = Value::Null);
    assert_eq!(load(dir.path()).tokenizer.tokenize(&["TOY"]).unwrap(), [[1]]);
    std::fs::write(dir.path().join("sentence_bert_config.json"), r#"{ "do_lower_case": true }"#).unwrap();
    assert_eq!(load(dir.path()).tokenizer.tokenize(&["TOY"]).unwrap(), [[5]]);
}
