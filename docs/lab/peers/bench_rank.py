"""Exact top 100 over a whole catalogue: `torch.topk` over products in blocks of items, and faiss IndexFlatIP.

    pip install torch faiss-cpu numpy
    python docs/lab/peers/bench_rank.py
"""

import numpy as np, torch, faiss
from bench_common import *

res = {"users": 1000, "k": 100, "load_before": load()}
rng = np.random.default_rng(0)


def torch_block(U, V, k, blk=50000):
    bs = bi = None
    for o in range(0, len(V), blk):
        s, i = torch.topk(U @ V[o : o + blk].T, k, dim=1)
        i = i + o
        if bs is None:
            bs, bi = s, i
        else:
            s, i = torch.cat([bs, s], 1), torch.cat([bi, i], 1)
            s2, j = torch.topk(s, k, dim=1)
            bs, bi = s2, i.gather(1, j)
    return bs, bi


for n, d in ((100_000, 64), (100_000, 384), (1_000_000, 64), (1_000_000, 384)):
    V = rng.standard_normal((n, d), dtype=np.float32)
    nu = 250 if n * d > 10**8 else 1000
    U = rng.standard_normal((nu, d), dtype=np.float32)
    tV, tU = torch.from_numpy(V), torch.from_numpy(U)
    ix = faiss.IndexFlatIP(d)
    ix.add(V)
    r = {}
    for th in (1, 2):
        torch.set_num_threads(th)
        faiss.omp_set_num_threads(th)
        for name, f in (
            ("torch_topk_blocked", lambda: torch_block(tU, tV, 100)),
            ("faiss_flat_ip", lambda: ix.search(U, 100)),
        ):
            t = bench(f, 3 if n < 10**6 else 2, 1 if n < 10**6 else 0, 20)
            r[f"{name}_{th}t"] = dict(
                cpu_s=t["cpu_median_s"],
                wall_median_s=t["median_s"],
                wall_min_s=t["min_s"],
                users=nu,
                users_per_s_cpu=nu / t["cpu_min_s"] if th == 1 else None,
                users_per_s_wall_best=nu / t["min_s"],
                load=load(),
            )
    a, b = torch_block(tU[:50], tV, 100), ix.search(U[:50], 100)
    r["same_top100"] = float(
        np.mean([len(set(x) & set(y)) / 100 for x, y in zip(a[1].numpy().tolist(), b[1].tolist())])
    )
    res[f"{n}x{d}"] = r
    print(n, d, r, flush=True)
    del ix
res["load_after"] = load()
save("ranking", res)
