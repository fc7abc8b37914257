"""What a card can do at most, and what RA-Rec's benches measure, in PyTorch on the same card.

    python3 docs/lab/peers/card.py [cuda|cpu] [--seconds N]

Prints one JSON object per line as soon as it is known, in order of worth: large products and a copy, exact ranking by
`torch.topk`, then a step of SASRec, the text pass and steps to prefixes of MiniLM's shape (`pytorch.py`), eager and
compiled. What fails or takes too long says so in its line. After N seconds the rest is left out. On a CPU sizes are
smaller.
"""
import argparse
import json
import signal
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch import MiniLm, hybrid_step, least

USERS, TOP = 1000, 100


class TooLong(Exception):
    pass


def alarm(signum, frame):
    raise TooLong("takes too long")


def of_card(device):
    """Waits until the device has done everything."""
    if device == "cuda":
        torch.cuda.synchronize()


def product(device, size, dtype, tf32):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def step():
        a @ b
        of_card(device)

    seconds = least(step, times=10)
    return {"size": size, "seconds": seconds, "tflops": 2 * size**3 / seconds / 1e12}


def copy(device, gigabytes):
    source = torch.ones(int(gigabytes * 2**28), device=device)
    target = torch.empty_like(source)

    def step():
        target.copy_(source)
        of_card(device)

    seconds = least(step)
    return {"seconds": seconds, "gb_per_s": 2 * source.nbytes / seconds / 1e9}


def rank(device, users, items, width, dtype, tf32):
    """The best 100 of all items for each user, as `bench rank-64`, but with nothing hidden."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    table = (torch.rand(items, width, device=device) - 0.5).to(dtype)
    vectors = (torch.rand(users, width, device=device) - 0.5).to(dtype)

    def step():
        for block in vectors.split(250):
            torch.topk(block @ table.T, TOP, dim=1).indices[0, 0].item()

    seconds = least(step, times=3, warm=1)
    return {"users": users, "items": items, "width": width, "wall_s_per_user": seconds / users}


class SasRec(nn.Module):
    """As `bench sasrec-softmax`: width 64, 2 blocks, 1 head, 12,000 items, dropout 0.2."""

    def __init__(self, items=12000, width=64, length=50, blocks=2):
        super().__init__()
        self.items, self.places = nn.Embedding(items + 1, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "norm2": nn.LayerNorm(width),
                    **{name: nn.Linear(width, width) for name in ("query", "key", "value", "up", "down")},
                }
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, histories, targets):
        x = F.dropout(self.items(histories) * 8 + self.places.weight, 0.2)
        for block in self.blocks:
            asked = block["norm1"](x)
            q, k, v = (block[n](a)[:, None] for n, a in (("query", asked), ("key", x), ("value", x)))
            x = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.2)[:, 0] + asked
            inner = block["norm2"](x)
            x = F.dropout(block["down"](F.dropout(F.relu(block["up"](inner)), 0.2)), 0.2) + inner
        scores = self.norm(x) @ self.items.weight[1:].T
        return F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten())


def sasrec(device, compiled, bf16):
    """One training step on 128 histories of 50 items."""
    torch.backends.cuda.matmul.allow_tf32 = not bf16
    model = SasRec().to(device)
    loss = torch.compile(model) if compiled else model
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=device == "cuda")
    histories = torch.randint(1, 12001, (128, 50), device=device)
    targets = torch.randint(0, 12000, (128, 50), device=device)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            value = loss(histories, targets)
        value.backward()
        optimizer.step()
        value.item()

    return {"seconds": least(step)}


def text(device, texts, compiled, tf32, bf16):
    """Every state of the last layer, without a prefix, as `bench minilm-text`."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    model = MiniLm(device)
    states = torch.compile(model.states) if compiled else model.states
    tokens, _ = model.inputs(texts)

    def step():
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            states(tokens, None, True).float().cpu()

    return {"texts": texts, "seconds": least(step)}


def hybrid(device, texts, whole, compiled, tf32, bf16):
    """Forward and backward to the prefixes: `bench minilm-hybrid`, or `many-pooled` unless `whole`."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    model = MiniLm(device)
    loss = torch.compile(model.loss) if compiled else model.loss
    return {"texts": texts, "seconds": least(hybrid_step(model, loss, texts, whole, bf16))}


def measures(device):
    """Names and functions, in order of worth."""
    cuda = device == "cuda"
    f32, bf16 = torch.float32, torch.bfloat16
    size, items, users, many = (8192, 1_000_000, USERS, 1024) if cuda else (1024, 100_000, 250, 32)
    yield "product-bf16", lambda: product(device, size, bf16, False)
    yield "product-tf32", lambda: product(device, size, f32, True)
    yield "product-f32", lambda: product(device, size, f32, False)
    yield "copy", lambda: copy(device, 4 if cuda else 0.25)
    yield "rank-64-f32", lambda: rank(device, users, items, 64, f32, False)
    yield "rank-64-bf16", lambda: rank(device, users, items, 64, bf16, False)
    yield "many-pooled-tf32-eager", lambda: hybrid(device, many, False, False, True, False)
    yield "many-pooled-bf16-eager", lambda: hybrid(device, many, False, False, False, True)
    yield "sasrec-softmax-tf32-eager", lambda: sasrec(device, False, False)
    yield "minilm-text-tf32-eager", lambda: text(device, 32, False, True, False)
    yield "minilm-text-bf16-eager", lambda: text(device, 32, False, False, True)
    yield "minilm-hybrid-tf32-eager", lambda: hybrid(device, 32, True, False, True, False)
    yield "minilm-hybrid-bf16-eager", lambda: hybrid(device, 32, True, False, False, True)
    yield "many-pooled-bf16-compiled", lambda: hybrid(device, many, False, True, False, True)
    yield "sasrec-softmax-bf16-compiled", lambda: sasrec(device, True, True)
    yield "minilm-text-bf16-compiled", lambda: text(device, 32, True, False, True)
    yield "minilm-hybrid-bf16-compiled", lambda: hybrid(device, 32, True, True, False, True)
    yield "many-pooled-f32-eager", lambda: hybrid(device, many, False, False, False, False)
    yield "many-pooled-tf32-compiled", lambda: hybrid(device, many, False, True, True, False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    started = time.perf_counter()
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: PyTorch sees no CUDA device; nvidia-smi shows what the driver sees")
    name = torch.cuda.get_device_name() if asked.device == "cuda" else "cpu"
    print(json.dumps({"name": "card", "torch": torch.__version__, "device": name}), flush=True)
    signal.signal(signal.SIGALRM, alarm)
    torch.manual_seed(1)
    failed = 0
    for name, measure in measures(asked.device):
        left = asked.seconds - (time.perf_counter() - started)
        if left < 1:
            print(json.dumps({"name": name, "skipped": "no time left"}), flush=True)
            continue
        signal.setitimer(signal.ITIMER_REAL, left)
        begun = time.perf_counter()
        try:
            line = measure()
        except Exception as error:
            failed += not isinstance(error, TooLong)
            line = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"name": name, **line, "took_s": round(time.perf_counter() - begun, 1)}), flush=True)
        if asked.device == "cuda":
            torch.cuda.empty_cache()
    if failed:
        raise SystemExit(f"error: {failed} measures failed; their lines say why")


if __name__ == "__main__":
    main()
