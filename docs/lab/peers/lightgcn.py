"""LightGCN on Gowalla in PyTorch, with the loss, sampler and initialisation of LightGCN-PyTorch.

    pip install torch numpy
    python docs/lab/peers/lightgcn.py FOLDER    # train.txt.zst and test.txt.zst; four minutes per epoch on one core

It prints one line per epoch, to compare ours with. It ranks twice: by the score, and by its sigmoid in f32 as
LightGCN-PyTorch does, where large scores become equal.
"""
import subprocess
import sys

import numpy as np
import torch

torch.manual_seed(2020)
draw = np.random.default_rng(2020)
LAYERS, WIDTH, BATCH, DECAY, K, EPOCHS = 3, 64, 2048, 1e-4, 20, 5


def read(name):
    text = subprocess.run(["zstd", "-dc", f"{sys.argv[1]}/{name}.txt.zst"], capture_output=True, text=True, check=True).stdout
    rows = (list(map(int, line.split())) for line in text.splitlines())
    return {row[0]: row[1:] for row in rows}


train, test = read("train"), read("test")
users = max(train) + 1
items = max(max(row) for part in (train, test) for row in part.values() if row) + 1
left = np.concatenate([[user] * len(row) for user, row in train.items()])
right = np.concatenate(list(train.values()))
pairs, nodes = len(left), users + items
weight = 1 / np.sqrt(np.bincount(left, minlength=users)[left] * np.bincount(right, minlength=items)[right])
edges = np.stack([np.concatenate([left, right + users]), np.concatenate([right + users, left])])
graph = torch.sparse_coo_tensor(edges, np.concatenate([weight, weight]).astype(np.float32), (nodes, nodes)).to_sparse_csr()


class Spread(torch.autograd.Function):
    """The product with a symmetric matrix: its gradient is the same product."""

    @staticmethod
    def forward(_, x):
        return graph @ x

    @staticmethod
    def backward(_, gradient):
        return graph @ gradient


table = torch.nn.Parameter(torch.randn(nodes, WIDTH) * 0.1)
adam = torch.optim.Adam([table], lr=1e-3)


def smoothed():
    layers = [table]
    for _ in range(LAYERS):
        layers.append(Spread.apply(layers[-1]))
    return torch.stack(layers, 1).mean(1)


@torch.no_grad()
def evaluate(vectors, close):
    discount = 1 / np.log2(np.arange(2, K + 2))
    known, recall, ndcg = [user for user in test if test[user]], 0.0, 0.0
    for start in range(0, len(known), 500):
        block = known[start : start + 500]
        scores = close(vectors[block] @ vectors[users:].T)
        for row, user in enumerate(block):
            scores[row, train.get(user, [])] = -1024.0
        for user, top in zip(block, scores.topk(K).indices.numpy()):
            hits = np.isin(top, test[user])
            recall += hits.sum() / len(test[user])
            ndcg += (hits * discount).sum() / discount[: min(K, len(test[user]))].sum()
    return f"recall@{K} {recall / len(known):.4f} ndcg@{K} {ndcg / len(known):.4f}"


seen = {user: set(row) for user, row in train.items()}
for epoch in range(1, EPOCHS + 1):
    who = draw.integers(0, users, pairs)
    liked = np.array([train[user][draw.integers(len(train[user]))] for user in who])
    other = draw.integers(0, items, pairs)
    for at in range(pairs):
        while other[at] in seen[who[at]]:
            other[at] = draw.integers(items)
    losses = []
    for start in range(0, pairs, BATCH):
        u, p, n = (part[start : start + BATCH] for part in (who, liked + users, other + users))
        x = smoothed()
        loss = torch.nn.functional.softplus((x[u] * (x[n] - x[p])).sum(1)).mean()
        loss = loss + DECAY * 0.5 * sum(table[rows].pow(2).sum() for rows in (u, p, n)) / len(u)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    x = smoothed().detach()
    print(f"epoch {epoch}: loss {np.mean(losses):.4f}; {evaluate(x, lambda s: s)}; by sigmoid {evaluate(x, torch.sigmoid)}", flush=True)
