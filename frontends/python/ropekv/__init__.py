# SPDX-License-Identifier: Apache-2.0
"""Dequantise, split, rotate (RoPE), quantise and cache a packed QKV projection, in one pass.

The step of language-model inference between the QKV projection and attention, on CPUs, for NumPy
arrays, torch tensors and anything with DLPack. Nothing is copied; the caches are updated in place.

`import ropekv.torch` registers the same operator with PyTorch.
"""

from ropekv._cases import Case, load_case, save_case
from ropekv._core import VERSION as __version__
from ropekv._operator import Outputs, dequant_rope_quant_kvcache, reference
from ropekv._operator import built_targets, usable_targets
from ropekv._plan import Plan

__all__ = [
    "Case",
    "Outputs",
    "Plan",
    "__version__",
    "built_targets",
    "dequant_rope_quant_kvcache",
    "load_case",
    "reference",
    "save_case",
    "usable_targets",
]
