# SPDX-License-Identifier: Apache-2.0
"""The operator in NumPy, written from docs/numerics.md alone: step by step, as its tables say."""

import ml_dtypes
import numpy as np

F16 = np.dtype(np.float16)
F32 = np.dtype(np.float32)
BF16 = np.dtype(ml_dtypes.bfloat16)


def _dequantised(x, weight_scale, activation_scale, bias):
    """Steps 1 to 5, for x [T, H]."""
    if x.dtype != np.int32:
        return x.astype(np.float32)
    if bias is not None and bias.dtype == np.int32:
        x = x + bias  # wraps
    f = x.astype(np.float32)
    f = f * weight_scale
    if activation_scale is not None:
        f = f * activation_scale[:, None]
    if bias is not None and bias.dtype != np.int32:
        f = f + bias.astype(np.float32)
    return f


def _rotated(t, cos, sin, style, rotary_dim, rounded):
    """Step 6, for t [T, N, D] and cos, sin [T, R or R/2]; `rounded` follows each operation."""
    half = rotary_dim // 2
    if style == "half":
        a = np.arange(half)
        b = a + half
    else:
        a = 2 * np.arange(half)
        b = a + 1
    cos, sin = (table.astype(np.float32)[:, None, :] for table in (cos, sin))
    if cos.shape[-1] == half:
        cos_a = cos_b = cos
    else:
        cos_a, cos_b = cos[..., a], cos[..., b]
    if sin.shape[-1] == half:
        sin_a = sin_b = sin
    else:
        sin_a, sin_b = sin[..., a], sin[..., b]
    out = t.copy()
    t_a, t_b = rounded(t[..., a]), rounded(t[..., b])
    out[..., a] = rounded(rounded(t_a * cos_a) - rounded(t_b * sin_a))
    out[..., b] = rounded(rounded(t_b * cos_b) + rounded(t_a * sin_b))
    return out


def _per_channel(scale, heads, head_dim):
    """[Nkv, D] of any of the legal shapes of a scale."""
    if scale.size == heads * head_dim:
        return scale.reshape(heads, head_dim)
    return np.broadcast_to(scale, (heads, head_dim))


def _quantised(value, scale, offset):
    """Steps 9 to 12, for value [T, N, D]."""
    r = value / _per_channel(scale, *value.shape[1:])
    if offset is not None:
        r = r + _per_channel(offset, *value.shape[1:])
    r = np.where(np.isnan(r), np.float32(0), r)
    return np.rint(np.clip(r, np.float32(-128), np.float32(127))).astype(np.int8)


def _rows(indices, cache, batch, seq, paged):
    """For each token the place of its row, (first, second) index of the cache, or None."""
    indices = indices.reshape(-1)
    for token in range(batch * seq):
        if not paged:
            yield token // seq, int(indices[token // seq]) + token % seq
        elif indices[token] < 0:
            yield None
        else:
            yield divmod(int(indices[token]), cache.shape[1])


def call(
    x, cos, sin, k_cache, v_cache, indices, scale_k=None, scale_v=None, size_splits=None, *,
    offset_k=None, offset_v=None, weight_scale=None, activation_scale=None, bias=None, positions=None,
    rotary_dim=0, rotary_style="half", cache_mode="contiguous", kv_output=False,
    numerics="float32", out_dtype=None,
):
    """{name: array} of the outputs, the caches among them; changes none of its arguments.

    `out_dtype` is of q, k and v, for int32 x.
    """
    batch, seq = (x.shape[0], x.shape[1]) if x.ndim == 3 else (x.shape[0], 1)
    tokens = batch * seq
    head_dim = k_cache.shape[3]
    rotary_dim = rotary_dim or head_dim
    if x.dtype != np.int32:
        out_dtype = x.dtype
    elif out_dtype is None:
        out_dtype = cos.dtype
    if positions is not None:
        cos, sin = cos[positions.reshape(-1)], sin[positions.reshape(-1)]
    ascend = numerics == "ascend" and cos.dtype == F16
    cos, sin = (table.reshape(tokens, table.shape[-1]) for table in (cos, sin))

    def as_f16(value):
        return value.astype(np.float16).astype(np.float32)

    with np.errstate(all="ignore"):
        f = _dequantised(x.reshape(tokens, sum(size_splits)), weight_scale, activation_scale, bias)
        q, k, v = (
            part.reshape(tokens, size // head_dim, head_dim)
            for part, size in zip(np.split(f, np.cumsum(size_splits)[:2], axis=1), size_splits)
        )
        rounded = as_f16 if ascend else (lambda value: value)
        q, k = (
            _rotated(t, cos, sin, rotary_style, rotary_dim, rounded) for t in (q, k))
        caches = {"k_cache": k_cache.copy(), "v_cache": v_cache.copy()}
        if k_cache.dtype == np.int8:
            values = {
                "k_cache": _quantised(k, scale_k, offset_k),
                "v_cache": _quantised(v, scale_v, offset_v),
            }
        else:
            values = {"k_cache": k.astype(k_cache.dtype), "v_cache": v.astype(v_cache.dtype)}
        for name, cache in caches.items():
            for token, place in enumerate(
                _rows(indices, cache, batch, seq, paged=cache_mode == "page")
            ):
                if place is not None:
                    cache[place] = values[name][token]
        leading = x.shape[:-1]
        outputs = {"q": q, "k": k, "v": v} if kv_output else {"q": q}
        outputs = {
            name: t.reshape(*leading, t.shape[1], head_dim).astype(out_dtype)
            for name, t in outputs.items()
        }
    return {**outputs, **caches}
