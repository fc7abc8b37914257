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

TOKENS, PREFIX, LAYERS, WIDTH, HEADS, INNER = 64, 8, 6, 384, 12, 1536


class MiniLm:
    """MiniLM's shape with random weights, frozen."""

    def __init__(self, device):
        def frozen(*shape):
            return (torch.rand(*shape, device=device) - 0.5) * 0.07

        self.device = device
        self.words = frozen(30522, WIDTH)
        self.layers = [
            {
                **{name: (frozen(WIDTH, WIDTH), frozen(WIDTH)) for name in ("query", "key", "value", "output")},
                "up": (frozen(INNER, WIDTH), frozen(INNER)),
                "down": (frozen(WIDTH, INNER), frozen(WIDTH)),
                "norm1": (1 + frozen(WIDTH), frozen(WIDTH)),
                "norm2": (1 + frozen(WIDTH), frozen(WIDTH)),
            }
            for _ in range(LAYERS)
        ]

    def states(self, tokens, prefixes, whole):
        """The last layer's states, of every row or, unless `whole`, of the pooled row alone."""
        x = self.words[tokens]
        for index, weights in enumerate(self.layers):
            prefix = None if prefixes is None else prefixes[index]
            x = layer(weights, x, prefix, index == LAYERS - 1 and not whole)
        return x

    def loss(self, tokens, prefixes, whole):
        return self.states(tokens, prefixes, whole)[:, 0].float().square().mean()

    def inputs(self, texts):
        """Tokens, `[texts, 64]`, and the prefixes of all layers, `[texts, 8, 384]` each."""
        prefixes = [torch.randn(texts, PREFIX, WIDTH, device=self.device, requires_grad=True) for _ in range(LAYERS)]
        return torch.randint(5, 30000, (texts, TOKENS), device=self.device), prefixes


def heads(x):
    return x.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)


def layer(weights, x, prefix, last):
    """A prefix adds keys and values; of the last layer only the first row is asked for."""
    rows = x if prefix is None else torch.cat([prefix, x], 1)
    asked = x[:, :1] if last else x
    q, k, v = (heads(F.linear(a, *weights[n])) for a, n in ((asked, "query"), (rows, "key"), (rows, "value")))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = F.layer_norm(asked + F.linear(mixed, *weights["output"]), [WIDTH], *weights["norm1"])
    inner = F.gelu(F.linear(x, *weights["up"]))
    return F.layer_norm(x + F.linear(inner, *weights["down"]), [WIDTH], *weights["norm2"])


def least(step, times=7, warm=3):
    """The seconds of a step, which must end by reading a number back; the first ones compile and do not count."""
    best = float("inf")
    for turn in range(warm + times):
        started = time.perf_counter()
        step()
        if turn >= warm:
            best = min(best, time.perf_counter() - started)
    return best


def hybrid_step(model, loss, texts, whole, bf16):
    """Forward and backward of `loss` to the prefixes."""
    tokens, prefixes = model.inputs(texts)

    def step():
        for prefix in prefixes:
            prefix.grad = None
        with torch.autocast(model.device, torch.bfloat16, enabled=bf16):
            value = loss(tokens, prefixes, whole)
        value.backward()
        prefixes[0].grad.flatten()[0].item()

    return step


def main():
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    texts = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    torch.manual_seed(1)
    model = MiniLm(device)
    for name, tf32, bf16 in (("f32", False, False), ("tf32", True, False), ("bf16", False, True)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        eager = least(hybrid_step(model, model.loss, texts, False, bf16))
        compiled = least(hybrid_step(model, torch.compile(model.loss), texts, False, bf16))
        times = f"eager {1e3 * eager:9.1f} ms, compiled {1e3 * compiled:9.1f} ms"
        print(f"{name:5} {times}, torch {torch.__version__}, {device}", flush=True)


if __name__ == "__main__":
    main()
