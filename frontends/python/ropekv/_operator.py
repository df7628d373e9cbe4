# SPDX-License-Identifier: Apache-2.0
"""The operator as one call."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ropekv import _core

# A NumPy array, a torch tensor, or an object with `__dlpack__` in the memory of the CPU.
Array: TypeAlias = Any


class Outputs(NamedTuple):
    """What a call returns besides the caches, in the family of `x`.

    q: [B, S, Nq, D] or [B, Nq, D], rotated.
    k, v: [B, S, Nkv, D] or [B, Nkv, D], k rotated; None unless `kv_output`.
    """

    q: Any
    k: Any
    v: Any


def dequant_rope_quant_kvcache(
    x: Array,
    cos: Array,
    sin: Array,
    k_cache: Array,
    v_cache: Array,
    indices: Array,
    scale_k: Array | None,
    scale_v: Array | None,
    size_splits: Sequence[int],
    *,
    offset_k: Array | None = None,
    offset_v: Array | None = None,
    weight_scale: Array | None = None,
    activation_scale: Array | None = None,
    bias: Array | None = None,
    positions: Array | None = None,
    rotary_dim: int = 0,
    rotary_style: str = "half",
    cache_mode: str = "contiguous",
    kv_output: bool = False,
    numerics: str = "float32",
    q_out: Array | None = None,
    k_out: Array | None = None,
    v_out: Array | None = None,
    num_threads: int = 0,
    check_duplicate_slots: bool = True,
    target: str = "best",
    strict_device_limits: bool = False,
) -> Outputs:
    """Dequantises and splits `x`, rotates q and k, and writes k and v to the caches.

    B sequences, S new tokens of each, T = B*S; Nq and Nkv heads of D channels;
    H = (Nq + 2*Nkv) * D; R = rotary_dim, or D. Where x is [B, H], S = 1 and the other tensors lack
    that dimension.

    Tensors:
        x: [B, S, H] or [B, H]; int32, float16, bfloat16 or float32.
        cos, sin: [B, S, 1, R] or [B, R], or with positions a table [P, R]; R/2 entries serve both
            channels of a pair. The dtype of q, or float32.
        k_cache, v_cache: written in place. int8, or without scales float16, bfloat16 or float32.
            Contiguous: [C, L, Nkv, D], and token (b, s) goes to cache[b][indices[b] + s]. Paged:
            [num_blocks, block_size, Nkv, D], and token t goes to slot indices[t]; where that is
            negative, nowhere.
        indices: int32 or int64; B entries for a contiguous cache, T for a paged one.
        scale_k, scale_v: [Nkv, D], [Nkv*D], [Nkv, 1] or [1]; float32. They divide. None unless the
            caches are int8.
        offset_k, offset_v: like the scales; added after the division.
        weight_scale: [H]; float32; needed for int32 x. This and the next two are ignored unless x
            is int32.
        activation_scale: [T]; float32.
        bias: [H]; float32, float16, bfloat16 or int32. An int32 one is added before the scales.
        positions: T entries, int32 or int64: the rows of cos and sin that the tokens have.
        q_out, k_out, v_out: where to write the outputs; new ones are made of those not given, of
            the dtype of x, or of cos if x is int32.

    Options:
        size_splits: (Nq*D, Nkv*D, Nkv*D).
        rotary_dim: how many channels of each head are rotated, from the first on; 0 for all.
        rotary_style: which of them turn together: "half" for i and i + R/2, or "interleaved" for
            2*i and 2*i + 1.
        cache_mode: "contiguous" or "page".
        kv_output: also return k (rotated) and v.
        numerics: "float32", or "ascend" to round where the NPU does.
        num_threads: 0 for all of the machine's, and one where a second does not pay.
        check_duplicate_slots: off, the caller guarantees that no slot occurs twice.
        target: the instruction set, one of `usable_targets()`.
        strict_device_limits: refuse what the NPU refuses.

    Any strides will do, also 0 (a broadcast view) for inputs and negative ones. No array is copied,
    and an output may not share memory with any other tensor. The GIL is released while it works.
    Every rule is checked before the first write; nothing has changed when this raises:

    Raises:
        TypeError: a dtype that is not taken, or an object that is no tensor.
        ValueError: anything else that is wrong; the message names the argument. Also a read-only
            output, a tensor that is not in the memory of the CPU, and a torch tensor that requires
            a gradient.
        MemoryError: there is no memory for an output.
    """
    return Outputs._make(
        _core.call(
            _core.Action.RUN,
            (x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, offset_k, offset_v,
             weight_scale, activation_scale, bias, q_out, k_out, v_out, positions),
            (size_splits, rotary_dim, rotary_style, cache_mode, kv_output, numerics,
             strict_device_limits, target),
            num_threads, check_duplicate_slots,
        )
    )


def reference(
    x: Array,
    cos: Array,
    sin: Array,
    k_cache: Array,
    v_cache: Array,
    indices: Array,
    scale_k: Array | None,
    scale_v: Array | None,
    size_splits: Sequence[int],
    *,
    offset_k: Array | None = None,
    offset_v: Array | None = None,
    weight_scale: Array | None = None,
    activation_scale: Array | None = None,
    bias: Array | None = None,
    positions: Array | None = None,
    rotary_dim: int = 0,
    rotary_style: str = "half",
    cache_mode: str = "contiguous",
    kv_output: bool = False,
    numerics: str = "float32",
    q_out: Array | None = None,
    k_out: Array | None = None,
    v_out: Array | None = None,
    check_duplicate_slots: bool = True,
    strict_device_limits: bool = False,
) -> Outputs:
    """The same, by the library's slow, plain implementation, which shares no arithmetic with it.

    It has the arguments and the errors of `dequant_rope_quant_kvcache`, and gives the same bytes
    (a NaN in q, k or v may differ in sign and payload).
    """
    return Outputs._make(
        _core.call(
            _core.Action.REFERENCE,
            (x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, offset_k, offset_v,
             weight_scale, activation_scale, bias, q_out, k_out, v_out, positions),
            (size_splits, rotary_dim, rotary_style, cache_mode, kv_output, numerics,
             strict_device_limits, "best"),
            1, check_duplicate_slots,
        )
    )


def usable_targets() -> list[str]:
    """The instruction sets that this processor has and the library was built for, best first."""
    return _core.usable_targets()


def built_targets() -> list[str]:
    """The instruction sets that the library was built for, best first."""
    return _core.built_targets()
