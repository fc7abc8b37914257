//! Runs that meet each other, and machines of other sizes.
use crate::cli::Root;
use std::fs::File;
use std::process::{Command, Output};

fn run(root: &Root, out: &str, threads: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["run", "tiny", "--out", out]).current_dir(root.path("")).env("RA_REC_ROOT", root.path(""));
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
