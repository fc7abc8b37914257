//! Invariants of the workspace that ARCHITECTURE.md names.
use crate::documents::texts;
use crate::workspace;
use std::path::PathBuf;
use toml::{Table, Value};

const LEAVES: [&str; 5] = ["ra-data", "ra-idmodels", "ra-llm", "ra-align", "ra-eval"];

fn manifest(member: &str) -> Table {
    std::fs::read_to_string(workspace().join(member).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn dependencies(member: &str) -> Table {
    let mut all = Table::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(Value::Table(table)) = manifest(member).remove(kind) {
            all.extend(table);
        }
    }
    all
}

/// Returns every source file of the workspace with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = LEAVES.iter().chain(&["ra-core", "xtask"]).map(|m| workspace().join(m)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&entry).unwrap();
                found.push((entry, text));
            }
        }
    }
    assert!(found.len() > 40, "the sources are where they should be");
    found
}

#[test]
fn a_leaf_depends_on_ra_core_and_on_no_other_leaf() {
    for leaf in LEAVES {
        let ours: Vec<String> =
            dependencies(leaf).keys().filter(|k| k.starts_with("ra-") || *k == "xtask").cloned().collect();
        assert_eq!(ours, ["ra-core"], "{leaf}");
    }
    assert!(dependencies("ra-core").keys().all(|k| !k.starts_with("ra-")), "ra-core depends on no crate of ours");
}

#[test]
fn data_and_rankings_build_without_a_tensor_library() {
    let optional = |member: &str, package: &str| {
        let how = manifest(member)["dependencies"].get(package)?.get("optional").cloned();
        Some(how == Some(Value::Boolean(true)))
    };
    assert_eq!(optional("ra-data", "burn"), None);
    for (member, package) in [("ra-core", "burn"), ("ra-core", "gemm"), ("ra-eval", "burn"), ("ra-data", "polars")] {
        assert_eq!(optional(member, package), Some(true), "{member}: {package} comes by a feature");
    }
    for member in ["ra-data", "ra-eval"] {
        let core = manifest(member)["dependencies"]["ra-core"].clone();
        assert_eq!(core.get("features"), None, "{member} takes the core without its tensors");
    }
}

#[test]
fn heavy_dependencies_live_where_they_are_used() {
    // Two crates read tables: one reads logs, the other imported vectors.
    let tables = &["ra-data", "ra-idmodels"][..];
    let owners = [("polars", &["ra-data"][..]), ("arrow", tables), ("parquet", tables), ("tokenizers", &["ra-llm"])];
    for (package, owners) in owners {
        for member in LEAVES.iter().chain(&["ra-core", "xtask"]).filter(|m| !owners.contains(m)) {
            assert!(!dependencies(member).contains_key(package), "{package} belongs to {owners:?}, not {member}");
        }
    }
}

#[test]
fn every_version_is_chosen_once_for_the_workspace() {
    for member in LEAVES.iter().chain(&["ra-core", "xtask"]) {
        for (name, how) in dependencies(member) {
            assert_eq!(how.get("workspace"), Some(&Value::Boolean(true)), "{member}: {name}");
        }
    }
}

#[test]
fn back_ends_are_chosen_in_one_file() {
    let back_ends = ["cpu", "wgpu", "vulkan", "cuda", "cuda-nvrtc", "kernel-fusion", "tuned"];
    let names = back_ends.map(|name| ["feature", &format!(" = \"{name}\"")].concat());
    for (path, text) in sources() {
        let chooses = |line: &str| line.contains("cfg") && names.iter().any(|name| line.contains(name));
        let found: Vec<&str> = text.lines().filter(|line| chooses(line)).collect();
        assert!(found.is_empty() || path.ends_with("ra-core/src/device.rs"), "{}: {found:?}", path.display());
    }
}

/// Returns the files of a part of xtask, by their names within it, with their code without tests.
fn room(name: &str) -> Vec<(String, String)> {
    let within = format!("/xtask/src/{name}");
    let own = |(path, text): (PathBuf, String)| {
        let path = path.to_string_lossy().into_owned();
        let file = path.split_once(&within)?.1.to_owned();
        Some((file, text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()))
    };
    let files: Vec<(String, String)> = sources().into_iter().filter_map(own).collect();
    assert!(!files.is_empty(), "{within} is where it should be");
    files
}

#[test]
fn no_stage_calls_another() {
    let stages = ["data", "text", "open", "id_models", "samples", "align", "evaluate", "report"];
    let mut seen = 0;
    for (file, code) in room("stages/") {
        seen += stages.iter().filter(|stage| file == format!("{stage}.rs")).count();
        if file == "mod.rs" {
            continue;
        }
        // A stage uses only types of other stages: values flow down, and nothing is called back.
        for line in code.lines().filter_map(|line| line.trim_start().strip_prefix("use crate::stages::")) {
            let names = line.trim_end_matches(';').rsplit("::").next().unwrap_or_default();
            let names = names.trim_matches(['{', '}']).split(',').map(str::trim).filter(|name| !name.is_empty());
            for name in names {
                assert!(name.starts_with(char::is_uppercase), "stages/{file} takes {name} from another stage");
            }
        }
        let calls =
            |stage: &&&str| code.contains(&format!("stages::{stage}(")) || code.contains(&format!("super::{stage}("));
        assert_eq!(stages.iter().find(calls), None, "stages/{file} calls another stage");
    }
    assert_eq!(seen, stages.len(), "a file a stage");
}

#[test]
fn rooms_of_xtask_look_down_and_never_up() {
    // From the ground up: each part uses only those before it.
    let rooms = ["recipe", "store", "context", "stages", "run", "suite", "tune", "commands"];
    for (at, own) in rooms.iter().enumerate() {
        let files = if workspace().join(format!("xtask/src/{own}.rs")).exists() {
            format!("{own}.rs")
        } else {
            format!("{own}/")
        };
        for (file, code) in room(&files) {
            for above in &rooms[at + 1..] {
                let knows = code
                    .lines()
                    .any(|line| !line.trim_start().starts_with("//") && line.contains(&format!("crate::{above}")));
                assert!(!knows, "{own}/{file} knows of {above}");
            }
        }
    }
}

#[test]
fn no_parameter_is_a_tuple_of_several_things() {
    for (file, code) in room("") {
        let tuple = |line: &&str| {
            let line = line.trim_start();
            let is_parameter = line.starts_with('(') || line.contains("fn ");
            is_parameter && line.contains("): (&") && !line.contains('|')
        };
        assert_eq!(code.lines().find(tuple), None, "{file}");
    }
}

#[test]
fn burn_has_one_feature_list() {
    for member in LEAVES.iter().chain(&["ra-core", "xtask"]) {
        if let Some(burn) = dependencies(member).get("burn") {
            let extra = burn.get("features").or(burn.get("default-features"));
            assert_eq!(extra, None, "{member}: another list makes cargo build burn's back ends twice");
        }
    }
}

#[test]
fn unsafe_code_is_allowed_in_five_files() {
    let allowed = ["allow(", "unsafe_code)"].concat();
    let mut files: Vec<PathBuf> =
        sources().into_iter().filter(|(_, text)| text.contains(&allowed)).map(|(p, _)| p).collect();
    files.sort();
    let kernels = workspace().join("ra-core/src/kernels");
    let own = ["bf16/avx512.rs", "int16/vnni.rs", "matrix_unit/amx.rs", "product.rs"].map(|file| kernels.join(file));
    assert_eq!(files, [&own[..], &[workspace().join("xtask/src/machine/memory.rs")]].concat());
}

/// What a library leaves to its callers: the device of tensors, printing, and the environment.
const CALLERS: [&str; 12] = [
    "Device::default(",
    "Device::flex(",
    "Device::wgpu(",
    "Device::cuda(",
    "env::var",
    "println!(",
    "print!(",
    "eprintln!(",
    "eprint!(",
    "dbg!(",
    "io::stdout",
    "io::stderr",
];

/// Returns which of [`CALLERS`] the code of a library contains, outside its tests, comments and documentation.
fn offences(text: &str) -> Vec<&'static str> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    // `eprint!(` contains `print!(`.
    let has = |word: &str| code.iter().any(|line| line.contains(word));
    CALLERS.into_iter().filter(|word| has(word)).collect()
}

#[test]
fn libraries_neither_print_nor_pick_a_device_nor_read_the_environment() {
    // The only file that opens devices, and the operators of the CPU back end.
    let devices = ["ra-core/src/device.rs", "ra-core/src/kernels/"];
    let mut libraries = 0;
    for (path, text) in sources() {
        let name = path.to_string_lossy();
        let library = LEAVES.iter().chain(&["ra-core"]).any(|member| name.contains(&format!("/{member}/src/")));
        if !library || name.contains("/src/bin/") {
            continue;
        }
        libraries += 1;
        let opens = devices.iter().any(|part| name.contains(part));
        // Skipped contracts are reported past the test harness.
        let tells = name.ends_with("ra-core/src/testkit/skip.rs");
        let found = offences(&text).into_iter().filter(|word| !tells || *word != "io::stderr");
        let found = found.filter(|word| !opens || *word != "Device::flex(");
        let found: Vec<&str> =
            found.filter(|word| !name.ends_with("ra-core/src/device.rs") || !word.starts_with("Device::")).collect();
        assert!(found.is_empty(), "{name} has {found:?}: the caller's business");
    }
    assert!(libraries > 40, "the sources are where they should be");
}

#[test]
fn what_a_library_leaves_to_its_callers_is_found_in_code_alone() {
    let code = "fn f() {\n    let d = Device::flex();\n    eprint!(\"x\");\n}\n";
    assert_eq!(offences(code), ["Device::flex(", "print!(", "eprint!("]);
    let tests = format!("//! println!(1)\n    // dbg!(2)\n#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert!(offences(&tests).is_empty());
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let hosts = [["py", "pi.org"], ["python", "hosted.org"], ["index.crates", ".io"], ["static.crates", ".io"]];
    let hosts = hosts.map(|parts| parts.concat()).into_iter().chain([["registry.npm", "js.org"].concat()]);
    let texts = texts(&workspace());
    assert!(texts.len() > 60, "the files are where they should be");
    for host in hosts {
        let named: Vec<_> = texts.iter().filter(|(_, text)| text.contains(&host)).map(|(path, _)| path).collect();
        assert!(
            named.is_empty(),
            "{host} is in {named:?}: packages come by name, from whichever index a team has set up"
        );
    }
}
