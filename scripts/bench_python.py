#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_python.py: what a call costs from Python, one thread, Llama-3-8B, in one run.

It prints the tables of docs/python.md. Run it with a Python that has the package and torch. Bytes
are compared before anything is timed. A time is the best of 25 rounds of all candidates in turn:
what disturbs a call only makes it slower.
"""
import json
import math
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import torch

import ropekv
import ropekv.torch

Q_HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
SPLITS = (Q_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
WIDTH = sum(SPLITS)
ROUNDS = 25
op = torch.ops.ropekv.dequant_rope_quant_kvcache

TRIVIAL = """
#include <torch/library.h>
#include <ATen/ATen.h>
using T = const at::Tensor&;
using O = const std::optional<at::Tensor>&;
std::tuple<at::Tensor, at::Tensor, at::Tensor> trivial(
    T x, T cos, T, at::Tensor& k, at::Tensor&, T, O, O, at::IntArrayRef sizes, O, O, O, O, O, O,
    int64_t, c10::string_view, c10::string_view, bool, c10::string_view,
    std::optional<c10::string_view>, bool, c10::string_view, bool) {
  const int64_t d = k.size(3);
  auto none = at::empty({0}, cos.options());
  return {at::empty({x.size(0), sizes[0] / d, d}, cos.options()), none, none};
}
TORCH_LIBRARY(trivial, m) { m.def("call%s"); }
TORCH_LIBRARY_IMPL(trivial, CPU, m) { m.impl("call", trivial); }
"""


def call(x_dtype, tokens):
    """Arguments of a call, as tensors."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(tokens, HEAD_DIM // 2, generator=generator) * 6.28
    angles = torch.cat([angles, angles], 1)
    out = torch.float16 if x_dtype == torch.int32 else x_dtype
    arguments = {
        "cos": angles.cos().to(out), "sin": angles.sin().to(out),
        "k_cache": torch.zeros(tokens // 16 + 1, 16, KV_HEADS, HEAD_DIM, dtype=torch.int8),
        "indices": torch.randperm(tokens, generator=generator).to(torch.int32),
        "scale_k": torch.rand(KV_HEADS, HEAD_DIM, generator=generator) / 50 + 0.02,
        "scale_v": torch.rand(KV_HEADS, HEAD_DIM, generator=generator) / 50 + 0.02,
    }
    arguments["v_cache"] = torch.zeros_like(arguments["k_cache"])
    if x_dtype == torch.int32:
        arguments["x"] = torch.randint(
            -20000, 20000, (tokens, WIDTH), generator=generator, dtype=torch.int32)
        arguments["weight_scale"] = torch.rand(WIDTH, generator=generator) * 1e-4
        arguments["activation_scale"] = torch.rand(tokens, generator=generator)
    else:
        arguments["x"] = torch.randn(tokens, WIDTH, generator=generator).to(x_dtype)
    return arguments


def chain(x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, weight_scale=None,
          activation_scale=None):
    """The same steps by PyTorch."""
    f = x.float()
    if weight_scale is not None:
        f = f * weight_scale * activation_scale[:, None]
    q, k, v = (part.unflatten(1, (-1, HEAD_DIM)) for part in f.split(SPLITS, 1))
    cos_f, sin_f = cos.float()[:, None], sin.float()[:, None]
    half = HEAD_DIM // 2

    def rotated(t):
        swapped = torch.cat([-t[..., half:], t[..., :half]], -1)
        return t * cos_f + swapped * sin_f

    for cache, t, scale in ((k_cache, rotated(k), scale_k), (v_cache, v, scale_v)):
        stored = (t / scale).round().clamp(-128, 127).to(torch.int8)
        cache.view(-1, KV_HEADS, HEAD_DIM)[indices.long()] = stored
    return rotated(q).to(cos.dtype)


def seconds_a_call(run, count):
    begin = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - begin) / count


def best_times(candidates):
    """{name: seconds a call}, the candidates taking turns of about 10 ms."""
    repeats = {}
    for name, run in candidates.items():
        once = min(seconds_a_call(run, 1) for _ in range(5))  # the first may be slow
        repeats[name] = max(1, min(3000, int(0.01 / once)))
    best = dict.fromkeys(candidates, math.inf)
    for _ in range(ROUNDS):
        for name, run in candidates.items():
            best[name] = min(best[name], seconds_a_call(run, repeats[name]))
    return best


def native_seconds(x, tokens):
    """The C++ library's own time, as `ropekv bench` has it."""
    output = subprocess.run(
        [sys.executable, "-m", "ropekv", "bench", "--model", "llama-3-8b", "--tokens", str(tokens),
         "--x", x, "--dtype", "bf16" if x == "bf16" else "f16", "--numerics", "float32",
         "--threads", "1", "--json"], capture_output=True, text=True, check=True).stdout
    (point,) = json.loads(output)["results"]
    return 1e-9 * point["ns_min"]


def calls_of_one_token(trivial):
    tensors = call(torch.bfloat16, 1)
    arrays = {
        name: t.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        if t.dtype == torch.bfloat16 else t.numpy() for name, t in tensors.items()}
    options = {"size_splits": SPLITS, "cache_mode": "page"}
    plan = ropekv.Plan(**arrays, **options)
    weights = {name: arrays[name] for name in ("scale_k", "scale_v")}
    bound = plan.bind(**weights)
    rest = {name: array for name, array in arrays.items() if name not in weights}
    out = np.empty((1, Q_HEADS, HEAD_DIM), ml_dtypes.bfloat16)
    times = best_times({
        "Plan.run, NumPy": lambda: plan.run(**arrays, q_out=out, num_threads=1),
        "Plan.run, NumPy, q made": lambda: plan.run(**arrays, num_threads=1),
        "bound Plan.run, NumPy": lambda: bound.run(**rest, q_out=out, num_threads=1),
        "the function, NumPy": lambda: ropekv.dequant_rope_quant_kvcache(
            **arrays, **options, num_threads=1),
        "the function, torch": lambda: ropekv.dequant_rope_quant_kvcache(
            **tensors, **options, num_threads=1),
        "torch.ops.ropekv": lambda: op(**tensors, **options),
        "a trivial op of this schema": lambda: trivial(**tensors, **options),
    })
    native = native_seconds("bf16", 1)
    print("| one token, bf16 | us a call | less the native call |\n|---|---|---|")
    print(f"| the native call (`ropekv bench`) | {1e6 * native:.1f} | |")
    for name, seconds in times.items():
        less = "" if "trivial" in name else f"{1e6 * (seconds - native):.1f}"
        print(f"| {name} | {1e6 * seconds:.1f} | {less} |")
    ratio = (times["torch.ops.ropekv"] - native) / times["a trivial op of this schema"]
    print(f"\nThe torch op less the native call is {ratio:.2f} times the trivial op.\n")


def chains():
    print("| x, tokens | op, us | eager | compiled | op faster than compiled |")
    print("|---|---|---|---|---|")
    for dtype in (torch.int32, torch.bfloat16):
        for tokens in (1, 16, 256, 4096):
            arguments = call(dtype, tokens)
            options = {"size_splits": SPLITS, "cache_mode": "page"}
            compiled = torch.compile(chain)
            results = []
            for run in (lambda **a: op(**a, **options)[0], chain, compiled):
                caches = {name: arguments[name].clone() for name in ("k_cache", "v_cache")}
                results.append((run(**{**arguments, **caches}), *caches.values()))
            if not all(torch.equal(a, b) for a, b in zip(results[0], results[1])):
                sys.exit(f"{dtype}, {tokens} tokens: the eager chain gives other bytes")
            steps = max((int((a.int() - b.int()).abs().max()) for a, b in zip(
                results[0][1:], results[2][1:])))
            if steps > 1:  # Inductor fuses products and sums
                sys.exit(f"{dtype}, {tokens} tokens: the compiled chain is {steps} steps off")
            times = best_times({"op": lambda: op(**arguments, **options),
                             "eager": lambda: chain(**arguments),
                             "compiled": lambda: compiled(**arguments)})
            name = "i32" if dtype == torch.int32 else "bf16"
            shown = " | ".join(f"{1e6 * seconds:,.1f}" for seconds in times.values())
            print(f"| {name}, {tokens} | {shown} | {times['compiled'] / times['op']:.1f} x |",
                  flush=True)


def main():
    from torch.utils import cpp_extension

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch._dynamo.config.cache_size_limit = 64
    schema = str(op.default._schema).split("dequant_rope_quant_kvcache", 1)[1].replace('"', '\\"')
    cpp_extension.load_inline("ropekv_trivial", TRIVIAL % schema, is_python_module=False)
    calls_of_one_token(torch.ops.trivial.call)
    chains()


if __name__ == "__main__":
    main()
