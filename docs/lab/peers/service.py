"""A service as a team would write it: FastAPI, MiniLM in PyTorch, exact search in faiss, on one core.

    taskset -c 0 python docs/lab/peers/service.py MINILM BUNDLE [port]

MINILM is the folder of the model (config.json, model.safetensors, tokenizer.json), BUNDLE one that `export` wrote: its
items.parquet names the items and their titles. A request is that of `ra-rec serve`, so docs/lab/peers/load.lua loads both:

    ITEMS=17000 taskset -c 1 wrk -t1 -c1 -d15s --latency -s docs/lab/peers/load.lua http://127.0.0.1:8090

The titles of a history are one text, as in the prompt of a user tower. Its vector, the mean over the tokens, is compared
with 384 numbers for each item. These are drawn at random: the time is that of any others. TOKENS is the length at which
the text is cut, 85 unless set, which is what a prompt of RA-Rec has at 20 titles.
"""
import os

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
import sys

import faiss
import numpy as np
import pyarrow.parquet as parquet
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoTokenizer

torch.set_num_threads(1)
folder, bundle, port = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["8090"])[0])
items = parquet.read_table(f"{bundle}/items.parquet", columns=["item", "title"]).to_pydict()
ids, titles = items["item"], items["title"]
place = {item: n for n, item in enumerate(ids)}
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
vectors = np.random.default_rng(7).standard_normal((len(ids), 384), dtype=np.float32)
faiss.normalize_L2(vectors)
index = faiss.IndexFlatIP(384)
index.add(vectors)
app = FastAPI()


class Request(BaseModel):
    history: list[str]
    top: int = 10


@torch.inference_mode()
def encode(text: str) -> np.ndarray:
    tokens = tokenizer(text, truncation=True, max_length=int(os.getenv("TOKENS", "85")), return_tensors="pt")
    states = model(**tokens).last_hidden_state[0]
    vector = states.mean(0, keepdim=True)
    return torch.nn.functional.normalize(vector).numpy()


@app.post("/v1/recommend")
def recommend(request: Request):
    known = [place[item] for item in request.history if item in place]
    vector = encode(", ".join(titles[item] for item in known))
    scores, found = index.search(vector, request.top + len(known))
    seen = set(known)
    best = [(n, s) for n, s in zip(found[0].tolist(), scores[0].tolist()) if n not in seen][: request.top]
    return {"recommended": [{"item": ids[n], "title": titles[n], "score": s} for n, s in best]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
