# SPDX-License-Identifier: Apache-2.0
"""The operator for PyTorch: `torch.ops.ropekv.dequant_rope_quant_kvcache`.

Importing this module registers it, for eager mode, torch.compile, torch.export and AOTInductor. Its
arguments are those of `ropekv.dequant_rope_quant_kvcache`, without `num_threads`, and with
`out_dtype` in place of `q_out`, `k_out` and `v_out`: their dtype, for int32 x "float16", "bfloat16"
or "float32"; if it is not given, that of x, or of cos for int32 x. It returns (q, k, v), and
without `kv_output` k and v are of the shape [0]. The caches are mutated, which the schema says.
Errors are RuntimeError, as of all such operators, with the library's message.

- It works on the CPU. A tensor on another device, also on "meta", is an error.
- It has no gradient. An input that requires one is an error where grad mode is on; torch.no_grad()
  and torch.inference_mode() save the time to ask. vmap is refused.
- It works in torch's own threads, as many of `torch.get_num_threads()` as pay.
- A cache that a compiled graph writes, reads and writes again is copied by Inductor. Write the
  caches of a layer once a graph.
"""

import importlib.metadata
import pathlib
from collections.abc import Sequence
from typing import Any

import torch

_OLDEST = (2, 10)
_NAME = "ropekv::dequant_rope_quant_kvcache"
# By name: torch 2.10's AOTInductor passes a ScalarType by another number than torch has for it.
_OUT_DTYPES = {
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def _load() -> None:
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise ImportError(f"ropekv.torch needs torch 2.10 or newer; {version} is installed")
    torch.ops.load_library(str(pathlib.Path(__file__).with_name("_torch.so")))


# The library's code cannot see whether a tensor requires a gradient, and asks this. Defined first:
# it stays for as long as this object does.
_library = torch.library.Library("ropekv", "FRAGMENT")
_library.define("first_that_requires_grad(Tensor[] tensors) -> int")


def _first_that_requires_grad(tensors: Sequence[torch.Tensor]) -> int:
    return next((i for i, tensor in enumerate(tensors) if tensor.requires_grad), -1)


_library.impl("first_that_requires_grad", _first_that_requires_grad, "CompositeImplicitAutograd")
_load()


@torch.library.register_fake(_NAME)
def _fake(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    indices: torch.Tensor,
    scale_k: torch.Tensor | None,
    scale_v: torch.Tensor | None,
    size_splits: Sequence[int],
    *,
    kv_output: bool = False,
    out_dtype: str | None = None,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The shapes of the results, which may be symbols."""
    named = {"x": x, "cos": cos, "sin": sin, "k_cache": k_cache, "v_cache": v_cache,
             "indices": indices, "scale_k": scale_k, "scale_v": scale_v, **others}
    for name, value in named.items():
        if isinstance(value, torch.Tensor):
            torch._check(
                value.device == x.device,
                lambda name=name: f"{name}: is not on the device of the other tensors",
            )
            torch._check(
                not (value.requires_grad and torch.is_grad_enabled()),
                lambda name=name: f"{name}: requires a gradient, which this operator does not have",
            )
    torch._check(k_cache.dim() == 4, lambda: "k_cache: must be 4-D")
    head_dim = k_cache.shape[3]
    dtype = x.dtype if x.dtype.is_floating_point else cos.dtype
    if out_dtype is not None:
        torch._check(out_dtype in _OUT_DTYPES, lambda: f"out_dtype: is {out_dtype!r}")
        torch._check(
            _OUT_DTYPES[out_dtype] == x.dtype or x.dtype == torch.int32,
            lambda: f"out_dtype: q has dtype {out_dtype}; must be {x.dtype}, the dtype of x",
        )
        dtype = _OUT_DTYPES[out_dtype]
    leading = x.shape[:-1]
    q = x.new_empty((*leading, size_splits[0] // head_dim, head_dim), dtype=dtype)
    if not kv_output:
        return q, x.new_empty(0, dtype=dtype), x.new_empty(0, dtype=dtype)
    kv_shape = (*leading, k_cache.shape[2], head_dim)
    return q, x.new_empty(kv_shape, dtype=dtype), x.new_empty(kv_shape, dtype=dtype)


dequant_rope_quant_kvcache = torch.ops.ropekv.dequant_rope_quant_kvcache.default
