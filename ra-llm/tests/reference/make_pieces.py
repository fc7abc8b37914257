"""Trains small SentencePiece models of the kinds of Llama, Gemma and XLM-R, writes them as GGUF files without tensors, and
beside them the identifiers that SentencePiece finds in texts.

python3 make_pieces.py .
"""
import io, json, sys, tempfile
from pathlib import Path
import gguf, sentencepiece
from gguf import TokenType as T
from sentencepiece import sentencepiece_model_pb2 as proto

out = Path(sys.argv[1])
corpus = [line for path in ["../../../LICENSE-APACHE", "../../../ARCHITECTURE.md"] for line in (out / path).read_text().splitlines() if line]
TEXTS = ["Toy Story (1995)", "the  recommender   of movies", " leading and trailing ", "one\ntwo\n\n\nthree", "tabs\tand\u00a0spaces",
         "naïve café — 電影 🎬🎬", "ＦＵＬＬ width ﬁn", "e\u0301 decomposed", "<s> is no token </s>", "a<start_of_turn>b", "2024, 10000 and 3.14",
         "", " ", "   ", "recommendation, licence: terms! conditions?", "ALL CAPS and lower", "'s 't isn't", "<0x41>"]
# Enough of a normalization to see that it is applied: full width to ASCII, a ligature, other spaces, accents composed.
RULES = [(0xFF21 + i, [0x41 + i]) for i in range(26)] + [(0xFB01, [0x66, 0x69]), (0xA0, [0x20]), (9, [0x20]), (10, [0x20])]


def train(**settings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=model, minloglevel=2, character_coverage=0.999,
                                             hard_vocab_limit=False, **settings)
    spec = proto.ModelProto()
    spec.ParseFromString(model.getvalue())
    return spec, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write(name, model, spec, pieces, flags):
    writer = gguf.GGUFWriter(str(out / f"{name}.gguf"), "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in pieces])
    writer.add_token_scores([score for _, score, _ in pieces])
    writer.add_token_types([kind for _, _, kind in pieces])
    writer.add_add_space_prefix(spec.normalizer_spec.add_dummy_prefix)
    for key, id in flags.items():
        getattr(writer, f"add_{key}")(id)
    if model == "t5":
        writer.add_remove_extra_whitespaces(spec.normalizer_spec.remove_extra_whitespaces)
        writer.add_precompiled_charsmap(spec.normalizer_spec.precompiled_charsmap)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pieces(spec):
    # SentencePiece numbers kinds as GGUF does. As convert_hf_to_gguf.py does, what users define gets real spaces.
    return [(p.piece.replace("▁", " ") if p.type == T.USER_DEFINED else p.piece, p.score, p.type) for p in spec.pieces]


BYTES = dict(model_type="bpe", vocab_size=600, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
             remove_extra_whitespaces=False)
found = {}
spec, processor = train(**BYTES)
write("pieces_llama", "llama", spec, pieces(spec), {"bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 0})
found["pieces_llama"] = [processor.encode(text) for text in TEXTS]

spec, processor = train(**BYTES, add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                        user_defined_symbols=["\n", "\n\n", "▁▁", "▁▁▁", "<start_of_turn>"])
write("pieces_gemma", "llama", spec, pieces(spec), {"bos_token_id": 2, "eos_token_id": 1, "unk_token_id": 3})
found["pieces_gemma"] = [processor.encode(text) for text in TEXTS]

with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
    rules.writelines(f"{source:X}\t{' '.join(f'{x:X}' for x in target)}\n" for source, target in RULES)
    rules.write("65 301\tE9\n")
    rules.flush()
    spec, processor = train(model_type="unigram", vocab_size=300, normalization_rule_tsv=rules.name)
# As fairseq does, whose tokens all come one later.
own = [("<s>", 0.0, T.CONTROL), ("<pad>", 0.0, T.CONTROL), ("</s>", 0.0, T.CONTROL), ("<unk>", 0.0, T.UNKNOWN), *pieces(spec)[3:],
       ("[PAD]", -10000.0, T.UNUSED)]
write("pieces_xlmr", "t5", spec, own, {"bos_token_id": 0, "eos_token_id": 2, "unk_token_id": 3, "add_bos_token": True, "add_eos_token": True})
found["pieces_xlmr"] = [[3 if id == 0 else id + 1 for id in processor.encode(text)] for text in TEXTS]

(out / "pieces.json").write_text(json.dumps({"texts": TEXTS, "ids": found}, ensure_ascii=False))
