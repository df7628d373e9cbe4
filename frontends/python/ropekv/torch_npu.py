# SPDX-License-Identifier: Apache-2.0
"""torch_npu's spelling of the operator, on the CPU.

`npu_dequant_rope_quant_kvcache` and `npu_rope_quant_kvcache` have torch_npu's public signatures and
return (q, k, v, k_cache, v_cache): the caches are those that were passed, and k and v are of the
shape [0] without `kv_output`. They round where the NPU rounds (numerics="ascend"). What these
signatures lack, such as positions or out_dtype, `torch.ops.ropekv` has.

`install()` makes a module `torch_npu` of this one and registers `torch.ops.npu.*`, for programs
that call these; it refuses where the real torch_npu is installed.
"""

import importlib.util
import sys
import types
from collections.abc import Sequence

import torch
from torch import Tensor

from ropekv.torch import dequant_rope_quant_kvcache

_Results = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

# torch_npu marks no alias; so marked, the operators pass opcheck and compile.
_TENSORS = (
    "Tensor x, Tensor cos, Tensor sin, Tensor(a!) k_cache, Tensor(b!) v_cache, Tensor indices, "
    "Tensor scale_k, Tensor scale_v, int[3] size_splits, *, Tensor? offset_k=None, "
    "Tensor? offset_v=None, "
)
_DEQUANT = "Tensor? weight_scale=None, Tensor? activation_scale=None, Tensor? bias=None, "
_OPTIONS = (
    'int quant_mode=0, str input_layout="BSND", bool kv_output=False, '
    'str cache_mode="contiguous") -> (Tensor, Tensor, Tensor, Tensor(a!), Tensor(b!))'
)


def npu_dequant_rope_quant_kvcache(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    indices: Tensor,
    scale_k: Tensor,
    scale_v: Tensor,
    size_splits: Sequence[int],
    *,
    offset_k: Tensor | None = None,
    offset_v: Tensor | None = None,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    quant_mode: int = 0,
    input_layout: str = "BSND",
    kv_output: bool = False,
    cache_mode: str = "contiguous",
) -> _Results:
    """The operator for int32 x.

    Raises:
        RuntimeError: x is not int32, quant_mode is not 0, input_layout is not "BSND", or what
            `torch.ops.ropekv.dequant_rope_quant_kvcache` refuses.
    """
    if x.dtype != torch.int32:
        raise RuntimeError(f"x: has dtype {x.dtype}; must be torch.int32")
    _check_options(quant_mode, input_layout)
    q, k, v = dequant_rope_quant_kvcache(
        x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, size_splits, offset_k=offset_k,
        offset_v=offset_v, weight_scale=weight_scale, activation_scale=activation_scale, bias=bias,
        cache_mode=cache_mode, kv_output=kv_output, numerics="ascend",
    )
    return q, k, v, k_cache, v_cache


def npu_rope_quant_kvcache(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    indices: Tensor,
    scale_k: Tensor,
    scale_v: Tensor,
    size_splits: Sequence[int],
    *,
    offset_k: Tensor | None = None,
    offset_v: Tensor | None = None,
    quant_mode: int = 0,
    input_layout: str = "BSND",
    kv_output: bool = False,
    cache_mode: str = "contiguous",
) -> _Results:
    """The operator for x of a floating-point dtype.

    Raises:
        RuntimeError: as of `npu_dequant_rope_quant_kvcache`; and x is int32.
    """
    if x.dtype == torch.int32:
        raise RuntimeError("x: has dtype torch.int32, which has to be dequantised")
    _check_options(quant_mode, input_layout)
    q, k, v = dequant_rope_quant_kvcache(
        x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, size_splits, offset_k=offset_k,
        offset_v=offset_v, cache_mode=cache_mode, kv_output=kv_output, numerics="ascend",
    )
    return q, k, v, k_cache, v_cache


def _check_options(quant_mode: int, input_layout: str) -> None:
    if quant_mode != 0:
        raise RuntimeError(f"quant_mode: is {quant_mode}; must be 0 (static)")
    if input_layout != "BSND":
        raise RuntimeError(f"input_layout: is {input_layout!r}; must be 'BSND'")


_library: torch.library.Library | None = None


def install() -> None:
    """Makes `import torch_npu`, `torch_npu.npu_...` and `torch.ops.npu.npu_...` these functions.

    A second call does nothing.

    Raises:
        RuntimeError: the real torch_npu is installed or imported.
    """
    global _library
    if _library is not None:
        return
    if "torch_npu" in sys.modules or importlib.util.find_spec("torch_npu") is not None:
        raise RuntimeError("torch_npu is installed; ropekv does not take its place")
    functions = (npu_dequant_rope_quant_kvcache, npu_rope_quant_kvcache)
    library = torch.library.Library("npu", "FRAGMENT")
    for function, dequant in zip(functions, (_DEQUANT, "")):
        library.define(f"{function.__name__}({_TENSORS}{dequant}{_OPTIONS}")
        library.impl(function.__name__, function, "CompositeImplicitAutograd")
    module = types.ModuleType("torch_npu", __doc__)
    for function in functions:
        setattr(module, function.__name__, function)
    sys.modules["torch_npu"] = module
    _library = library
