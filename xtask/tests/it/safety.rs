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
    std::fs::write(root.path("busy/.ra-rec.lock"), "4711").unwrap();
    let owner = File::open(root.path("busy/.ra-rec.lock")).unwrap();
    owner.lock().unwrap();
    // The refusal comes before a log is read, which may take long.
    let refused = run_with(&root, "busy", "1", &["--set", "data.interactions=nowhere.tsv"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("process 4711") && error.contains("--out"), "{error}");
    let files: Vec<_> = std::fs::read_dir(root.path("busy")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files, [".ra-rec.lock"], "nothing is written");
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
fn devices_and_chunks_change_what_they_say_and_nothing_else() {
    let root = Root::new();
    let train = |out: &str, sets: &[&str]| {
        let sets: Vec<&str> = ["train.steps=6"].iter().chain(sets).flat_map(|set| ["--set", *set]).collect();
        let done = run_with(&root, out, "2", &sets);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        std::fs::read(root.path(out).join("checkpoints/towers.safetensors")).unwrap()
    };
    let floats = |bytes: &[u8]| -> Vec<f32> {
        let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[head..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let one = train("one", &["align.first_layer=-1"]);
    // The language model of the recipe has the fast path of the last layer.
    let chunked = train("chunked", &["align.first_layer=-1", "train.chunk=2"]);
    let (one_floats, chunked) = (floats(&one), floats(&chunked));
    let far = one_floats.iter().zip(&chunked).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
    assert!(one_floats.len() == chunked.len() && far * 200 < chunked.len(), "{far} of {} differ", chunked.len());

    let both = train("both", &["align.first_layer=-1", "device.count=2"]);
    assert!(both == train("again", &["align.first_layer=-1", "device.count=2"]), "the same bits");
    assert!(both != one, "a step has two batches");
    let refused = run_with(&root, "none", "1", &["--set", "device.count=0"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("device.count is 0"), "{told}");
}

#[test]
fn a_run_from_before_a_key_was_there_goes_on() {
    let root = Root::new();
    assert!(run(&root, "old", "1").status.success());
    let manifest = root.path("old/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let older = text.replace("count = 1\\n", "").replace("chunk = 0\\n", "");
    assert_eq!(text.len() - older.len(), 2 * "count = 1\\n".len(), "two keys less");
    std::fs::write(&manifest, older).unwrap();
    let towers = || std::fs::metadata(root.path("old/checkpoints/towers.safetensors")).unwrap().modified().unwrap();
    let before = towers();
    let done = run_with(&root, "old", "1", &["--resume"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(towers(), before, "nothing is trained again");
    let other = run_with(&root, "old", "1", &["--resume", "--set", "train.chunk=3"]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("made by another recipe"));
}

/// A disk of four MiB, which is removed after the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(place: PathBuf) -> Option<Self> {
        std::fs::create_dir(&place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&place).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(place))
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount").arg("-o").arg(format!("remount,{how}")).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A run on a disk that cannot be written to for a while: the failure is one line, and once the disk works again the
/// run succeeds.
fn a_disk_that_fails_for_a_while(test: &str, fails: fn(&SmallDisk), works: fn(&SmallDisk)) {
    let root = Root::new();
    let Some(disk) = SmallDisk::new(root.path("disk")) else {
        ra_core::testkit::skipped(test, "this user cannot mount a small file system");
        return;
    };
    let done = run(&root, "disk/run", "1");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fails(&disk);
    let longer = ["--resume", "--set", "id.train.epochs=60"];
    let failed = run_with(&root, "disk/run", "1", &longer);
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    let errors = told.lines().filter(|line| line.starts_with("error: ")).count();
    assert!(!failed.status.success() && errors == 1 && told.contains("disk full or the folder read-only"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    works(&disk);
    let again = run_with(&root, "disk/run", "1", &longer);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(run_with(&root, "whole", "1", &longer[1..]).status.success());
    assert_eq!(root.metrics("disk/run"), root.metrics("whole"), "as if nothing had happened");
}

#[test]
fn a_full_disk_is_one_line_and_what_was_there_goes_on() {
    let test = "a_full_disk_is_one_line_and_what_was_there_goes_on";
    a_disk_that_fails_for_a_while(test, SmallDisk::fill, SmallDisk::empty);
}

#[test]
fn a_read_only_disk_is_one_line_and_what_was_there_goes_on() {
    let test = "a_read_only_disk_is_one_line_and_what_was_there_goes_on";
    a_disk_that_fails_for_a_while(test, |disk| disk.remount("ro"), |disk| disk.remount("rw"));
}
