"""Timing for the benches beside it.

On a machine that is shared with other jobs, two times are reported:
 - wall: with two threads; honest, but inflated by the load that is printed beside it
 - cpu1: CPU time of the process with one thread, which does not count when the process is pre-empted
Each bench prints its result as JSON.
"""
import json, os, statistics, time


def load():
    return [round(x, 2) for x in os.getloadavg()]


def bench(f, reps=7, warm=1, maxt=60):
    for _ in range(warm):
        f()
    walls, cpus, start = [], [], time.perf_counter()
    for _ in range(reps):
        cpu, wall = time.process_time(), time.perf_counter()
        f()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if time.perf_counter() - start > maxt and len(walls) >= 3:
            break
    return dict(
        median_s=statistics.median(walls),
        min_s=min(walls),
        max_s=max(walls),
        cpu_median_s=statistics.median(cpus),
        cpu_min_s=min(cpus),
        reps=len(walls),
    )


def both(torch, f, reps=5, warm=1, maxt=40):
    torch.set_num_threads(1)
    one = bench(f, reps, warm, maxt)
    torch.set_num_threads(2)
    two = bench(f, reps, 1, maxt)
    return dict(
        cpu1_s=one["cpu_median_s"],
        cpu1_min_s=one["cpu_min_s"],
        wall2_median_s=two["median_s"],
        wall2_min_s=two["min_s"],
        reps=[one["reps"], two["reps"]],
        load=load(),
    )


def save(key, value):
    print(json.dumps({key: value}, indent=1), flush=True)
