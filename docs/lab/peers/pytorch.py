"""What `cargo xtask bench many-pooled` measures, in PyTorch: forward and backward of MiniLM's shape (6 layers of 384,
12 heads) with 8 prefix rows in every layer, 1,024 texts of 64 tokens, to the prefixes alone, the last layer at the
pooled row.

    python3 docs/lab/peers/pytorch.py [cuda|cpu] [texts]

Prints the least of seven steps, eager and compiled, in f32, TF32 and bf16 (autocast; the prefixes stay f32).
"""
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda"
TEXTS = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
TOKENS, PREFIX, LAYERS, WIDTH, HEADS, INNER = 64, 8, 6, 384, 12, 1536
torch.manual_seed(1)


def frozen(*shape):
    return ((torch.rand(*shape, device=DEVICE) - 0.5) * 0.07).requires_grad_(False)


WORDS = frozen(30522, WIDTH)
LAYER = [
    {
        **{name: (frozen(WIDTH, WIDTH), frozen(WIDTH)) for name in ("query", "key", "value", "output")},
        "up": (frozen(INNER, WIDTH), frozen(INNER)),
        "down": (frozen(WIDTH, INNER), frozen(WIDTH)),
        "norm1": (1 + frozen(WIDTH), frozen(WIDTH)),
        "norm2": (1 + frozen(WIDTH), frozen(WIDTH)),
    }
    for _ in range(LAYERS)
]


def heads(x):
    return x.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)


def layer(weights, x, prefix, last):
    """A prefix adds keys and values; of the last layer only the first row is asked for."""
    rows = torch.cat([prefix, x], 1)
    asked = x[:, :1] if last else x
    q, k, v = (heads(F.linear(a, *weights[n])) for a, n in ((asked, "query"), (rows, "key"), (rows, "value")))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = F.layer_norm(asked + F.linear(mixed, *weights["output"]), [WIDTH], *weights["norm1"])
    inner = F.gelu(F.linear(x, *weights["up"]))
    return F.layer_norm(x + F.linear(inner, *weights["down"]), [WIDTH], *weights["norm2"])


def loss(tokens, prefixes):
    x = WORDS[tokens]
    for index, (weights, prefix) in enumerate(zip(LAYER, prefixes)):
        x = layer(weights, x, prefix, index == LAYERS - 1)
    return x[:, 0].float().square().mean()


def least(function, bf16):
    tokens = torch.randint(5, 30000, (TEXTS, TOKENS), device=DEVICE)
    prefixes = [torch.randn(TEXTS, PREFIX, WIDTH, device=DEVICE, requires_grad=True) for _ in range(LAYERS)]
    best = float("inf")
    for turn in range(10):
        for prefix in prefixes:
            prefix.grad = None
        started = time.perf_counter()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            value = function(tokens, prefixes)
        value.backward()
        prefixes[0].grad.flatten()[0].item()
        if turn > 2:
            best = min(best, time.perf_counter() - started)
    return best


for name, tf32, bf16 in (("f32", False, False), ("tf32", True, False), ("bf16", False, True)):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    eager = least(loss, bf16)
    compiled = least(torch.compile(loss), bf16)
    print(f"{name:5} eager {1e3 * eager:9.1f} ms, compiled {1e3 * compiled:9.1f} ms, torch {torch.__version__}, {DEVICE}", flush=True)
