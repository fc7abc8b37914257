//! How the allocator of the programs treats memory that was freed.
#![allow(unsafe_code)]

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc's header: the milliseconds until freed memory goes back to the system.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps freed memory for ten seconds, unless the environment says otherwise.
///
/// Burn frees and takes tensors of the same sizes again and again. Memory that went back to the system meanwhile would
/// have to be cleared anew each time: a third of a step of the alignment in two layers (medians of three: 1.8 s instead
/// of 2.8, one thread beside other work on one core of an Intel Xeon, 2026-12-01).
///
/// Call it before other threads start.
pub(crate) fn keep_freed() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the function only writes the number of an option. It is not meant for several threads at once, and the
        // programs call it first.
        unsafe { mi_option_set(PURGE_DELAY, 10_000) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that a test starts.
    const ASKED: &str = "RA_REC_TEST_PURGE_DELAY";

    /// mimalloc reads each option from the environment by its name, which shows that the number is that of the name.
    #[test]
    fn the_option_is_the_one_of_its_name() {
        let read = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        if std::env::var_os(ASKED).is_some() {
            keep_freed();
            println!("delay {}", read());
            return;
        }
        let child = |delay: Option<&str>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--nocapture", "machine::memory::tests::the_option_is_the_one_of_its_name"]);
            command.env(ASKED, "1").env_remove("MIMALLOC_PURGE_DELAY");
            command.envs(delay.map(|delay| ("MIMALLOC_PURGE_DELAY", delay)));
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        assert!(child(Some("1234")).contains("delay 1234"), "{}", child(Some("1234")));
        assert!(child(None).contains("delay 10000"), "{}", child(None));
    }
}
