"""SASRec with the softmax over all items, trained until its validation NDCG@10 reaches a mark: the model, the loss, the
batches and the schedule of `kind = "sasrec"`, as compact as PyTorch allows. Positions of padding get no loss.

    taskset -c 0 python sasrec.py LOG [--mark NDCG] [--length 50] [--dropout 0.5] [--every 4] [--epochs 100] \
        [--seed 1] [--threads 1]

LOG has the columns user, item and pos (tab-separated, packed with zstd), as `data/amazon-beauty` has. The last item of
a user is left out, the one before is validated on, by 2,000 users, all items ranked and items of the history removed.
"""
import argparse, resource, subprocess, time
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F


class SASRec(nn.Module):
    def __init__(s, items, d, length, blocks=2, drop=0.5):
        super().__init__()
        s.E, s.P, s.d, s.drop = nn.Embedding(items + 1, d, padding_idx=0), nn.Embedding(length, d), d, drop
        norm = lambda: nn.LayerNorm(d, 1e-8)
        linear = lambda to=d: nn.Linear(d, to)
        part = lambda: dict(l1=norm(), l2=norm(), q=linear(), kv=linear(2 * d), f1=linear(), f2=linear())
        s.blocks, s.last = nn.ModuleList(nn.ModuleDict(part()) for _ in range(blocks)), norm()
        for name, w in s.named_parameters():
            if w.dim() > 1:
                nn.init.normal_(w, std=0.02) if name[0] in "EP" else nn.init.xavier_normal_(w)

    def forward(s, seq):
        keep = seq != 0
        mask, t = keep[..., None].float(), seq.shape[1]
        drop = lambda x: F.dropout(x, s.drop, s.training)
        x = drop(s.E(seq) * s.d**0.5 + s.P.weight[-t:]) * mask
        ok = keep[:, None, None] & torch.ones(t, t, dtype=torch.bool).tril() | torch.eye(t, dtype=torch.bool)
        for p in s.blocks:
            query = p["l1"](x)
            q, (k, v) = p["q"](query), p["kv"](x).chunk(2, -1)
            attended = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=ok)[:, 0]
            inner = p["l2"](drop(attended) + query)
            x = (drop(p["f2"](drop(F.relu(p["f1"](inner))))) + inner) * mask
        return s.last(x)


def read(path):
    text = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True, text=True).stdout
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    rows.sort(key=lambda row: (row[0], int(row[2])))
    users, items = {}, {}
    for user, item, _ in rows:
        users.setdefault(user, []).append(items.setdefault(item, len(items) + 1))
    return list(users.values()), len(items)


def padded(rows, length):
    out = np.zeros((len(rows), length), dtype=np.int64)
    for at, row in enumerate(rows):
        row = row[-length:]
        out[at, length - len(row):] = row
    return torch.from_numpy(out)


def ndcg(model, histories, targets, length):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(histories), 256):
            rows, wanted = histories[at:at + 256], torch.tensor(targets[at:at + 256])
            scores = model(padded(rows, length))[:, -1] @ model.E.weight.T
            scores[:, 0] = -torch.inf
            own = scores.gather(1, wanted[:, None])
            for row, seen in enumerate(rows):
                scores[row, [item for item in seen if item != wanted[row]]] = -torch.inf
            # Ties count against the target.
            rank = (scores >= own).sum(1) - 1
            total += (1.0 / torch.log2(rank[rank < 10].float() + 2)).sum().item()
    model.train()
    return total / len(histories)


p = argparse.ArgumentParser()
p.add_argument("log")
settings = dict(mark=1.0, length=50, dropout=0.5, every=4, epochs=100, seed=1, threads=1)
for name, usual in settings.items():
    p.add_argument(f"--{name}", type=type(usual), default=usual)
a = p.parse_args()
torch.manual_seed(a.seed)
torch.set_num_threads(a.threads)
rows, items = read(a.log)
train = [row[:-2] for row in rows if len(row) > 3]
chosen = np.random.default_rng(a.seed).permutation([at for at, row in enumerate(rows) if len(row) > 2])[:2000]
histories, targets = [rows[at][:-2] for at in chosen], [rows[at][-2] for at in chosen]
# A batch is as long as its longest sequence.
model = SASRec(items, 64, a.length, drop=a.dropout)
model.train()
optimizer = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.9, 0.98))
print(f"{len(rows)} users, {items} items, {len(train)} sequences", flush=True)
begun, wall, best = time.process_time(), time.time(), 0.0
for epoch in range(1, a.epochs + 1):
    for batch in torch.randperm(len(train)).split(128):
        own = [train[at][-a.length - 1:] for at in batch]
        longest = max(map(len, own))
        both = padded(own, longest)
        seq, wanted = both[:, :-1], both[:, 1:]
        told = seq != 0
        loss = F.cross_entropy(model(seq)[told] @ model.E.weight[1:].T, wanted[told] - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % a.every == 0:
        found = ndcg(model, histories, targets, a.length)
        best = max(best, found)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        took = f"{time.process_time() - begun:.0f} s of CPU time, {time.time() - wall:.0f} s, {peak} MiB"
        print(f"epoch {epoch}: NDCG@10 {found:.4f}, loss {loss.item():.3f}, {took}", flush=True)
        if found >= a.mark:
            break
print(f"best {best:.4f}")
