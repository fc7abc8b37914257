"""The text pass of MiniLM's shape on one core: ONNX Runtime and OpenVINO, 32 texts of 64 tokens, random weights.

    pip install torch transformers onnx onnxscript onnxruntime openvino
    taskset -c 0 python docs/lab/peers/bench_encoders.py    # writes minilm.onnx into the working folder

Prints CPU seconds, the least and the median of seven calls.
"""

import torch, time, numpy as np, warnings

warnings.filterwarnings("ignore")
from transformers import BertConfig, BertModel

torch.manual_seed(0)
m = BertModel(
    BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    add_pooling_layer=False,
).eval()


class W(torch.nn.Module):
    def __init__(s, m):
        super().__init__()
        s.m = m

    def forward(s, i, a):
        return s.m(input_ids=i, attention_mask=a).last_hidden_state


ids = torch.randint(5, 30000, (32, 64))
mask = torch.ones(32, 64, dtype=torch.long)
torch.onnx.export(W(m), (ids, mask), "minilm.onnx", input_names=["i", "a"], output_names=["h"], dynamo=True)
import onnxruntime as ort

so = ort.SessionOptions()
so.intra_op_num_threads = 1
so.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
s = ort.InferenceSession("minilm.onnx", so, providers=["CPUExecutionProvider"])
f = lambda: s.run(None, {"i": ids.numpy(), "a": mask.numpy()})
f()
c = []
for _ in range(7):
    t = time.process_time()
    f()
    c.append(time.process_time() - t)
print("onnxruntime", ort.__version__, "min", min(c), "med", sorted(c)[3])
import openvino as ov

core = ov.Core()
core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
for prec in ("f32", "bf16"):
    cm = core.compile_model(
        core.read_model("minilm.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": prec, "INFERENCE_NUM_THREADS": 1}
    )
    g = lambda: cm({"i": ids.numpy(), "a": mask.numpy()})
    g()
    c = []
    for _ in range(7):
        t = time.process_time()
        g()
        c.append(time.process_time() - t)
    print("openvino", prec, "min", min(c), "med", sorted(c)[3])
