"""Writes LoRA adapters by peft for the golden models, with the states that the adapted models return; and checks an
adapter that this project exported.

python3 make_adapters.py .                   # beside the folder golden: writes adapters/
python3 make_adapters.py check MODEL ADAPTER STATES.json   # loads ADAPTER in peft and compares its states
"""
import json, sys
from pathlib import Path
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel

IDS = [5, 17, 3, 60, 22, 9, 41]


def states(model):
    with torch.no_grad():
        last = model.double().eval()(torch.tensor([IDS])).last_hidden_state[0]
    return [[round(x, 7) for x in row] for row in last.tolist()]


def make(out):
    cases = {
        # Ends of names, one layer, another scale.
        "bert": dict(target_modules=["query", "value", "output.dense"], layers_to_transform=[1, 2], use_rslora=True, r=3,
                     lora_alpha=5),
        # Conv1D, and the token table.
        "gpt2": dict(target_modules=["c_attn", "c_fc", "c_proj", "wte"], fan_in_fan_out=True, r=2, lora_alpha=7),
        # Every matrix, with patterns.
        "llama": dict(target_modules="all-linear", r=2, lora_alpha=4,
                      rank_pattern={"q_proj": 3, r"layers\.1\.mlp\.[a-z]+_proj": 4},
                      alpha_pattern={"^layers.0.self_attn.k_proj": 9}),
        # A pattern that matches whole names.
        "llama-pattern": dict(target_modules=r".*layers\.[02]\.self_attn\.(q|o)_proj", r=2, lora_alpha=4),
    }
    for name, config in cases.items():
        torch.manual_seed(5)
        path = out / "../golden" / name.split("-")[0] / "model"
        config = LoraConfig(**config, task_type="FEATURE_EXTRACTION")
        model = get_peft_model(AutoModel.from_pretrained(path).float(), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
        model.peft_config["default"].base_model_name_or_path = f"golden/{name.split('-')[0]}"
        folder = out / "adapters" / name
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)
        (folder / "states.json").write_text(json.dumps({"ids": IDS, "last": states(model)}))


def check(model, adapter, expected):
    found = torch.tensor(states(PeftModel.from_pretrained(AutoModel.from_pretrained(model).float(), adapter)))
    difference = (found - torch.tensor(json.loads(Path(expected).read_text())["last"])).abs().max().item()
    print(f"largest difference {difference:.2e}")
    sys.exit(difference > 1e-4)


if sys.argv[1] == "check":
    check(*sys.argv[2:])
else:
    make(Path(sys.argv[1]))
