# SPDX-License-Identifier: Apache-2.0
"""Numbers of 16 bits and safetensors files, from their public descriptions and NumPy alone."""
import json
import struct

import numpy as np

# A tensor is a NumPy array; one of bf16 is an array of this.
BF16 = np.dtype([("bf16", "<u2")])
NAMES = {np.dtype("<i4"): "I32", np.dtype("<i8"): "I64", np.dtype("<f4"): "F32",
         np.dtype("<f2"): "F16", np.dtype("i1"): "I8", BF16: "BF16"}
DTYPES = {name: dtype for dtype, name in NAMES.items()}


def rounded(values, dtype):
    """float64 or float32 values, rounded once to nearest even."""
    dtype = np.dtype(dtype)
    if dtype != BF16:
        with np.errstate(over="ignore"):
            return np.asarray(values).astype(dtype)
    # Of a float64 to float32 with a sticky last bit, then of its upper half.
    wide = np.asarray(values, np.float64)
    single = wide.astype(np.float32)
    bits = single.view(np.uint32).astype(np.int64)
    # One step towards 0 where the float32 is further from it than the value; then odd, if inexact.
    bits -= np.abs(single.astype(np.float64)) > np.abs(wide)
    inexact = single.astype(np.float64) != wide
    bits = np.where(inexact, bits | 1, bits)
    half = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    result = np.empty(wide.shape, BF16)
    result["bf16"] = half.astype(np.uint16)
    return result


def numbers(array):
    """The values of any array, as float64."""
    if array.dtype != BF16:
        return array.astype(np.float64)
    return (array["bf16"].astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def write(path, tensors, metadata):
    header = {"__metadata__": metadata}
    data = b""
    for name, array in tensors.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    blob = path.read_bytes()
    (length,) = struct.unpack_from("<Q", blob)
    tensors = {}
    for name, stored in json.loads(blob[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = stored["data_offsets"]
        flat = np.frombuffer(blob[8 + length + begin:8 + length + end], DTYPES[stored["dtype"]])
        tensors[name] = flat.reshape(stored["shape"])
    return tensors
