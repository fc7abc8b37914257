"""Writes tiny models of the Llama family (by transformers, float64).

python3 make_small.py .
"""
import json, sys
from pathlib import Path
import torch
from transformers import AutoModel, MistralConfig, Qwen2Config, Qwen3Config

out = Path(sys.argv[1])

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
