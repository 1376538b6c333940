"""The classes of uint8 images (N, C, H, W): python onnx_example.py model.int8.onnx [images.npy]."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
if "_vnni" not in Path("/proc/cpuinfo").read_text():  # where the fast kernels' sums would saturate
    options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
notes = session.get_modelmeta().custom_metadata_map
mean, std, scale = (np.float32(json.loads(notes[key])) for key in ("mean", "std", "scale"))
shape = session.get_inputs()[0].shape[1:]
random = np.random.default_rng(0).integers(0, int(scale) + 1, (4, *shape), np.uint8)
images = np.load(sys.argv[2]) if len(sys.argv) > 2 else random
inputs = (images / scale - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
print(*session.run(["logits"], {"images": inputs})[0].argmax(1))
