"""Frozen language models with a soft prefix in every layer: forward, and forward and backward to the prefix alone.

    pip install torch transformers
    python docs/lab/peers/bench_llm.py

Transformers, f32, random weights, the shapes of MiniLM and SmolLM2-135M. The prefix is injected as a PyTorch user would do it:
a DynamicCache holds each layer's keys and values of 8 rows d, which are differentiable.
"""

import torch, warnings

warnings.filterwarnings("ignore")
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, DynamicCache
from bench_common import *


class R:
    positions = staticmethod(lambda mask: (mask.long().cumsum(-1) - 1).clamp(min=0))

    @staticmethod
    def heads(x, n):
        B, T, C = x.shape
        return x.view(B, T, n, C // n).transpose(1, 2)

    @staticmethod
    def visibility(mask, P, causal):
        B, T = mask.shape
        ok = mask.bool()[:, None, None, :].expand(B, 1, T, T)
        if causal:
            ok = ok & torch.ones(T, T, dtype=torch.bool).tril()[None, None]
        return torch.cat([torch.ones(B, 1, T, P, dtype=torch.bool), ok], -1)


torch.set_num_threads(2)
torch.manual_seed(0)
P = 8
res = {"load_before": load(), "prefix_rows": P}


def go(arch, impl):
    if arch == "minilm":
        cfg = BertConfig(
            vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
        cfg._attn_implementation = impl
        m = BertModel(cfg, add_pooling_layer=False)
        B, T, L, g = 32, 64, 6, 12
    else:
        cfg = LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=2048,
        )
        cfg._attn_implementation = impl
        m = LlamaModel(cfg)
        B, T, L, g = 8, 64, 30, 3
    m = m.float().eval().requires_grad_(False)
    H = cfg.hidden_size
    ids = torch.randint(5, 30000, (B, T))
    mask = torch.ones(B, T, dtype=torch.long)
    pos = R.positions(mask)
    d = [torch.randn(B, P, H, requires_grad=True) for _ in range(L)]
    ok = R.visibility(mask, P, arch != "minilm")
    am = torch.zeros(B, 1, T, P + T).masked_fill(~ok, torch.finfo(torch.float32).min)

    def text():
        with torch.no_grad():
            return m(input_ids=ids, attention_mask=mask, position_ids=pos).last_hidden_state

    def hyb():
        c = DynamicCache()
        for l in range(L):
            at = m.encoder.layer[l].attention.self if arch == "minilm" else m.layers[l].self_attn
            k, v = (at.key(d[l]), at.value(d[l])) if arch == "minilm" else (at.k_proj(d[l]), at.v_proj(d[l]))
            c.update(R.heads(k, g), R.heads(v, g), l)
        return m(
            input_ids=ids, attention_mask=am, position_ids=pos, past_key_values=c, use_cache=arch != "minilm"
        ).last_hidden_state

    def hyb_ng():
        with torch.no_grad():
            return hyb()

    def fb():
        for x in d:
            x.grad = None
        hyb()[:, -1].square().mean().backward()

    out = dict(batch=B, tokens=T, params_m=sum(p.numel() for p in m.parameters()) / 1e6)
    body = sum(p.numel() for n, p in m.named_parameters() if "embed" not in n)
    for name, f in (("text_forward", text), ("prefix_forward", hyb_ng), ("prefix_forward_backward", fb)):
        t = both(torch, f, reps=5 if arch == "minilm" else 3, maxt=25)
        out[name] = dict(
            tokens_per_s_1thread_cpu=B * T / t["cpu1_s"],
            tokens_per_s_2threads_wall_median=B * T / t["wall2_median_s"],
            tokens_per_s_2threads_wall_best=B * T / t["wall2_min_s"],
            **t,
        )
    out["approx_gflop_forward"] = 2 * body * B * T / 1e9
    out["text_forward"]["approx_gflops_1thread_cpu"] = out["approx_gflop_forward"] / out["text_forward"]["cpu1_s"]
    return out


for arch in ("minilm", "smollm2_135m"):
    for impl in ("eager", "sdpa"):
        res[f"{arch}_{impl}"] = go(arch, impl)
        print(arch, impl, {k: v for k, v in res[f"{arch}_{impl}"].items()}, flush=True)
res["load_after"] = load()
save("llm_prefix", res)
