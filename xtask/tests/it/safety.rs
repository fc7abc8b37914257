//! Runs that meet each other, and machines of other sizes.
use crate::cli::Root;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn run(root: &Root, out: &str, threads: &str) -> Output {
    run_with(root, out, threads, &[])
}

fn run_with(root: &Root, out: &str, threads: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["run", "tiny", "--out", out]).args(more).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
    command.env("RAYON_NUM_THREADS", threads).output().unwrap()
}

#[test]
fn a_second_run_in_a_folder_is_refused_and_a_dead_one_is_not_in_the_way() {
    let root = Root::new();
    std::fs::create_dir(root.path("busy")).unwrap();
    std::fs::write(root.path("busy/.lock"), "4711").unwrap();
    let owner = File::open(root.path("busy/.lock")).unwrap();
    owner.lock().unwrap();
    let refused = run(&root, "busy", "1");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("process 4711") && error.contains("--out"), "{error}");
    let files: Vec<_> = std::fs::read_dir(root.path("busy")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files, [".lock"], "nothing is written");
    drop(owner);
    assert!(run(&root, "busy", "1").status.success(), "a lock that nobody holds");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let root = Root::new();
    for threads in ["1", "2", "4"] {
        let done = run(&root, threads, threads);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let bytes = |run: &str, file: &str| std::fs::read(root.path(run).join(file)).unwrap();
    for threads in ["2", "4"] {
        for file in ["id-sasrec.safetensors", "towers.safetensors"] {
            let path = format!("checkpoints/{file}");
            assert!(bytes("1", &path) == bytes(threads, &path), "{file} by {threads} threads");
        }
        assert_eq!(root.metrics("1"), root.metrics(threads));
        assert!(bytes("1", "vectors/items.safetensors") == bytes(threads, "vectors/items.safetensors"));
    }
}

#[test]
fn two_devices_train_one_alignment_and_a_step_has_a_batch_of_each() {
    let root = Root::new();
    let train = |out: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        let done = run_with(&root, out, "2", &sets);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        std::fs::read(root.path(out).join("checkpoints/towers.safetensors")).unwrap()
    };
    let both = train("both", &["device.count=2", "train.steps=6"]);
    assert!(both == train("again", &["device.count=2", "train.steps=6"]), "the same bits");
    assert!(both != train("one", &["train.steps=6"]), "the second device has learned nothing");
    let refused =
        String::from_utf8_lossy(&run_with(&root, "none", "1", &["--set", "device.count=0"]).stderr).into_owned();
    assert!(refused.contains("device.count is 0"), "{refused}");
}

/// A disk of four MiB, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(place: PathBuf) -> Option<Self> {
        std::fs::create_dir(&place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&place).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(place))
    }

    fn fill(&self) -> PathBuf {
        let (path, block) = (self.0.join("filler"), [0; 4096]);
        let mut file = File::create(&path).unwrap();
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_one_line_and_what_was_there_goes_on() {
    let root = Root::new();
    let Some(disk) = SmallDisk::new(root.path("disk")) else {
        println!("skipped: a small disk cannot be mounted here");
        return;
    };
    let done = run(&root, "disk/run", "1");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let filler = disk.fill();
    let longer = ["--resume", "--set", "id.train.epochs=60"];
    let full = run_with(&root, "disk/run", "1", &longer);
    let told = String::from_utf8_lossy(&full.stderr).into_owned();
    let errors = told.lines().filter(|line| line.starts_with("error: ")).count();
    assert!(!full.status.success() && errors == 1 && told.contains("disk full"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    std::fs::remove_file(filler).unwrap();
    let again = run_with(&root, "disk/run", "1", &longer);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(run_with(&root, "whole", "1", &longer[1..]).status.success());
    assert_eq!(root.metrics("disk/run"), root.metrics("whole"), "as if there had always been room");
}
