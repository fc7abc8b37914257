"""Writes models once more as GGUF, with names and keys by the gguf package, as convert_hf_to_gguf.py of llama.cpp does.

python3 make_gguf.py .                               # the golden models; names after the folder choose some
python3 make_gguf.py FOLDER MODEL.gguf [F16|Q8_0]    # a Hugging Face folder of BERT with its tokenizer
"""
import json, math, sys
from pathlib import Path
import gguf, numpy as np
from gguf import MODEL_ARCH as A, TokenType as T
from safetensors.numpy import load_file

# Architecture, folder beside this script, prefix of all names.
MODELS = {
    "bert": (A.BERT, "../golden/bert/model", ""),
    "gpt2": (A.GPT2, "../golden/gpt2/model", "transformer."),
    "llama": (A.LLAMA, "../golden/llama/model", ""),
    "llama3": (A.LLAMA, "llama3", ""),
    "roberta": (A.BERT, "roberta", "roberta."),
    "gemma2": (A.GEMMA2, "gemma2", ""),
    "gemma3": (A.GEMMA3, "gemma3", ""),
    "embeddinggemma": (A.GEMMA_EMBEDDING, "embeddinggemma", ""),
    "nomic_bert": (A.NOMIC_BERT, "nomic_bert", ""),
    "modernbert": (A.MODERN_BERT, "modernbert", "model."),
    "phi3": (A.PHI3, "phi3", ""),
}


def interleaved(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama3_divisors(rope, head):
    low, high, trained = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for at in range(0, head, 2):
        turns = trained * rope["rope_theta"] ** (-at / head) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0), 1)
        yield 1 / ((1 - smooth) / rope["factor"] + smooth)


def write_keys(writer, arch, c):
    first = lambda *names: next((c[name] for name in names if c.get(name) is not None), None)
    width, heads = first("hidden_size", "n_embd"), first("num_attention_heads", "n_head")
    positions = first("max_position_embeddings", "n_positions")
    if c["model_type"] == "roberta":
        positions -= c["pad_token_id"] + 1
    writer.add_context_length(positions)
    writer.add_embedding_length(width)
    writer.add_block_count(first("num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(first("intermediate_size", "n_inner") or 4 * width)
    writer.add_head_count(heads)
    if epsilon := first("rms_norm_eps"):
        writer.add_layer_norm_rms_eps(epsilon)
    else:
        writer.add_layer_norm_eps(first("layer_norm_eps", "layer_norm_epsilon", "norm_eps"))
    if kv := first("num_key_value_heads"):
        writer.add_head_count_kv(kv)
    if head := first("head_dim"):
        writer.add_key_length(head)
        writer.add_value_length(head)
    ropes = first("rope_parameters") or {}
    near, rope = ropes.get("sliding_attention"), ropes.get("full_attention", ropes)
    if theta := rope.get("rope_theta") or first("rope_theta", "rotary_emb_base"):
        writer.add_rope_freq_base(theta)
    if near and arch in (A.GEMMA3, A.GEMMA_EMBEDDING, A.MODERN_BERT):
        writer.add_rope_freq_base_swa(near["rope_theta"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if arch in (A.MODERN_BERT,):
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    if arch in (A.BERT, A.NOMIC_BERT, A.MODERN_BERT):
        writer.add_causal_attention(False)
    if window := first("sliding_window", "local_attention"):
        writer.add_sliding_window(window)
    if "layer_types" in c and arch in (A.GEMMA3, A.GEMMA_EMBEDDING, A.MODERN_BERT):
        full = [at for at, kind in enumerate(c["layer_types"]) if kind == "full_attention"]
        writer.add_sliding_window_pattern(full[1] - full[0] if full[0] == 0 else full[0] + 1)
    if cap := first("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(cap)
        writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    if arch == A.PHI3:
        writer.add_rope_dimension_count(width // heads)
    if arch == A.MODERN_BERT:
        writer.add_string("modern-bert.hidden_activation", c["hidden_activation"])


def write_tensors(writer, arch, c, folder, prefix, kind):
    names = gguf.get_tensor_name_map(arch, c.get("num_hidden_layers") or c["n_layer"])
    for name, w in load_file(folder / "model.safetensors").items():
        known = names.get_name(name.removeprefix(prefix), try_suffixes=(".weight", ".bias"))
        # Heads of other tasks, and tables that hold no weights.
        if known is None or known.startswith("cls.") or (known.startswith("output.") and arch != A.PHI3):
            continue
        if arch == A.LLAMA and "q_proj" in name:
            w = interleaved(w, c["num_attention_heads"])
        if arch == A.LLAMA and "k_proj" in name:
            w = interleaved(w, c["num_key_value_heads"])
        if arch == A.GPT2 and ".c_" in name and w.ndim == 2:
            w = w.T
        if arch in (A.GEMMA2, A.GEMMA3, A.GEMMA_EMBEDDING) and name.endswith("norm.weight"):
            w = w + 1
        if c["model_type"] == "roberta" and known == "position_embd.weight":
            w = w[c["pad_token_id"] + 1 :]
        w = np.ascontiguousarray(w)
        # As llama.cpp does, vectors and small tables stay in F32.
        large = w.ndim == 2 and known not in ("position_embd.weight", "token_types.weight")
        dtype = gguf.GGMLQuantizationType[kind if large else "F32"]
        writer.add_tensor(known, gguf.quants.quantize(w.astype(np.float32), dtype), raw_dtype=dtype)
    rope = c.get("rope_parameters") or {}
    if rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", np.array(list(llama3_divisors(rope, c["head_dim"])), dtype=np.float32))


def write_words(writer, words, special, types):
    """BERT's word list: names stay, pieces lose their sign, and words get one."""
    bare = lambda word: word if word in special else word[2:] if word.startswith("##") else "▁" + word
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([bare(word) for word in words])
    writer.add_token_types([T.CONTROL if word in special else T.NORMAL for word in words])
    writer.add_token_type_count(types)
    for key, word in {"bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}.items():
        if word in words:
            getattr(writer, f"add_{key}_token_id")(words.index(word))


def write_tokenizer(writer, name):
    if name == "bert":
        letters = "abcdefghijklmnopqrstuvwxyz0123456789(),.!'"
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + x for x in letters[:36]), "toy", "story", "##s", "the", "2nd"]
        words += ["##ory", "cafe", "##fe", "naive", "電", "##電", "影", "##ing", "##er", "[unused]"]
        write_words(writer, list(dict.fromkeys(words)), ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], 2)
    if name == "gpt2":
        tokens = [chr(c) for c in range(33, 127)] + ["Ġ", "to", "Ġto"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_merges(["t o", "Ġ to"])
        writer.add_token_types([1] * len(tokens))
    if name == "llama":
        # SentencePiece: bytes, letters, and "▁to" built from "▁", "t" and "o".
        tokens = ["<unk>", "<s>", "</s>", "▁", "t", "o", "y", "▁t", "▁to", "to", "▁toy"] + [f"<0x{b:02X}>" for b in range(60, 146)]
        scores = [0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -6.0, -2.0, -3.0, -1.0, -4.0] + [0.0] * 86
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types([2, 3, 3] + [1] * 8 + [6] * 86)
        writer.add_bos_token_id(1)


def write(path, arch, folder, prefix, kind, tokenizer):
    c = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(path), gguf.MODEL_ARCH_NAMES[arch])
    write_keys(writer, arch, c)
    tokenizer(writer, c)
    write_tensors(writer, arch, c, folder, prefix, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def words_of(folder):
    def tokenizer(writer, c):
        json_of = json.loads((folder / "tokenizer.json").read_text())
        words = sorted(json_of["model"]["vocab"], key=json_of["model"]["vocab"].get)
        write_words(writer, words, [t["content"] for t in json_of["added_tokens"]], c["type_vocab_size"])
        writer.add_pooling_type(gguf.PoolingType.MEAN)

    return tokenizer


if __name__ == "__main__":
    here = Path(sys.argv[1])
    if len(sys.argv) > 2 and sys.argv[2].endswith(".gguf"):
        write(sys.argv[2], A.BERT, here, "bert.", (sys.argv + ["F16"])[3], words_of(here))
    else:
        for name in sys.argv[2:] or MODELS:
            arch, folder, prefix = MODELS[name]
            write(here / f"{name}.gguf", arch, here / folder, prefix, "F32", lambda writer, _: write_tokenizer(writer, name))
