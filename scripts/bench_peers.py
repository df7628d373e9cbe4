#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The operator in another library, timed on a case of `ropekv bench`, which runs this.

Prints a line of JSON: {"peer", "version", "runs", "ns", "ns_min", "ns_max",
"mismatches"}, or {"peer", "absent": why} if its packages are not installed, or
{"peer", "version", "failed": why}. "mismatches" is the share of int8 cache entries that differ
from those of the result file. The caches of the case are updated in place where the library can.
"""
import argparse
import json
import statistics
import time

try:
    import numpy
except ImportError as import_error:
    numpy, numpy_error = None, import_error

MATRICES = ("x", "cos", "sin", "k_cache", "v_cache")
VECTORS = ("weight_scale", "activation_scale", "bias", "scale_k", "scale_v")


class Case:
    """The tensors of a safetensors case; bf16 ones as uint16."""

    DTYPES = {"I8": "int8", "I32": "int32", "F16": "float16", "BF16": "uint16", "F32": "float32"}

    def __init__(self, path):
        data = numpy.memmap(path, dtype="uint8", mode="r")
        size = int(data[:8].view("uint64")[0])
        header = json.loads(data[8:8 + size].tobytes())
        metadata = header.pop("__metadata__", {})
        self.tensors, self.names = {}, {}
        for name, entry in header.items():
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            array = numpy.frombuffer(data[begin:end].tobytes(), self.DTYPES[entry["dtype"]])
            self.tensors[name] = array.reshape(entry["shape"]).copy()
            self.names[name] = entry["dtype"]
        if not metadata:
            return  # a result
        self.splits = [int(n) for n in metadata["size_splits"].split(",")]
        self.kv_output = metadata["kv_output"] == "true"
        self.half_arithmetic = metadata["numerics"] == "ascend" and self.names["cos"] == "F16"
        self.head_dim = self.tensors["k_cache"].shape[3]
        self.tokens = self.tensors["x"].shape[0] * self.tensors["x"].shape[1]
        indices = self.tensors["indices"].astype("int64")
        contiguous = metadata["cache_mode"] == "contiguous"  # and one sequence
        self.slots = indices[0] + numpy.arange(self.tokens) if contiguous else indices

    def matrix(self, name):
        """A tensor with a row for each token or cache slot."""
        tensor = self.tensors[name]
        lasting = 2 if name.endswith("cache") else 1
        return tensor.reshape(-1, int(numpy.prod(tensor.shape[-lasting:])))

    def vector(self, name):
        return self.tensors[name].reshape(-1) if name in self.tensors else None


def numpy_peer(case, _threads):
    bf16 = case.names["cos"] == "BF16"
    x, cos, sin, *caches = (case.matrix(name) for name in MATRICES)
    weight_scale, activation_scale, bias, scale_k, scale_v = (case.vector(n) for n in VECTORS)
    splits = numpy.cumsum(case.splits)[:2]
    half = case.head_dim // 2

    def widen(a):
        return (a.astype("uint32") << 16).view("float32") if bf16 else a.astype("float32")

    def narrow(a):
        if not bf16:
            return a.astype("float16")
        bits = numpy.ascontiguousarray(a).view("uint32")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("uint16")

    def rotate(t, cos, sin):
        heads = t.reshape(case.tokens, -1, case.head_dim)
        turned = numpy.concatenate([-heads[..., half:], heads[..., :half]], axis=-1)
        return (heads * cos + turned * sin).reshape(case.tokens, -1)

    def quantise(t, scale, cache):
        levels = numpy.clip(numpy.rint(t.astype("float32", copy=False) / scale), -128, 127)
        cache[case.slots] = levels.astype("int8")

    def call():
        if x.dtype == numpy.int32:
            f = x.astype("float32") * weight_scale * activation_scale[:, None] + bias
        else:
            f = widen(x)
        q, k, v = numpy.split(f, splits, axis=1)
        c, s = cos[:, None], sin[:, None]
        if case.half_arithmetic:
            q, k = q.astype("float16"), k.astype("float16")
        else:
            c, s = widen(c), widen(s)
        q, k = rotate(q, c, s), rotate(k, c, s)
        outputs = [narrow(t) for t in ([q, k, v] if case.kv_output else [q])]
        quantise(k, scale_k, caches[0])
        quantise(v, scale_v, caches[1])
        return outputs

    return numpy.__version__, call, caches


def torch_call(torch, case):
    def tensor(name, array):
        if array is None:
            return None
        t = torch.from_numpy(array)
        return t.view(torch.bfloat16) if case.names[name] == "BF16" else t

    x, cos, sin, k_cache, v_cache = (tensor(name, case.matrix(name)) for name in MATRICES)
    weight_scale, activation_scale, bias, scale_k, scale_v = (
        tensor(name, case.vector(name)) for name in VECTORS)
    slots = torch.from_numpy(case.slots)
    half, dtype = case.head_dim // 2, cos.dtype
    rotary = torch.float16 if case.half_arithmetic else torch.float32

    def rotate(t, c, s):
        heads = t.to(rotary).view(case.tokens, -1, case.head_dim)
        turned = torch.cat([-heads[..., half:], heads[..., :half]], dim=-1)
        return (heads * c + turned * s).view(case.tokens, -1)

    def quantise(t, scale, cache):
        levels = torch.round(t.to(torch.float32) / scale).clamp(-128, 127).to(torch.int8)
        cache.index_copy_(0, slots, levels)

    def call():
        f = x.to(torch.float32)
        if x.dtype == torch.int32:
            f = f * weight_scale * activation_scale[:, None] + bias
        q, k, v = f.split(case.splits, dim=1)
        c, s = cos[:, None].to(rotary), sin[:, None].to(rotary)
        q, k = rotate(q.contiguous(), c, s), rotate(k.contiguous(), c, s)
        outputs = [t.to(dtype) for t in ([q, k, v] if case.kv_output else [q])]
        quantise(k, scale_k, k_cache)
        quantise(v, scale_v, v_cache)
        return outputs

    return call, [k_cache.numpy(), v_cache.numpy()]


def torch_peer(case, threads, compiled=False):
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    call, caches = torch_call(torch, case)
    return torch.__version__, torch.compile(call, dynamic=False) if compiled else call, caches


def onnxruntime_peer(case, threads):
    import onnx
    import onnxruntime
    from onnx import TensorProto as types
    from onnx import helper
    if case.half_arithmetic:
        raise NotImplementedError("no f16 arithmetic on CPUs")
    codes = {"I8": types.INT8, "I32": types.INT32, "F16": types.FLOAT16, "BF16": types.BFLOAT16,
             "F32": types.FLOAT}
    output_type = codes[case.names["cos"]]
    arrays = {name: case.matrix(name) for name in ("x", "cos", "sin")}
    for name in ("cos", "sin"):
        arrays[name] = arrays[name].reshape(case.tokens, 1, case.head_dim)
    arrays |= {name: case.vector(name) for name in ("scale_k", "scale_v")}
    nodes, constants = [], []

    def node(kind, *inputs, outputs=1, **attributes):
        names = [f"n{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(values, dtype="int64"):
        array = numpy.array(values, dtype)
        constants.append(onnx.numpy_helper.from_array(array, f"c{len(constants)}"))
        return constants[-1].name

    f, cos, sin = (node("Cast", name, to=types.FLOAT) for name in ("x", "cos", "sin"))
    if case.names["x"] == "I32":
        arrays |= {name: case.vector(name) for name in ("weight_scale", "bias")}
        arrays["activation_scale"] = case.vector("activation_scale").reshape(-1, 1)
        f = node("Mul", node("Mul", f, "weight_scale"), "activation_scale")
        f = node("Add", f, "bias")
    q, k, v = node("Split", f, constant(case.splits), outputs=3, axis=1)
    flat = constant([case.tokens, -1])

    def rotate(t):
        heads = node("Reshape", t, constant([case.tokens, -1, case.head_dim]))
        low, high = node("Split", heads, outputs=2, axis=2, num_outputs=2)
        turned = node("Concat", node("Neg", high), low, axis=2)
        return node("Reshape", node("Add", node("Mul", heads, cos), node("Mul", turned, sin)), flat)

    q, k = rotate(q), rotate(k)
    outputs = {}  # name: type, array
    for name, t in zip("qkv", (q, k, v) if case.kv_output else (q,)):
        array = numpy.empty((case.tokens, case.splits["qkv".index(name)]), "uint16")
        outputs[node("Cast", t, to=output_type)] = (output_type, array)
    zero = constant([0] * case.splits[1], "int8")
    levels = []
    for t, scale in ((k, "scale_k"), (v, "scale_v")):
        levels.append(numpy.empty((case.tokens, case.splits[1]), "int8"))
        outputs[node("QuantizeLinear", t, scale, zero, axis=1)] = (types.INT8, levels[-1])

    describe = helper.make_tensor_value_info
    inputs = [describe(name, codes[case.names[name]], a.shape) for name, a in arrays.items()]
    results = [describe(name, code, a.shape) for name, (code, a) in outputs.items()]
    graph = helper.make_graph(nodes, "operator", inputs, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in arrays.items():
        binding.bind_input(name, "cpu", 0, codes[case.names[name]], array.shape, array.ctypes.data)
    for name, (code, array) in outputs.items():
        binding.bind_output(name, "cpu", 0, code, array.shape, array.ctypes.data)
    caches = [case.matrix(name) for name in ("k_cache", "v_cache")]

    def call():
        session.run_with_iobinding(binding)
        # Its own scatter would copy the whole cache.
        for cache, rows in zip(caches, levels):
            cache[case.slots] = rows
        return outputs  # which the binding does not keep alive

    return onnxruntime.__version__, call, caches


PEERS = {
    "numpy": numpy_peer,
    "onnxruntime": onnxruntime_peer,
    "torch": torch_peer,
    "torch-compile": lambda case, threads: torch_peer(case, threads, compiled=True),
}


def calls_lasting(call, seconds):
    """How many calls last about so long; at least one. The first calls warm up."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        taken = time.perf_counter() - start
        if taken > seconds / 8:
            return max(1, round(count * seconds / taken))
        count *= 4


def measure(call, runs, seconds):
    call()  # may compile
    count = calls_lasting(call, seconds)
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        times.append((time.perf_counter_ns() - start) / count)
    return {"runs": runs, "ns": statistics.median(times), "ns_min": min(times),
            "ns_max": max(times)}


def mismatches(case, caches, expected):
    wrong = sum(int((cache[case.slots] != expected.matrix(name)[case.slots]).sum())
                for cache, name in zip(caches, ("k_cache", "v_cache")))
    return wrong / (2 * case.tokens * case.splits[1])


def report(arguments):
    result = {"peer": arguments.peer}
    try:
        if numpy is None:  # all need it to read the case
            raise numpy_error
        case = Case(arguments.case)
        result["version"], call, caches = PEERS[arguments.peer](case, arguments.threads)
        result |= measure(call, arguments.runs, arguments.seconds)
        result["mismatches"] = mismatches(case, caches, Case(arguments.expect))
    except ImportError as error:
        result["absent"] = str(error)
    except Exception as error:  # whatever a library throws
        result["failed"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", required=True, help="case file of one sequence")
    parser.add_argument("--expect", required=True, help="its result file")
    parser.add_argument("--peer", required=True, choices=PEERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.02, help="of a run at least")
    arguments = parser.parse_args()
    print(json.dumps(report(arguments)))


if __name__ == "__main__":
    main()
