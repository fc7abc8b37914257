"""Writes small references that no fixture has: number formats and files of GGUF (by the gguf package), and tiny models of
the Llama family (by transformers, float64).

python3 make_small.py .        # beside the folder golden, with its gpt2/model and llama/model
"""
import json, sys
from pathlib import Path
import gguf, numpy as np, torch
from gguf.quants import dequantize
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, MistralConfig, Qwen2Config, Qwen3Config

out = Path(sys.argv[1])
rng = np.random.default_rng(1)

# Number formats: two blocks of random bytes each, with scales that are small finite halves.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
tensors = {}
for name, scales in SCALES.items():
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (2, size), dtype=np.uint8)
    for at in scales:
        blocks[:, at : at + 2] = rng.normal(0, 0.1, 2).astype(np.float16).view(np.uint8).reshape(2, 2)
    tensors[f"{name}.bytes"] = blocks.reshape(-1)
    tensors[f"{name}.values"] = dequantize(blocks, kind).astype(np.float32).reshape(-1)
save_file(tensors, out / "formats.safetensors")

# The golden models of the fixtures once more, as GGUF.
LLAMA = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down"}
TOP = {"embed_tokens": "token_embd", "norm": "output_norm", "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output"}


def interleaved(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write(arch):
    config = json.loads((out / "../golden" / arch / "model/config.json").read_text())
    writer = gguf.GGUFWriter(str(out / f"{arch}.gguf"), arch)
    if arch == "llama":
        heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
        writer.add_embedding_length(config["hidden_size"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_head_count(heads)
        writer.add_head_count_kv(shared)
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
        # SentencePiece: bytes, letters, and "▁to" built from "▁", "t" and "o".
        tokens = ["<unk>", "<s>", "</s>", "▁", "t", "o", "y", "▁t", "▁to", "to", "▁toy"] + [f"<0x{b:02X}>" for b in range(60, 146)]
        scores = [0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -6.0, -2.0, -3.0, -1.0, -4.0] + [0.0] * 86
        writer.add_tokenizer_model("llama")
        writer.add_token_scores(scores)
        writer.add_token_types([2, 3, 3] + [1] * 8 + [6] * 86)
        writer.add_bos_token_id(1)
    else:
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
        writer.add_block_count(config["n_layer"])
        writer.add_head_count(config["n_head"])
        writer.add_context_length(config["n_positions"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        tokens = [chr(c) for c in range(33, 127)] + ["Ġ", "to", "Ġto"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(["t o", "Ġ to"])
        writer.add_token_types([1] * len(tokens))
    writer.add_token_list(tokens)
    assert len(tokens) == 97, len(tokens)
    for name, w in load_file(out / "../golden" / arch / "model/model.safetensors").items():
        name = name.removeprefix("model.").removeprefix("transformer.")
        parts = name.split(".")
        kind = parts[-1]
        if parts[0] in ("layers", "h"):
            stem = ".".join(parts[2:-1])
            if (LLAMA if arch == "llama" else GPT2).get(stem) is None:
                continue
            if stem.endswith("q_proj"):
                w = interleaved(w, heads)
            if stem.endswith("k_proj"):
                w = interleaved(w, shared)
            if arch == "gpt2" and ".c_" in f".{stem}" and w.ndim == 2:
                w = w.T.copy()
            name = f"blk.{parts[1]}.{(LLAMA if arch == 'llama' else GPT2)[stem]}.{kind}"
        else:
            name = f"{TOP['.'.join(parts[:-1])]}.{kind}"
        writer.add_tensor(name, np.ascontiguousarray(w))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write("llama")
write("gpt2")

# Tiny relatives of Llama: heads wider than width / heads, biases, head norms.
COMMON = dict(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=64, tie_word_embeddings=True)
for name, config in {
    "mistral": MistralConfig(**COMMON, head_dim=16, sliding_window=64),
    "qwen2": Qwen2Config(**COMMON),
    "qwen3": Qwen3Config(**COMMON, head_dim=12),
}.items():
    torch.manual_seed(3)
    model = AutoModel.from_config(config).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    folder = out / name
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = [5, 17, 3, 60, 22, 9, 41]
    seen = []
    hooks = [m.register_forward_hook(lambda _m, _i, o: seen.append((o[0] if isinstance(o, tuple) else o).detach())) for m in [model.embed_tokens, *model.layers]]
    with torch.no_grad():
        last = model.double()(torch.tensor([ids])).last_hidden_state
    rows = [s.reshape(len(ids), -1).tolist() for s in [*seen, last]]
    (folder / "states.json").write_text(json.dumps({"ids": ids, "states": [[[round(x, 7) for x in r] for r in s] for s in rows]}))
