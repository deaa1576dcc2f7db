"""Runs an ONNX file, unmodified, in ONNX Runtime over raw float32 rows.

usage: onnxruntime_rows.py MODEL ROWS COLUMNS OUT
ROWS and OUT are little-endian float32, row-major; prints how many rows were run.
"""

import sys

import numpy as np
import onnxruntime as ort

model, rows, columns, out = sys.argv[1:]
x = np.fromfile(rows, dtype="<f4").reshape(-1, int(columns))
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
(y,) = session.run(None, {session.get_inputs()[0].name: x})
y.astype("<f4").tofile(out)
print(f"{len(x)} rows, ONNX Runtime {ort.__version__}")
