//! How a build checks itself: golden cases and contracts. What cannot be compared is not compared.
use crate::cli::Root;
use crate::workspace;

#[test]
fn golden_cases_pass_and_a_changed_figure_fails() {
    let root = Root::new();
    let verify = |crate_name: &str, precision| {
        let golden = workspace().join(crate_name).join("tests/golden");
        let told = root.ok(&["verify", golden.to_str().unwrap(), "--precision", precision]);
        assert!(told.contains(" 0 failed"), "{told}");
    };
    // Whatever multiplies no matrix of a language model does not depend on the precision.
    ["ra-llm", "ra-idmodels", "ra-eval", "ra-data"].iter().for_each(|name| verify(name, "f32"));
    ["f16", "bf16", "int16"].iter().for_each(|precision| verify("ra-llm", precision));
    let golden = workspace().join("ra-data/tests/golden");
    for part in ["k2.input.json", "k2.expected.json"] {
        let text = std::fs::read_to_string(golden.join(part)).unwrap();
        root.write(&format!("cases/{part}"), &text.replace("\"kcore_rows\": 56", "\"kcore_rows\": 57"));
    }
    let output = root.xtask(&["verify", "cases"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("kcore_rows differs"));
    root.write("cases/odd.json", "{}");
    assert!(root.error(&["verify", "cases", "--only", "odd"]).contains("1 of 1 cases failed"));
    assert!(root.error(&["verify", "cases", "--only", "gpt2"]).contains("no golden case found"));
}

/// Returns a safetensors file with the bytes of its tensors changed by name.
fn rewritten(bytes: &[u8], change: impl Fn(&str, &[usize], &[u8]) -> (Vec<usize>, Vec<u8>)) -> Vec<u8> {
    use safetensors::tensor::{SafeTensors, TensorView};
    let file = SafeTensors::deserialize(bytes).unwrap();
    let parts: Vec<_> = file
        .iter()
        .map(|(name, view)| {
            let (shape, data) = change(name, view.shape(), view.data());
            (name.to_owned(), view.dtype(), shape, data)
        })
        .collect();
    let views = parts
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Copies the golden case of BERT4Rec to `to`, with its arrays changed.
fn bert4rec(root: &Root, to: &str, change: impl Fn(&str, &[usize], &[u8]) -> (Vec<usize>, Vec<u8>)) {
    let golden = workspace().join("ra-idmodels/tests/golden");
    std::fs::create_dir_all(root.path(to)).unwrap();
    std::fs::copy(golden.join("bert4rec.json"), root.path(to).join("bert4rec.json")).unwrap();
    for part in ["input", "expected"] {
        let name = format!("bert4rec.{part}.safetensors");
        let bytes = std::fs::read(golden.join(&name)).unwrap();
        std::fs::write(root.path(to).join(name), rewritten(&bytes, &change)).unwrap();
    }
}

#[test]
fn padding_is_left_out_of_a_comparison_and_what_is_wrong_beside_it_is_not() {
    let root = Root::new();
    // Two columns after every sequence: padding in the inputs, meaningless numbers in the expected values.
    let padded = |name: &str, shape: &[usize], data: &[u8]| {
        if !["seq", "label", "encoder", "head"].contains(&name) {
            return (shape.to_vec(), data.to_vec());
        }
        let (row, width) = (data.len() / shape[0], data.len() / shape[0] / shape[1]);
        let filler = if name == "seq" || name == "label" { 0 } else { 64 };
        let wide = data.chunks(row).flat_map(|row| [row, &vec![filler; 2 * width]].concat()).collect();
        ([&[shape[0], shape[1] + 2], &shape[2..]].concat(), wide)
    };
    bert4rec(&root, "padded", padded);
    let told = root.ok(&["verify", "padded"]);
    assert!(told.contains("1 passed, 0 failed"), "{told}");
    bert4rec(&root, "wrong", |name, shape, data| {
        let (shape, mut data) = padded(name, shape, data);
        if name == "encoder" {
            data[3] ^= 0x80; // the sign of the first number of the first item's state
        }
        (shape, data)
    });
    let output = root.xtask(&["verify", "wrong"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("encoder: error"), "{output:?}");
}

#[test]
fn a_coarser_language_model_forgives_an_id_model_nothing() {
    let root = Root::new();
    bert4rec(&root, "off", |name, shape, data| {
        let number = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap()) * 1.001;
        let off = || data.chunks(4).flat_map(|b| number(b).to_le_bytes()).collect();
        (shape.to_vec(), if name == "masked_logits" { off() } else { data.to_vec() })
    });
    for precision in ["f32", "bf16"] {
        let output = root.xtask(&["verify", "off", "--precision", precision]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("masked_logits: error"), "{precision}: {output:?}");
    }
}

#[test]
fn contracts_are_checked_of_every_id_method_that_a_recipe_may_name() {
    let root = Root::new();
    let golden = workspace().join("ra-llm/tests/golden/bert");
    let told = root.ok(&["contracts", golden.to_str().unwrap()]);
    for kind in ra_idmodels::IdConfig::KINDS {
        assert!(told.lines().any(|line| line == format!("ok   {kind}")), "{kind}: {told}");
    }
}

#[test]
fn a_method_that_is_more_than_its_vectors_is_not_aligned() {
    let root = Root::new();
    let markov = "id=[{kind=\"markov\"}]";
    let told = root.error(&["run", "tiny", "--out", "x", "--set", markov]);
    assert!(told.contains("markov") && told.contains("ra-rec") && told.contains("sasrec"), "{told}");
    assert!(!root.path("x").exists(), "what is refused leaves nothing");
    root.ok(&["run", "tiny", "--out", "alone", "--set", markov, "--set", "eval.rows=['id', 'text', 'prefix-only']"]);
}

#[test]
fn a_row_that_is_trained_by_another_loss_says_so() {
    let root = Root::new();
    let rows = "eval.rows=['id', 'ra-rec', 'lora']";
    let names = |run: &str| {
        let rows = root.report(run)["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let output = root.xtask(&["run", "tiny", "--out", "mixed", "--set", rows]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("without align.loss"), "{output:?}");
    assert!(names("mixed").contains(&"lora(sasrec, lm, without align.loss)".into()), "{:?}", names("mixed"));
    root.ok(&["run", "tiny", "--out", "alike", "--set", rows, "--set", "align.loss='none'"]);
    assert!(names("alike").contains(&"lora(sasrec, lm)".into()), "{:?}", names("alike"));
}

#[test]
fn a_bench_is_kept_as_json_and_compared() {
    let root = Root::new();
    let json = root.ok(&["bench", "minilm-prompt", "--threads", "1", "--json"]);
    let record: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&record["threads"], &record["figures"][0]["name"]), (&1.into(), &"minilm-prompt".into()), "{json}");
    assert_eq!(record["figures"].as_array().unwrap().len(), 1);
    let share = record["figures"][0]["flops_share"].as_f64().unwrap();
    assert!(share > 0.0 && record["limits"]["bytes_per_s"]["all_threads"].as_f64().unwrap() > 0.0, "{json}");
    root.write("a.json", &json);
    root.write("old.json", &record["figures"].to_string());
    let told = root.ok(&["bench", "--compare", "a.json", "a.json", "--to", "pages/speed.html"]);
    assert!(told.contains("1.000") && !told.contains("warning"), "{told}");
    assert!(std::fs::read_to_string(root.path("pages/speed.html")).unwrap().contains("minilm-prompt"));
    assert!(root.error(&["bench", "--compare", "a.json", "old.json"]).contains("old.json: is a list of figures"));
    assert!(root.error(&["bench", "rank", "nothing"]).contains("no bench \"nothing\""));
    assert!(root.error(&["bench", "--threads", "1", "--scaling"]).contains("--threads N"));
    // The command line itself refuses these.
    for args in [&["bench", "--threads", "0"][..], &["bench", "rank", "--compare", "a", "b"], &["bench", "--to", "p"]] {
        assert_eq!(root.xtask(args).status.code(), Some(2), "{args:?}");
    }
}
