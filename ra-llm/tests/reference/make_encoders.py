"""Writes encoders.json: what transformers (float32, eager attention) makes of five titles with pretrained encoders.

python3 make_encoders.py all-mpnet-base-v2=FOLDER gemma-3-270m-q4_k_m=FILE.gguf ... > encoders.json

Per model and text: the token ids, and 8 numbers, evenly spread, of the mean over all tokens of the last state. The test
in ../it reads this file if the weights are there, as models/NAME.
"""
import json, os, sys
import torch
from transformers import AutoModel, AutoTokenizer

TEXTS = [
    "Toy Story (1995)",
    "Toy Story 2 (1999)",
    "3M 1/2-inch steel-wool pads, 16 count – très fin",
    "a",
    "Dial indicator with magnetic base, 0 to 1 inch, 0.001 inch graduation, in a fitted case with certificate",
]
COLUMNS = 8

out = {}
for argument in sys.argv[1:]:
    name, folder = argument.split("=", 1)
    kind = {}
    if folder.endswith(".gguf"):
        folder, kind = os.path.split(folder)[0], {"gguf_file": os.path.split(folder)[1]}
    tokenizer = AutoTokenizer.from_pretrained(folder, **kind)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, **kind).eval()
    out[name] = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0).double()
        step = mean.numel() // COLUMNS
        out[name].append({"text": text, "ids": ids, "mean": [round(float(mean[i * step]), 6) for i in range(COLUMNS)]})
print(json.dumps(out, indent=1))
