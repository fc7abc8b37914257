"""Writes real.json: what transformers (float32, eager attention) says of pretrained models that packages ship.

python3 make_real.py MINILM_FOLDER SMOLLM2_GGUF > real.json

Per text: the token ids, and after the embedding and after each layer 8 columns of the last token's state (before the
final norm), evenly spread. The test in ../it reads this file when the weights are at hand.
"""
import json, sys
from pathlib import Path
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

TEXTS = ["Toy Story (1995)", "The capital of France is", "3M 1/2-inch steel-wool pads, 16 count – très fin", "a"]
COLUMNS = 8


def states(model, ids):
    """States before the final norm: a hook on each layer, since transformers norms the last one."""
    layers = model.encoder.layer if hasattr(model, "encoder") else model.layers
    embed = model.embeddings if hasattr(model, "encoder") else model.embed_tokens
    seen = []
    hooks = [m.register_forward_hook(lambda _m, _i, o: seen.append((o[0] if isinstance(o, tuple) else o).detach())) for m in [embed, *layers]]
    with torch.no_grad():
        model(torch.tensor([ids]))
    [h.remove() for h in hooks]
    return [s[0, -1].double() for s in seen]


def case(model, tokenizer):
    out = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        rows = states(model, ids)
        step = rows[0].numel() // COLUMNS
        out.append({"text": text, "ids": ids, "states": [[round(float(r[i * step]), 6) for i in range(COLUMNS)] for r in rows]})
    return out


minilm, smollm2 = Path(sys.argv[1]), Path(sys.argv[2])
kind = dict(attn_implementation="eager", dtype=torch.float32)
bert = AutoModel.from_pretrained(minilm, **kind).eval()
llama = AutoModelForCausalLM.from_pretrained(smollm2.parent, gguf_file=smollm2.name, **kind).eval()
llama_tokens = AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
ids = llama_tokens(TEXTS[1], return_tensors="pt")["input_ids"]
with torch.no_grad():
    best = int(llama(ids).logits[0, -1].argmax())
print(json.dumps({
    "minilm": case(bert, AutoTokenizer.from_pretrained(minilm)),
    "smollm2": case(llama.model, llama_tokens),
    "smollm2_next": {"text": TEXTS[1], "id": best, "token": llama_tokens.decode([best])},
}, indent=1))
