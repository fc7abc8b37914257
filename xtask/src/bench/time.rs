//! Times of calls, as the minimum of several: other processes on a machine only add to it, as does the first call,
//! which compiles a GPU's kernels.
use anyhow::Result;
use cpu_time::ProcessTime;
use std::time::Instant;

/// CPU seconds and wall seconds.
pub(super) type Seconds = (f64, f64);

const NONE_YET: Seconds = (f64::INFINITY, f64::INFINITY);

fn lesser(a: Seconds, b: Seconds) -> Seconds {
    (a.0.min(b.0), a.1.min(b.1))
}

/// Returns the seconds of a call, the minimum of `times` calls.
pub(super) fn least(times: usize, mut run: impl FnMut() -> Result<()>) -> Result<Seconds> {
    (0..times).try_fold(NONE_YET, |least, _| {
        let (cpu, wall) = (ProcessTime::now(), Instant::now());
        run()?;
        Ok(lesser(least, (cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64())))
    })
}

/// Returns the seconds of one more step or epoch, given a `run` that times a number of them: `lengths[1]` minus
/// `lengths[0]`, so that setting up does not count. Each is the minimum of three alternating calls; the minimum of the
/// differences would be that of the slowest short call.
pub(super) fn beyond(lengths: [usize; 2], mut run: impl FnMut(usize) -> Result<Seconds>) -> Result<Seconds> {
    let mut found = [NONE_YET; 2];
    for _ in 0..3 {
        for (least, &length) in found.iter_mut().zip(&lengths) {
            *least = lesser(*least, run(length)?);
        }
    }
    let ([short, long], more) = (found, (lengths[1] - lengths[0]) as f64);
    Ok(((long.0 - short.0) / more, (long.1 - short.1) / more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_first_call_does_not_count() {
        let mut compiling = 100.0;
        let found = beyond([1, 5], |steps| {
            let seconds = 2.0 * steps as f64 + std::mem::take(&mut compiling);
            Ok((seconds, 2.0 * seconds))
        });
        assert_eq!(found.unwrap(), (2.0, 4.0));
    }

    #[test]
    fn what_fails_is_told() {
        assert!(least(2, || anyhow::bail!("no device")).is_err());
        assert!(beyond([0, 1], |_| anyhow::bail!("no device")).is_err());
    }
}
