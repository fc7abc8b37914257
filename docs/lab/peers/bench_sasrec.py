"""One SASRec training step in PyTorch: BCE with one negative, and cross entropy over all items.

    pip install torch
    python docs/lab/peers/bench_sasrec.py

Batch 128, length 50, 2 blocks, 1 head, 12,000 items, random sequences. The model follows the original code: norm on the
query alone, normalised residual, no output projection.
"""

import torch, torch.nn as nn, torch.nn.functional as F
from bench_common import *


class SASRec(nn.Module):
    def __init__(s, ni, d, L, nb=2, nh=1, p=0.2):
        super().__init__()
        s.E, s.P, s.d, s.nh, s.p = nn.Embedding(ni + 1, d, padding_idx=0), nn.Embedding(L, d), d, nh, p
        s.b = nn.ModuleList(
            nn.ModuleDict(
                dict(
                    l1=nn.LayerNorm(d, 1e-8),
                    l2=nn.LayerNorm(d, 1e-8),
                    q=nn.Linear(d, d),
                    kv=nn.Linear(d, 2 * d),
                    f1=nn.Linear(d, d),
                    f2=nn.Linear(d, d),
                )
            )
            for _ in range(nb)
        )
        s.ln = nn.LayerNorm(d, 1e-8)
        for w in s.parameters():
            if w.dim() > 1:
                nn.init.xavier_normal_(w)
        with torch.no_grad():
            s.E.weight[0].zero_()

    def forward(s, seq):
        B, T = seq.shape
        keep = seq != 0
        m = keep[..., None].float()
        x = F.dropout(s.E(seq) * s.d**0.5 + s.P.weight, s.p, s.training) * m
        ok = keep[:, None, None] & torch.ones(T, T, dtype=torch.bool).tril()
        ok = ok | torch.eye(T, dtype=torch.bool)
        for b in s.b:
            qi = b["l1"](x)
            q = b["q"](qi)
            k, v = b["kv"](x).chunk(2, -1)
            q, k, v = (t.view(B, T, s.nh, -1).transpose(1, 2) for t in (q, k, v))
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=ok, dropout_p=s.p if s.training else 0.0)
            x = o.transpose(1, 2).reshape(B, T, s.d) + qi
            fi = b["l2"](x)
            x = (F.dropout(b["f2"](F.dropout(F.relu(b["f1"](fi)), s.p, s.training)), s.p, s.training) + fi) * m
        return s.ln(x)


res = {"load_before": load(), "batch": 128, "length": 50, "blocks": 2, "items": 12000}
for d in (50, 64):
    for loss in ("bce", "ce"):
        torch.manual_seed(0)
        m = SASRec(12000, d, 50)
        m.train()
        opt = torch.optim.Adam(m.parameters(), 1e-3, betas=(0.9, 0.98))
        seq, pos, neg = (torch.randint(1, 12001, (128, 50)) for _ in range(3))

        def step():
            h = m(seq)
            if loss == "bce":
                p, n = (h * m.E(pos)).sum(-1), (h * m.E(neg)).sum(-1)
                l = F.softplus(-p).mean() + F.softplus(n).mean()
            else:
                l = F.cross_entropy((h.reshape(-1, d) @ m.E.weight[1:].T), pos.reshape(-1) - 1)
            opt.zero_grad()
            l.backward()
            opt.step()

        t = both(torch, step, reps=15 if loss == "bce" else 5)
        res[f"d{d}_{loss}"] = dict(steps_per_s_1thread_cpu=1 / t["cpu1_s"], **t)
        print(d, loss, res[f"d{d}_{loss}"], flush=True)
save("sasrec_steps", res)
