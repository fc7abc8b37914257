//! Times of calls. The least of several: neighbours on a machine only add to it, as does the first call, for which a GPU's
//! kernels are compiled.
use anyhow::Result;
use cpu_time::ProcessTime;
use std::time::Instant;

/// CPU and wall seconds.
pub(super) type Seconds = (f64, f64);

/// Seconds of a call, the least of `times`.
pub(super) fn least(times: usize, mut run: impl FnMut() -> Result<()>) -> Result<Seconds> {
    let mut least = (f64::INFINITY, f64::INFINITY);
    for _ in 0..times {
        let (cpu, wall) = (ProcessTime::now(), Instant::now());
        run()?;
        least = (least.0.min(cpu.elapsed().as_secs_f64()), least.1.min(wall.elapsed().as_secs_f64()));
    }
    Ok(least)
}

/// Seconds a step of a training of so many steps: what `lengths[1]` take beyond `lengths[0]`, so that setting up does not
/// count. The least of either, in turn: of a difference the least would be that of the slowest short one.
pub(super) fn beyond(lengths: [usize; 2], mut run: impl FnMut(usize) -> Result<()>) -> Result<Seconds> {
    let mut found = [(f64::INFINITY, f64::INFINITY); 2];
    for _ in 0..3 {
        for (found, &length) in found.iter_mut().zip(&lengths) {
            let (cpu, wall) = least(1, || run(length))?;
            *found = (found.0.min(cpu), found.1.min(wall));
        }
    }
    let ([short, long], steps) = (found, (lengths[1] - lengths[0]) as f64);
    Ok(((long.0 - short.0) / steps, (long.1 - short.1) / steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_slow_first_call_does_not_count() {
        let mut first = true;
        let found = beyond([1, 5], |steps| {
            let compiling = if std::mem::take(&mut first) { 200 } else { 0 };
            std::thread::sleep(Duration::from_millis(compiling + 10 * steps as u64));
            Ok(())
        });
        assert!(found.unwrap().1 > 0.005);
    }
}
