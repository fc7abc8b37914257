"""What counting words and counting pairs gives without training: a floor for every table.

    pip install numpy scipy                                                    # and zstd on the path
    python docs/lab/peers/floors.py FOLDER [--titles titles.tsv.zst] [--users N]

FOLDER holds interactions.tsv.zst (user, item, pos) and items.tsv.zst (item, title). Leave one out, all items ranked,
history removed (never the target), ties against us. The validation item belongs to the test history.

 lexical   sum over the history, newest first, of .6^j * cosine of TF-IDF vectors;
           tokens [a-z0-9]+, (1 + ln tf) ln(N / df)
 pairs     sum of .6^j * c(h_j, i) over sqrt((pop_h + 1)(pop_i + 1)); c counts, in the training part alone,
           i within five steps after h (weight 1/gap) or before it (half of that)
 both      lexical + w * pairs, w of 0.3 1 3 10 30 by validation (NDCG@10 + HR@100 / 4)
"""

import argparse, collections, math, re, subprocess
import numpy as np, scipy.sparse as sp


def lines(path):
    return subprocess.run(["zstd", "-dc", path], capture_output=True, text=True, check=True).stdout.splitlines()[1:]


a = argparse.ArgumentParser()
a.add_argument("folder")
a.add_argument("--titles")
a.add_argument("--users", type=int, default=0)
a = a.parse_args()
seq = collections.defaultdict(list)
for line in lines(a.folder + "/interactions.tsv.zst"):
    user, item, pos = line.split("\t")[:3]
    seq[user].append((float(pos), item))
title = {c[0]: c[1] for c in (l.split("\t") for l in lines(a.titles or a.folder + "/items.tsv.zst"))}
known = sorted({i for s in seq.values() for _, i in s})
index = {item: k for k, item in enumerate(known)}
seqs = [[index[i] for _, i in sorted(s, key=lambda x: x[0])] for s in seq.values()]
n = len(known)
words = [re.findall(r"[a-z0-9]+", title.get(i, "").lower()) for i in known]
df = collections.Counter(w for t in words for w in set(t))
column = {w: k for k, w in enumerate(df)}
cells = [
    (k, column[w], (1 + math.log(c)) * math.log(n / df[w]))
    for k, t in enumerate(words)
    for w, c in collections.Counter(t).items()
]
r, c, v = zip(*cells)
M = sp.csr_matrix((v, (r, c)), shape=(n, len(column)))
norm = np.sqrt(np.asarray(M.multiply(M).sum(1)).ravel())
norm[norm == 0] = 1
M = sp.diags(1 / norm) @ M
lexical = (M @ M.T).tocsr()
pair, pop = collections.defaultdict(float), collections.Counter()
for s in seqs:
    t = s[:-2]
    for x in range(len(t)):
        pop[t[x]] += 1
        for y in range(x + 1, min(x + 6, len(t))):
            pair[t[x], t[y]] += 1 / (y - x)
            pair[t[y], t[x]] += 0.5 / (y - x)
r, c, v = zip(*[(x, y, w / math.sqrt((pop[x] + 1) * (pop[y] + 1))) for (x, y), w in pair.items()])
pairs = sp.csr_matrix((v, (r, c)), shape=(n, n))
users = [s for s in seqs if len(s) > 2]
if a.users:
    users = [users[k] for k in np.random.default_rng(1).permutation(len(users))[: a.users]]


def ranks(weights, valid):
    out = []
    for start in range(0, len(users), 512):
        part = [(s[:-2], s[-2]) if valid else (s[:-1], s[-1]) for s in users[start : start + 512]]
        h = sp.lil_matrix((len(part), n))
        for k, (hist, _) in enumerate(part):
            for j, i in enumerate(reversed(hist)):
                h[k, i] += 0.6**j
        h = h.tocsr()
        score = sum(w * np.asarray((h @ S).todense()) for w, S in weights)
        for k, (hist, target) in enumerate(part):
            s = score[k]
            own = s[target]
            s[hist] = -np.inf
            s[target] = -np.inf
            out.append(n if own <= 0 else int((s >= own).sum()))
    return np.array(out)


def told(r):
    return (r < 10).mean(), ((r < 10) / np.log2(r + 2.0)).mean(), (r < 100).mean()


show = lambda name, r: print(f"{name:<12} HR@10 %.4f  NDCG@10 %.4f  HR@100 %.4f" % told(r), flush=True)
show("lexical", ranks([(1, lexical)], False))
show("pairs", ranks([(1, pairs)], False))
choice = max(
    (told(ranks([(1, lexical), (w, pairs)], True))[1] + told(ranks([(1, lexical), (w, pairs)], True))[2] / 4, w)
    for w in (0.3, 1, 3, 10, 30)
)
show(f"both, {choice[1]:g}", ranks([(1, lexical), (choice[1], pairs)], False))
