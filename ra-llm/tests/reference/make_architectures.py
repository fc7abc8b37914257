"""Writes tiny models of many architectures, and what they compute without and with a prefix in every layer.

python3 make_architectures.py .           # all of them; names after the folder choose some

A folder holds config.json and model.safetensors as transformers or the publisher write them, config.old.json where older
checkpoints spell the same model differently, and expected.safetensors: float64 results, cast. Its tensors:
 ids, mask     [3, T]: a full text, one padded on the right, one on the left.
 state.0..L    the input of layer 0, and the residual stream after each layer; last: after the final norm. Pads are 0.
 prefix.0..L-1 [3, P, H]; hybrid.1..L, hybrid_last: the same states with concat(prefix, a) under the keys and values.
 grad.0..L-1   of sum over texts of dot(r, mean over tokens of hybrid_last).
 buckets       (mpnet, t5) of relative positions -200..200, as transformers computes them in float32.

sentence/ and static/ hold folders of sentence-transformers and model2vec: expected.safetensors has ids, mask and sentence,
the vector before the Normalize; texts.json has texts, their ids, and normalized vectors without ("none") and with each
prompt; expected.json has texts, ids as tokenized and vectors. sentence/dense_now is sentence/dense as the package of
today spells it. sentence/poolings.safetensors has each pooling mode's result on hidden and mask.

The states without a prefix are transformers' own, with its forced float32 steps made float64; the reference below, read
from the files alone, must agree to 1e-10 before its prefix is believed. Printed: how far wrong readings move hybrid_last.
"""
import contextlib, inspect, json, math, shutil, sys, tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Callable
import torch, transformers
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
VOCAB, TOKENS, ROWS, LAYERS, HIDDEN, INNER, HEADS = 61, 12, 3, 3, 24, 32, 4
SINGLE = torch.float32


@contextlib.contextmanager
def precise():
    """What transformers forces to float32, it computes in float64."""
    single, to_float = torch.float32, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    yield
    torch.float32 = torch.float = single
    torch.Tensor.float = to_float
    torch.set_default_dtype(single)


def same(x):
    return x


# The reference: attention once, and how each family fills it.
@dataclass
class Layer:
    read: Callable  # state -> input of queries, keys and values
    query: Callable
    key: Callable
    value: Callable  # each [B, n, H] -> [B, n, heads * head]
    finish: Callable  # (state, attended) -> state
    heads: tuple  # of queries, of keys and values
    scale: float
    query_norm: Callable = same
    key_norm: Callable = same  # of heads, [B, heads, n, head]
    freq: torch.Tensor | None = None  # rotary
    magnitude: float = 1.0  # of cosines and sines
    window: Callable | None = None  # query position - key position -> sees
    bias: Callable | None = None  # key position - query position -> [heads, ...]
    cap: float | None = None


@dataclass
class Reference:
    embed: Callable
    layers: list
    final: Callable
    causal: bool


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def rotate(x, positions, layer):
    angle = positions[:, None, :, None].to(x.dtype) * layer.freq
    cos, sin, half = angle.cos() * layer.magnitude, angle.sin() * layer.magnitude, len(layer.freq)
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attend(layer, read, mask, positions, causal, prefix, wrong):
    (heads, kv), n = layer.heads, mask.shape[1]
    q = layer.query_norm(split(layer.query(read), heads))
    k = layer.key_norm(split(layer.key(read), kv))
    v = split(layer.value(read), kv)
    shift = ROWS if wrong == "positions shifted" else 0
    if layer.freq is not None:
        q, k = (rotate(x, positions + shift, layer) for x in (q, k))
    at = torch.arange(n)
    if prefix is not None:
        own = layer.read(prefix) if wrong == "prefix normed" else prefix
        own_k, own_v = split(layer.key(own), kv), split(layer.value(own), kv)
        own_k = own_k if wrong == "prefix keys not normed" else layer.key_norm(own_k)
        if wrong == "prefix rotated":
            own_k = rotate(own_k, torch.arange(ROWS).expand(len(mask), -1), layer)
        k, v = torch.cat([own_k, k], 2), torch.cat([own_v, v], 2)
        at = torch.cat([torch.arange(-ROWS, 0), at])
        mask = torch.cat([torch.ones(len(mask), ROWS, dtype=mask.dtype), mask], 1)
    k, v = (x.repeat_interleave(heads // kv, 1) for x in (k, v))
    scores = q @ k.transpose(2, 3) * layer.scale
    if layer.cap:
        scores = (scores / layer.cap).tanh() * layer.cap
    apart, text = torch.arange(n)[:, None] - at, at >= 0
    if layer.bias:
        scores = scores + layer.bias(-apart) * (text | (wrong == "prefix biased"))
    sees = mask.bool()[:, None, None, :].expand(-1, 1, n, -1)
    if causal:
        sees = sees & (apart >= 0)
    if layer.window:
        sees = sees & (layer.window(apart) | ~(text | (wrong == "prefix in the window")))
    return (scores.masked_fill(~sees, -1e30).softmax(-1) @ v).transpose(1, 2).flatten(2)


def run(reference, ids, mask, prefixes=None, wrong=None):
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    states = [reference.embed(ids, positions)]
    for i, layer in enumerate(reference.layers):
        prefix = prefixes[i] if prefixes is not None else None
        attended = attend(layer, layer.read(states[-1]), mask, positions, reference.causal, prefix, wrong)
        states.append(layer.finish(states[-1], attended))
    keep = mask[..., None].to(states[0].dtype)
    return [x * keep for x in [*states, reference.final(states[-1])]]


def linear(w, name):
    return lambda x: F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def layer_norm(w, name, eps):
    return lambda x: F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w.get(f"{name}.bias"), eps)


def rms_norm(w, name, eps, plus=0.0):
    return lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (plus + w[f"{name}.weight"])


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


def frequencies(w, base, size):
    dtype = next(x.dtype for x in w.values() if x.is_floating_point())
    return torch.tensor([base ** (-2 * j / size) for j in range(size // 2)], dtype=torch.float64).to(dtype)


def bucket(apart, buckets, furthest):
    """Of T5 and MPNet, key position - query position; in float32, as published models use it."""
    half, n = buckets // 2, apart.abs()
    exact = half // 2
    far = exact + ((n.to(SINGLE) / exact).log() / math.log(furthest / exact) * (half - exact)).long()
    return (apart > 0) * half + torch.where(n < exact, n, far.clamp(max=half - 1))


def position_bias(table, furthest):
    return lambda apart: table[bucket(apart, len(table), furthest)].permute(2, 0, 1)


def bert_like(w, c, top, stem, q, k, v, o, norm1, up, down, norm2, eps, positions, types=None, bias=None):
    heads = c.get("num_attention_heads") or c["n_heads"]
    hidden = c.get("hidden_size") or c["dim"]

    def embed(ids, at):
        x = w[f"{top}embeddings.word_embeddings.weight"][ids] + w[f"{top}embeddings.position_embeddings.weight"][at + positions]
        return layer_norm(w, f"{top}embeddings.LayerNorm", eps)(x if types is None else x + w[types][0])

    def layer(i):
        at = f"{top}{stem}.{i}."

        def finish(h, attended):
            h = layer_norm(w, at + norm1, eps)(h + linear(w, at + o)(attended))
            return layer_norm(w, at + norm2, eps)(h + linear(w, at + down)(F.gelu(linear(w, at + up)(h))))

        return Layer(same, *(linear(w, at + x) for x in (q, k, v)), finish, (heads, heads), (hidden // heads) ** -0.5, bias=bias)

    return Reference(embed, [layer(i) for i in range(LAYERS)], same, False)


def roberta(w, c):
    return bert_like(w, c, "roberta.", "encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
                     c["layer_norm_eps"], c["pad_token_id"] + 1, "roberta.embeddings.token_type_embeddings.weight")


def bert(w, c):
    return bert_like(w, c, "", "encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
                     c["layer_norm_eps"], 0, "embeddings.token_type_embeddings.weight")


def distilbert(w, c):
    return bert_like(w, c, "distilbert.", "transformer.layer", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                     "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm", 1e-12, 0)


def mpnet(w, c):
    return bert_like(w, c, "", "encoder.layer", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
                     "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm", c["layer_norm_eps"], 2,
                     bias=position_bias(w["encoder.relative_attention_bias.weight"], 128))


def chunks(w, name, sizes):
    """The parts of one fused projection, without bias."""
    return [(lambda x, m=m: F.linear(x, m)) for m in w[f"{name}.weight"].split(sizes)]


def modernbert(w, c):
    heads, hidden, eps = c["num_attention_heads"], c["hidden_size"], c["norm_eps"]
    reach = c["local_attention"] // 2

    def embed(ids, _at):
        return layer_norm(w, "model.embeddings.norm", eps)(w["model.embeddings.tok_embeddings.weight"][ids])

    def layer(i):
        at, local = f"model.layers.{i}.", c["layer_types"][i] == "sliding_attention"

        def finish(h, attended):
            h = h + linear(w, at + "attn.Wo")(attended)
            a, gate = linear(w, at + "mlp.Wi")(layer_norm(w, at + "mlp_norm", eps)(h)).chunk(2, -1)
            return h + linear(w, at + "mlp.Wo")(F.gelu(a) * gate)

        base = c["rope_parameters"][c["layer_types"][i]]["rope_theta"]
        return Layer(layer_norm(w, at + "attn_norm", eps) if i else same, *chunks(w, at + "attn.Wqkv", [hidden] * 3), finish, (heads, heads),
                     (hidden // heads) ** -0.5, freq=frequencies(w, base, hidden // heads),
                     window=(lambda apart: apart.abs() <= reach) if local else None)

    return Reference(embed, [layer(i) for i in range(LAYERS)], layer_norm(w, "model.final_norm", eps), False)


def nomic_bert(w, c):
    heads, hidden, eps = c["n_head"], c["n_embd"], c["layer_norm_epsilon"]

    def embed(ids, _at):
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        return layer_norm(w, "emb_ln", eps)(x)

    def layer(i):
        at = f"encoder.layers.{i}."

        def finish(h, attended):
            h = layer_norm(w, at + "norm1", eps)(h + linear(w, at + "attn.out_proj")(attended))
            inner = linear(w, at + "mlp.fc11")(h) * F.silu(linear(w, at + "mlp.fc12")(h))
            return layer_norm(w, at + "norm2", eps)(h + linear(w, at + "mlp.fc2")(inner))

        return Layer(same, *chunks(w, at + "attn.Wqkv", [hidden] * 3), finish, (heads, heads), (hidden // heads) ** -0.5,
                     freq=frequencies(w, c["rotary_emb_base"], hidden // heads))

    return Reference(embed, [layer(i) for i in range(LAYERS)], same, False)


def gemma(w, c):
    top = "model." if "model.norm.weight" in w else ""
    heads, head, eps = (c["num_attention_heads"], c["num_key_value_heads"]), c["head_dim"], c["rms_norm_eps"]
    both_ways = bool(c.get("use_bidirectional_attention"))
    reach = c["sliding_window"] // 2 + 1 if both_ways else c["sliding_window"]

    def norm(name):
        return rms_norm(w, name, eps, 1.0)

    def layer(i):
        at, kind = f"{top}layers.{i}.", c["layer_types"][i]
        rope = c["rope_parameters"].get(kind, c["rope_parameters"])

        def finish(h, attended):
            h = h + norm(at + "post_attention_layernorm")(linear(w, at + "self_attn.o_proj")(attended))
            x = norm(at + "pre_feedforward_layernorm")(h)
            x = linear(w, at + "mlp.down_proj")(gelu_tanh(linear(w, at + "mlp.gate_proj")(x)) * linear(w, at + "mlp.up_proj")(x))
            return h + norm(at + "post_feedforward_layernorm")(x)

        normed = f"{at}self_attn.q_norm.weight" in w
        return Layer(norm(at + "input_layernorm"), *(linear(w, f"{at}self_attn.{x}_proj") for x in "qkv"), finish, heads,
                     c["query_pre_attn_scalar"] ** -0.5, norm(at + "self_attn.q_norm") if normed else same,
                     norm(at + "self_attn.k_norm") if normed else same,
                     freq=frequencies(w, rope["rope_theta"], head) / rope.get("factor", 1.0),
                     window=(lambda apart: apart.abs() < reach) if kind == "sliding_attention" else None,
                     cap=c["attn_logit_softcapping"] if c["model_type"] == "gemma2" else None)

    def embed(ids, _at):
        return w[f"{top}embed_tokens.weight"][ids] * c["hidden_size"] ** 0.5

    return Reference(embed, [layer(i) for i in range(c["num_hidden_layers"])], norm(f"{top}norm"), not both_ways)


def llama_frequencies(w, c, head):
    rope = c["rope_parameters"]
    freq = frequencies(w, rope["rope_theta"], int(head * rope.get("partial_rotary_factor", 1.0)))
    if rope["rope_type"] == "linear":
        freq = freq / rope["factor"]
    if rope["rope_type"] == "longrope":  # the short factors: no text here is longer than the original context
        freq = freq / torch.tensor(rope["short_factor"], dtype=freq.dtype)
    if rope["rope_type"] == "llama3":
        low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
        turns = old * freq / (2 * math.pi)  # of each pair within the old context
        kinds = {"kept" if t > high else "scaled" if t < low else "between" for t in turns.tolist()}
        assert len(kinds) == 3, kinds
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        freq = freq * (kept + (1 - kept) / rope["factor"])
    return freq


def llama(w, c):
    heads, eps = (c["num_attention_heads"], c["num_key_value_heads"]), c["rms_norm_eps"]
    head = c.get("head_dim") or c["hidden_size"] // heads[0]
    freq, rope, magnitude = llama_frequencies(w, c, head), c["rope_parameters"], 1.0
    if rope["rope_type"] == "longrope":
        grown = c["max_position_embeddings"] / c["original_max_position_embeddings"]
        magnitude = math.sqrt(1 + math.log(grown) / math.log(c["original_max_position_embeddings"]))
    reach = c.get("sliding_window")

    def layer(i):
        at = f"model.layers.{i}."
        if c["model_type"] == "phi3":
            parts = chunks(w, at + "self_attn.qkv_proj", [x * head for x in (heads[0], heads[1], heads[1])])
            gate, up = chunks(w, at + "mlp.gate_up_proj", [c["intermediate_size"]] * 2)
        else:
            parts = [linear(w, f"{at}self_attn.{x}_proj") for x in "qkv"]
            gate, up = linear(w, at + "mlp.gate_proj"), linear(w, at + "mlp.up_proj")

        def finish(h, attended):
            h = h + linear(w, at + "self_attn.o_proj")(attended)
            x = rms_norm(w, at + "post_attention_layernorm", eps)(h)
            return h + linear(w, at + "mlp.down_proj")(F.silu(gate(x)) * up(x))

        return Layer(rms_norm(w, at + "input_layernorm", eps), *parts, finish, heads, head**-0.5, freq=freq, magnitude=magnitude,
                     window=(lambda apart: apart < reach) if reach else None)

    return Reference(lambda ids, _at: w["model.embed_tokens.weight"][ids], [layer(i) for i in range(LAYERS)], rms_norm(w, "model.norm", eps), True)


def t5(w, c):
    heads, eps, gated = c["num_heads"], c["layer_norm_epsilon"], c["feed_forward_proj"] == "gated-gelu"
    table = w["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    words = w["shared.weight"] if "shared.weight" in w else w["encoder.embed_tokens.weight"]

    def layer(i):
        at = f"encoder.block.{i}.layer."
        attention, dense = at + "0.SelfAttention.", at + "1.DenseReluDense."

        def finish(h, attended):
            h = h + linear(w, attention + "o")(attended)
            x = rms_norm(w, at + "1.layer_norm", eps)(h)
            inner = gelu_tanh(linear(w, dense + "wi_0")(x)) * linear(w, dense + "wi_1")(x) if gated else F.relu(linear(w, dense + "wi")(x))
            return h + linear(w, dense + "wo")(inner)

        return Layer(rms_norm(w, at + "0.layer_norm", eps), *(linear(w, attention + x) for x in "qkv"), finish, (heads, heads), 1.0,
                     bias=position_bias(table, c["relative_attention_max_distance"]))

    return Reference(lambda ids, _at: words[ids], [layer(i) for i in range(c["num_layers"])], rms_norm(w, "encoder.final_layer_norm", eps), False)


# The cases: a config, the class that saves, the class that is asked, and the reference.
@dataclass
class Case:
    config: Callable
    saves: str
    asks: str
    reference: Callable
    hooks: Callable  # model -> embedding, layers
    scale: dict  # deviation of matrices whose names contain a key; "" otherwise
    around: float = 1.0  # of norm weights
    old: dict | None = None  # keys of config.old.json: None drops one
    published: dict | None = None  # the whole config.json
    tensors: Callable = same  # what is published beside or instead of what transformers saves


T = transformers
BERT = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            max_position_embeddings=32)
LLAMA = {**BERT, "num_key_value_heads": 2, "pad_token_id": 0}
GEMMA = {**LLAMA, "head_dim": 8, "query_pre_attn_scalar": 5, "sliding_window": 4, "bos_token_id": 2, "eos_token_id": 1}
PLAIN = {"": 0.3, "embed": 0.7}


def encoder(model):
    return model.embeddings, model.encoder.layer


def decoder(model):
    return model.embed_tokens, model.layers


def with_ids(name):
    def add(w):
        return {**w, name: torch.arange(32)[None]}

    return add


def decoder_extra(w):
    """Tensors of published T5 models that an encoder has no use for."""
    return {**w, "lm_head.weight": torch.randn(VOCAB, HIDDEN), "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.randn(32, HEADS)}


NOMIC = dict(
    activation_function="swiglu", architectures=["NomicBertModel"], attn_pdrop=0.0, bos_token_id=None, causal=False, dense_seq_output=True, embd_pdrop=0.0,
    eos_token_id=None, fused_bias_fc=True, fused_dropout_add_ln=True, initializer_range=0.02, layer_norm_epsilon=1e-12, max_trained_positions=32,
    mlp_fc1_bias=False, mlp_fc2_bias=False, model_type="nomic_bert", n_embd=HIDDEN, n_head=HEADS, n_inner=INNER, n_layer=LAYERS, n_positions=32,
    pad_vocab_size_multiple=64, parallel_block=False, parallel_block_tied_norm=False, prenorm=False, qkv_proj_bias=False, reorder_and_upcast_attn=False,
    resid_pdrop=0.0, rotary_emb_base=1000, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None,
    rotary_scaling_factor=None, scale_attn_by_inverse_layer_idx=False, scale_attn_weights=True, torch_dtype="float32", type_vocab_size=2,
    use_cache=True, use_flash_attn=True, use_rms_norm=False, use_xentropy=True, vocab_size=VOCAB)

ROPE3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
T5 = dict(vocab_size=VOCAB, d_model=HIDDEN, d_kv=5, d_ff=INNER, num_layers=LAYERS, num_decoder_layers=1, num_heads=HEADS)
LOUD = {"": 0.3, "relative_attention_bias": 1.0, "embed": 0.7, "shared": 0.7, ".q.": 0.15}

CASES = {
    "roberta": Case(lambda: T.RobertaConfig(**BERT, type_vocab_size=1, layer_norm_eps=1e-5), "RobertaForMaskedLM", "RobertaModel", roberta, encoder, PLAIN,
                    tensors=with_ids("roberta.embeddings.position_ids")),
    "distilbert": Case(lambda: T.DistilBertConfig(vocab_size=VOCAB, dim=HIDDEN, hidden_dim=INNER, n_layers=LAYERS, n_heads=HEADS, max_position_embeddings=32),
                       "DistilBertForMaskedLM", "DistilBertModel", distilbert, lambda m: (m.embeddings, m.transformer.layer), PLAIN),
    "mpnet": Case(lambda: T.MPNetConfig(**BERT, layer_norm_eps=1e-5), "MPNetModel", "MPNetModel", mpnet, encoder, LOUD, tensors=with_ids("embeddings.position_ids")),
    "modernbert": Case(lambda: T.ModernBertConfig(**BERT, layer_types=["full_attention", "sliding_attention", "full_attention"], local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                                  cls_token_id=1, sep_token_id=2, global_rope_theta=160000.0, local_rope_theta=100.0),
                       "ModernBertForMaskedLM", "ModernBertModel", modernbert, lambda m: (m.embeddings, m.layers), PLAIN,
                       old=dict(layer_types=None, rope_parameters=None, global_attn_every_n_layers=2, global_rope_theta=160000.0, local_rope_theta=100.0,
                                position_embedding_type="absolute", dtype=None, torch_dtype="float32")),
    "gemma3": Case(lambda: T.Gemma3TextConfig(**{**GEMMA, "num_hidden_layers": 4}, layer_types=["sliding_attention", "full_attention"] * 2, rope_theta=1000000.0, rope_local_base_freq=100.0,
                                              rope_scaling=dict(rope_type="linear", factor=8.0)),
                   "Gemma3ForCausalLM", "Gemma3TextModel", gemma, decoder, PLAIN, 0.0,
                   old=dict(layer_types=None, rope_parameters=None, _sliding_window_pattern=None, sliding_window_pattern=2, rope_theta=1000000.0, rope_local_base_freq=100.0,
                            rope_scaling=dict(rope_type="linear", factor=8.0), dtype=None, torch_dtype="float32", cache_implementation="hybrid")),
    "embeddinggemma": Case(lambda: T.Gemma3TextConfig(**{**GEMMA, "num_hidden_layers": 4, "sliding_window": 6, "num_key_value_heads": 1}, use_bidirectional_attention=True,
                                                      layer_types=["sliding_attention"] * 2 + ["full_attention", "sliding_attention"]),
                           "Gemma3TextModel", "Gemma3TextModel", gemma, decoder, PLAIN, 0.0,
                           old=dict(rope_parameters=None, _sliding_window_pattern=6, rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=None)),
    "gemma2": Case(lambda: T.Gemma2Config(**GEMMA, attn_logit_softcapping=2.0), "Gemma2ForCausalLM", "Gemma2Model", gemma, decoder, PLAIN, 0.0,
                   old=dict(layer_types=None, rope_parameters=None, rope_theta=10000.0, hidden_act="gelu_pytorch_tanh", dtype=None, torch_dtype="float32",
                            cache_implementation="hybrid", use_bidirectional_attention=None)),
    "nomic_bert": Case(lambda: T.NomicBertConfig(**{**BERT, "layer_norm_eps": 1e-12}), "NomicBertModel", "NomicBertModel", nomic_bert,
                       lambda m: (m.embeddings, m.layers), {"": 0.2, "embed": 0.7}, published=NOMIC,
                       tensors=lambda w: {k: x for k, x in w.items() if "pooler" not in k}),
    "llama3": Case(lambda: T.LlamaConfig(**LLAMA, head_dim=12, rope_theta=500.0, rope_scaling=dict(ROPE3), tie_word_embeddings=True),
                   "LlamaForCausalLM", "LlamaModel", llama, decoder, PLAIN,
                   old=dict(rope_parameters=None, rope_theta=500.0, rope_scaling=ROPE3, dtype=None, torch_dtype="float32")),
    "t5": Case(lambda: T.T5Config(**T5), "T5ForConditionalGeneration", "T5EncoderModel", t5, lambda m: (m.encoder.embed_tokens, m.encoder.block), LOUD, tensors=decoder_extra,
               old=dict(feed_forward_proj=None, relative_attention_max_distance=None, dense_act_fn=None, is_gated_act=None, num_decoder_layers=None,
                        scale_decoder_outputs=None, is_decoder=None, n_positions=512)),
    "t5_gated": Case(lambda: T.T5Config(**T5, feed_forward_proj="gated-gelu", relative_attention_num_buckets=10, relative_attention_max_distance=9,
                                        tie_word_embeddings=False), "T5EncoderModel", "T5EncoderModel", t5, lambda m: (m.encoder.embed_tokens, m.encoder.block), LOUD,
                     tensors=lambda w: {k.replace("shared.", "encoder.embed_tokens."): x for k, x in w.items()}),
    "phi3": Case(lambda: T.Phi3Config(**LLAMA, sliding_window=5, bos_token_id=1, eos_token_id=2, original_max_position_embeddings=32), "Phi3ForCausalLM",
                 "Phi3Model", llama, decoder, PLAIN,
                 old=dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=None, dtype=None, torch_dtype="float32", attention_bias=False)),
    "llama_linear": Case(lambda: T.LlamaConfig(**LLAMA, rope_scaling=dict(rope_type="linear", factor=2.0)), "LlamaForCausalLM", "LlamaModel", llama, decoder,
                         PLAIN, old=dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=dict(type="linear", factor=2.0), head_dim=None, dtype=None,
                                         torch_dtype="float32")),
    "phi3_long": Case(lambda: T.Phi3Config(**{**LLAMA, "hidden_size": 32, "max_position_embeddings": 256}, bos_token_id=1, eos_token_id=2,
                                           original_max_position_embeddings=32, partial_rotary_factor=0.75, tie_word_embeddings=True,
                                           rope_scaling=dict(type="longrope", short_factor=[1.0, 1.5, 3.0], long_factor=[1.0, 4.0, 32.0])),
                      "Phi3ForCausalLM", "Phi3Model", llama, decoder, PLAIN,
                      old=dict(rope_parameters=None, rope_theta=10000.0, partial_rotary_factor=0.75, dtype=None, torch_dtype="float32", attention_bias=False,
                               rope_scaling=dict(type="longrope", short_factor=[1.0, 1.5, 3.0], long_factor=[1.0, 4.0, 32.0]))),
}


def fill(model, scale, around):
    """Random weights that let mistakes show."""
    for name, p in sorted(model.named_parameters()):
        if p.ndim > 1:
            p.data.normal_(0.0, max((len(k), v) for k, v in scale.items() if k in name)[1])
        elif name.endswith("bias"):
            p.data.normal_(0.0, 0.2)
        else:
            p.data.normal_(around, 0.25)


def texts(pad):
    ids = torch.randint(3, VOCAB, (3, TOKENS))
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[2, : TOKENS - 9] = 0, 0
    assert pad < 3
    return ids.masked_fill(mask == 0, pad), mask


def load(folder, case, config=None):
    """The model as transformers reads it, in float64; config is another file that describes it."""
    with tempfile.TemporaryDirectory() as other:
        for file in folder.glob("*.safetensors"):
            shutil.copy(file, other)
        shutil.copy(config or folder / "config.json", Path(other) / "config.json")
        cls = getattr(transformers, case.asks)
        model, report = cls.from_pretrained(other, attn_implementation="eager", dtype=torch.float64, output_loading_info=True)
    missing = {x for x in report["missing_keys"] if "pooler" not in x and "embed_tokens" not in x and "shared" not in x}
    assert not missing and not report["mismatched_keys"], report
    with precise():
        for module in model.modules():
            if hasattr(module, "rotary_emb"):
                module.rotary_emb.__init__(model.config)
            if hasattr(module, "scalar_embed_scale"):
                module.embed_scale = torch.nn.Buffer(torch.tensor(module.scalar_embed_scale), persistent=False)
    return model.eval()


def asked(model, case, ids, mask):
    """What transformers computes: each text alone and unpadded; and in one batch, where it takes positions or needs none."""
    embedding, layers = case.hooks(model)
    seen = []

    def keep(_module, _input, output):
        seen.append((output[0] if isinstance(output, tuple) else output).detach())

    handles = [m.register_forward_hook(keep) for m in [embedding, *layers]]

    def states(**inputs):
        seen.clear()
        with torch.no_grad(), precise():
            last = model(**inputs).last_hidden_state
        assert last.dtype == torch.float64 and len(seen) == len(layers) + 1
        return [*seen, last]

    out = None
    for i, (row, keep_row) in enumerate(zip(ids, mask.bool())):
        alone = states(input_ids=row[keep_row][None])
        out = out or [torch.zeros(*ids.shape, x.shape[-1], dtype=torch.float64) for x in alone]
        for whole, part in zip(out, alone):
            whole[i, keep_row] = part[0]
    named = "position_ids" in inspect.signature(model.forward).parameters
    counted = case.asks in ("RobertaModel", "MPNetModel")  # from the ids
    positions = dict(position_ids=(mask.cumsum(1) - 1).clamp(min=0)) if named and not counted else {}
    batch = [x * mask[..., None] for x in states(input_ids=ids, attention_mask=mask, **positions)]
    [handle.remove() for handle in handles]
    check(batch, out, "one batch", 1e-10)
    return out


def check(got, want, what, limit):
    worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(got, want))
    assert len(got) == len(want) and worst < limit, (what, worst)
    return worst


def wrong_readings(reference, rebuilt, config):
    """name -> (reference, reading of the prefix)."""
    layers, out = reference.layers, {}
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        out["rope scaling removed"] = rebuilt({**config, "rope_parameters": {**rope, "rope_type": "default"}}), None
    if "factor" in rope.get("full_attention", {}):
        out["rope scaling removed"] = rebuilt({**config, "rope_parameters": {**rope, "full_attention": {**rope["full_attention"], "factor": 1.0}}}), None

    def changed(**fields):
        return replace(reference, layers=[replace(x, **{k: f(x) for k, f in fields.items()}) for x in layers])

    def widened(by):
        def window(layer):
            if layer.window is None:
                return None
            return (lambda apart: layer.window(apart - by * apart.sign())) if by > 0 else (lambda apart: layer.window(apart + apart.sign()))

        return window

    if any(x.window for x in layers):
        out["window removed"] = changed(window=lambda x: None), None
        out["window one wider"] = changed(window=widened(1)), None
        out["window one narrower"] = changed(window=widened(-1)), None
        out["prefix in the window"] = reference, "prefix in the window"
        if not all(x.window for x in layers):
            windows = [x.window for x in layers]
            out["windows of other layers"] = replace(reference, layers=[replace(x, window=v) for x, v in zip(layers, windows[1:] + windows[:1])]), None
    if layers[0].cap:
        out["cap removed"] = changed(cap=lambda x: None), None
    if layers[0].freq is not None:
        out["prefix rotated"] = reference, "prefix rotated"
        out["positions shifted"] = reference, "positions shifted"
        other = next((x.freq for x in layers if not torch.equal(x.freq, layers[0].freq)), None)
        if other is not None:
            out["one base: the first layer's"] = changed(freq=lambda x: layers[0].freq), None
            out["one base: the other"] = changed(freq=lambda x: other), None
        if layers[0].magnitude != 1.0:
            out["magnitude removed"] = changed(magnitude=lambda x: 1.0), None
    if layers[-1].read is not same:
        out["prefix normed"] = reference, "prefix normed"
    if layers[0].key_norm is not same:
        out["prefix keys not normed"] = reference, "prefix keys not normed"
    if layers[0].bias:
        out["prefix biased"] = reference, "prefix biased"
        out["bias removed"] = changed(bias=lambda x: None), None
    return out


def old_config(folder, changes):
    config = json.loads((folder / "config.json").read_text())
    for key, value in {"transformers_version": None, **changes}.items():
        config.pop(key, None)
        if value is not None or key == "rope_scaling":
            config[key] = value
    (folder / "config.old.json").write_text(json.dumps(config, indent=2) + "\n")


def save_model(folder, config, cls, scale, around, tensors=same):
    folder.mkdir(parents=True, exist_ok=True)
    model = getattr(transformers, cls)(config).to(SINGLE).eval()
    fill(model, scale, around)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    saved = tensors(load_file(folder / "model.safetensors"))
    save_file({k: x.contiguous().clone() for k, x in saved.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    size = (folder / "model.safetensors").stat().st_size
    assert size < 120_000, (folder, size)


def doubled(folder, dtype=torch.float64):
    return {k: x.to(dtype) if x.is_floating_point() else x for k, x in load_file(folder / "model.safetensors").items()}


def make(out, name, case):
    torch.manual_seed(1000 + list(CASES).index(name))
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    save_model(folder, case.config(), case.saves, case.scale, case.around, case.tensors)
    config = json.loads((folder / "config.json").read_text())
    ids, mask = texts(config.get("pad_token_id") or 0)
    want = asked(load(folder, case), case, ids, mask)
    if case.old:
        old_config(folder, case.old)
        check(asked(load(folder, case, folder / "config.old.json"), case, ids, mask), want, "config.old.json", 1e-12)
    if case.published:
        (folder / "config.json").rename(folder / "config.native.json")
        config = case.published
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    reference = case.reference(doubled(folder), config)
    agreed = check(run(reference, ids, mask), want, "reference", 1e-10)

    layers, width = len(reference.layers), want[0].shape[-1]
    prefixes = [torch.randn(3, ROWS, width).double().requires_grad_() for _ in range(layers)]
    r = torch.randn(width).double()
    share = (mask / mask.sum(1, keepdim=True)).double()

    def score(prefixes):
        return (torch.einsum("bth,bt->bh", run(reference, ids, mask, prefixes)[-1], share) @ r).sum()

    hybrid = run(reference, ids, mask, prefixes)
    grads = torch.autograd.grad(score(prefixes), prefixes)
    with torch.no_grad():
        prefixes = [x.detach() for x in prefixes]
        way = [torch.randn_like(x) for x in prefixes]
        ahead, behind = (score([x + s * y for x, y in zip(prefixes, way)]) for s in (1e-5, -1e-5))
        along = sum((g * y).sum() for g, y in zip(grads, way)).item()
        slope = ((ahead - behind) / 2e-5).item()
        assert abs(slope - along) < 1e-5 * max(1.0, abs(along)), (slope, along)
        single = case.reference(doubled(folder, SINGLE), config)
        plain = run(single, ids, mask, [x.to(SINGLE) for x in prefixes])
        rounding = max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(plain, hybrid))
        wrong = {}
        for reading, (other, flag) in wrong_readings(reference, lambda c: case.reference(doubled(folder), c), config).items():
            wrong[reading] = (run(other, ids, mask, prefixes, flag)[-1] - hybrid[-1]).abs().max().item()
            assert wrong[reading] > 1e-3, (name, reading, wrong[reading])
    expected = {"ids": ids, "mask": mask, "last": want[-1], "hybrid_last": hybrid[-1], "r": r}
    expected |= {f"state.{i}": x for i, x in enumerate(want[:-1])} | {f"hybrid.{i + 1}": x for i, x in enumerate(hybrid[1:-1])}
    expected |= {f"prefix.{i}": x for i, x in enumerate(prefixes)} | {f"grad.{i}": x for i, x in enumerate(grads)}
    if reference.layers[0].bias:
        apart = torch.arange(-200, 201)
        if case.asks == "MPNetModel":
            from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
            expected["buckets"] = MPNetEncoder.relative_position_bucket(apart)
        else:
            from transformers.models.t5.modeling_t5 import T5Attention
            size = [config[f"relative_attention_{x}"] for x in ("num_buckets", "max_distance")]
            expected["buckets"] = T5Attention._relative_position_bucket(apart, True, *size)
            assert torch.equal(bucket(apart, *size), expected["buckets"])
    write(folder / "expected.safetensors", expected)
    far = ", ".join(f"{k} {v:.2g}" for k, v in wrong.items())
    print(f"{name}: reference within {agreed:.1e}, its float32 within {rounding:.1e}, values up to {hybrid[-1].abs().max():.3g}; wrong: {far}", flush=True)


def write(path, tensors):
    save_file({k: (x.detach().to(SINGLE) if x.is_floating_point() else x).contiguous().clone() for k, x in tensors.items()}, path)


# Sentence embedders, as folders of sentence-transformers.
WORDS = ["toy", "story", "the", "a", "red", "wool", "pads", "count", "and", "film", "task:", "search", "result", "|", "query:", "title:", "none", "text:"]
TEXTS = ["toy story", "the red wool pads and a film", "a film none knows", "story"]
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}


def word_tokenizer(folder, special, post, names):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    words = [*special, *WORDS]
    words += [f"w{i}" for i in range(VOCAB - len(words))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=names["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=post, special_tokens=[(w, i) for i, w in enumerate(special)])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    as_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 24, **names})


def as_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def make_sentence(folder, case, dense, tokenizer, prompts):
    """dense: (rows out, bias, activation) of each projection. The JSON is spelled as published models spell it."""
    import sentence_transformers
    shutil.rmtree(folder, ignore_errors=True)
    save_model(folder, case.config(), case.saves, case.scale, case.around)
    word_tokenizer(folder, *tokenizer)
    config = json.loads((folder / "config.json").read_text())
    width, rows = config["hidden_size"], config["hidden_size"]
    steps, names = [], ["", "1_Pooling", *(f"{i + 2}_Dense" for i in range(len(dense))), f"{len(dense) + 2}_Normalize"]
    for name, (rows_out, bias, activation) in zip(names[2:], dense):
        shape = dict(in_features=rows, out_features=rows_out, bias=bias)
        as_json(folder / name / "config.json", {**shape, "activation_function": f"torch.nn.modules.{activation}"})
        w = {"linear.weight": torch.randn(rows_out, rows) * 0.3} | ({"linear.bias": torch.randn(rows_out) * 0.2} if bias else {})
        save_file(w, folder / name / "model.safetensors", metadata={"format": "pt"})
        steps.append((w, torch.tanh if "Tanh" in activation else same))
        rows = rows_out
    as_json(folder / "modules.json", [dict(idx=i, name=str(i), path=x, type=f"sentence_transformers.models.{x[2:] or 'Transformer'}") for i, x in enumerate(names)])
    as_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": width, **{f"pooling_mode_{x}": x == "mean_tokens" for x in (
        "cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")}, "include_prompt": True})
    as_json(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    as_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "5.1.0", "transformers": "4.57.0", "pytorch": "2.8.0"},
                                                          "prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"})

    ids, mask = texts(config["pad_token_id"])
    want = asked(load(folder, case), case, ids, mask)
    states = run(case.reference(doubled(folder), config), ids, mask)
    check(states, want, "reference", 1e-10)
    sentence = (want[-1] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    for w, activation in steps:
        w = {k: x.double() for k, x in w.items()}
        sentence = activation(linear(w, "linear")(sentence))
    write(folder / "expected.safetensors", {"ids": ids, "mask": mask, "sentence": sentence})

    # The package itself must agree, on ids and on texts; it also says how it spells the folder today.
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    for i in range(3):
        row = ids[i, mask[i].bool()][None]
        with torch.no_grad():
            got = model({"input_ids": row, "attention_mask": torch.ones_like(row)})["sentence_embedding"]
        check([got.double()], [F.normalize(sentence[i : i + 1], dim=-1)], "sentence-transformers", 1e-5)
    said = {"texts": TEXTS, "ids": [model.tokenizer(t)["input_ids"] for t in TEXTS]}
    for name in ["none", *prompts]:
        vectors = model.encode(TEXTS, prompt_name=None if name == "none" else name, normalize_embeddings=True)
        said[name] = [[round(float(x), 6) for x in v] for v in vectors]
    (folder / "texts.json").write_text(json.dumps(said) + "\n")
    return model


def make_sentences(out):
    from sentence_transformers.sentence_transformer.modules import Pooling
    torch.manual_seed(2000)
    small = {**BERT, "hidden_size": 16, "intermediate_size": 24}
    case = Case(lambda: T.BertConfig(**small), "BertModel", "BertModel", bert, encoder, PLAIN)
    model = make_sentence(out / "dense", case, [(8, True, "activation.Tanh")],
                          (["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS] $A [SEP]", dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")), {})
    shutil.rmtree(out / "dense_now", ignore_errors=True)
    model.save(str(out / "dense_now"), create_model_card=False)
    wide = {**GEMMA, "hidden_size": 32, "num_key_value_heads": 1, "sliding_window": 6}
    case = Case(lambda: T.Gemma3TextConfig(**wide, use_bidirectional_attention=True, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
                "Gemma3TextModel", "Gemma3TextModel", gemma, decoder, PLAIN, 0.0)
    make_sentence(out / "dense_two", case, [(48, False, "linear.Identity"), (32, False, "linear.Identity")],
                  (["<pad>", "<eos>", "<bos>", "<unk>"], "<bos> $A <eos>", dict(pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>")), PROMPTS)
    hidden = torch.randn(3, TOKENS, 16)  # pads too have values
    _, mask = texts(0)
    pooled = {"hidden": hidden, "mask": mask}
    for mode in Pooling.POOLING_MODES:
        pooled[mode] = Pooling(16, mode)({"token_embeddings": hidden.double(), "attention_mask": mask})["sentence_embedding"]
    write(out / "poolings.safetensors", pooled)
    print("sentence: agrees with sentence-transformers", flush=True)


def make_static(out):
    """Tables of word vectors, as model2vec and sentence-transformers save them."""
    import numpy as np
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    shutil.rmtree(out, ignore_errors=True)
    rng = np.random.default_rng(3)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "toy", "story", "##s", "the", "wool", "pad", "red", "fine", "##ly", "(", ")", "1995", "-", "a", "film", "!"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    vectors = rng.normal(0, 1, (len(words), 8)).astype(np.float32)
    texts = ["Toy Story (1995)", "the finely red wool pads!", "a film unseen", ""]
    plain = dict(model_type="model2vec", architectures=["StaticModel"], tokenizer_name="tiny", apply_pca=8, apply_zipf=True, hidden_dim=8, seq_length=1000000)

    def keep(folder, vectors):
        rows = [[round(float(x), 7) for x in v] for v in vectors]
        ids = tokenizer.encode_batch(texts, add_special_tokens=False)
        (folder / "expected.json").write_text(json.dumps({"texts": texts, "ids": [x.ids for x in ids], "vectors": rows}) + "\n")
        (folder / "README.md").unlink(missing_ok=True)

    clusters = rng.normal(0, 1, (7, 8)).astype(np.float32)
    mapping, weights = rng.integers(0, 7, len(words)), rng.uniform(0.2, 2.0, len(words))
    for name, kind in {"model2vec": dict(vectors=vectors, normalize=True), "model2vec_plain": dict(vectors=vectors, normalize=False),
                       "model2vec_shared": dict(vectors=clusters, normalize=True, token_mapping=mapping, weights=weights)}.items():
        StaticModel(tokenizer=tokenizer, config=dict(plain), **kind).save_pretrained(out / name)
        keep(out / name, StaticModel.from_pretrained(out / name).encode(texts))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)], device="cpu")
    model.save(str(out / "sentence"), create_model_card=False)
    folder = out / "sentence" / "0_StaticEmbedding"
    if not folder.exists():  # published ones have the folder; today's package writes beside modules.json
        folder.mkdir()
        for file in ("model.safetensors", "tokenizer.json"):
            (out / "sentence" / file).rename(folder / file)
    as_json(out / "sentence/modules.json", [dict(idx=0, name="0", path="0_StaticEmbedding", type="sentence_transformers.models.StaticEmbedding")])
    got = SentenceTransformer(str(out / "sentence"), device="cpu").encode(texts)
    keep(out / "sentence", got)
    print("static: written", flush=True)


if __name__ == "__main__":
    root, chosen = Path(sys.argv[1]), sys.argv[2:]
    for name, case in CASES.items():
        if not chosen or name in chosen:
            make(root, name, case)
    if not chosen or "sentence" in chosen:
        make_sentences(root / "sentence")
    if not chosen or "static" in chosen:
        make_static(root / "static")
