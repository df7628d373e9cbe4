# SPDX-License-Identifier: Apache-2.0
"""Calls as safetensors files, which the command `ropekv` reads and writes too."""

import dataclasses
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from ropekv import _core

_OUTPUTS = ("q", "k", "v")
_INPUTS = tuple(name for name in _core.TENSORS if name not in _OUTPUTS)
# What a file may leave out.
_DEFAULTS = {
    "rotary_dim": 0,
    "rotary_style": "half",
    "cache_mode": "contiguous",
    "kv_output": False,
    "numerics": "float32",
}


@dataclasses.dataclass
class Case:
    """One call: `ropekv.dequant_rope_quant_kvcache(**case.arguments)`.

    tensors: the tensors by their names; the caches as they are before the call.
    attributes: the other arguments: size_splits, rotary_dim, rotary_style, cache_mode, kv_output
        and numerics.
    """

    tensors: dict[str, Any]
    attributes: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """Both together."""
        return {**self.tensors, **self.attributes}


def save_case(path: str | os.PathLike[str], **arguments: Any) -> None:
    """Writes the arguments of a call as a case of the command: `ropekv run`, `ropekv verify`.

    The names are those of `dequant_rope_quant_kvcache`; options of how to run it are refused. No
    file is left half-written.
    """
    if "size_splits" not in arguments:
        raise TypeError("size_splits: is required but absent")
    tensors = {}
    metadata = {"quant_mode": "static", "layout": "BSND"}
    for name, value in arguments.items():
        if name in _INPUTS:
            if value is not None:
                tensors[name] = _to_numpy(name, value)
        elif name == "size_splits":
            metadata[name] = ",".join(str(int(size)) for size in value)
        elif name in ("rotary_dim", "rotary_style") and value == _DEFAULTS[name]:
            continue  # not said, it is the default, also to those who do not know the name
        elif name in _DEFAULTS:
            metadata[name] = str(value).lower()
        else:
            raise TypeError(f"{name}: is not part of a case")
    target = pathlib.Path(path)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ropekv-") as folder:
        written = pathlib.Path(folder, target.name)
        save_file(tensors, written, metadata)
        written.replace(target)


def load_case(path: str | os.PathLike[str], framework: str = "numpy") -> Case:
    """Reads a case, as arrays of `framework`: "numpy" or "torch".

    Arrays of bfloat16 are ml_dtypes' with NumPy. Tensors and metadata that no case has are left
    out.
    """
    if framework not in ("numpy", "torch"):
        raise ValueError(f"framework: is {framework!r}; must be 'numpy' or 'torch'")
    with safetensors.safe_open(path, framework) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys() if name in _INPUTS}
        if "cos_sin" in file.keys():  # rows of cos, then of sin: two views of one array
            both = file.get_tensor("cos_sin")
            width = both.shape[-1] // 2
            tensors["cos"], tensors["sin"] = both[..., :width], both[..., width:]
    attributes: dict[str, Any] = dict(_DEFAULTS)
    attributes.update((name, metadata[name]) for name in _DEFAULTS if name in metadata)
    attributes["kv_output"] = str(attributes["kv_output"]).lower() == "true"
    attributes["rotary_dim"] = int(attributes["rotary_dim"])
    try:
        sizes = tuple(int(size) for size in metadata["size_splits"].split(","))
    except (KeyError, ValueError):
        raise ValueError(
            f"{os.fspath(path)}: metadata 'size_splits' is {metadata.get('size_splits')!r}; "
            "must be three integers such as 1024,128,128"
        ) from None
    attributes["size_splits"] = sizes
    return Case(tensors, attributes)


def _to_numpy(name: str, tensor: Any) -> np.ndarray[Any, Any]:
    """A row-major array with the elements of any tensor."""
    if hasattr(tensor, "__array_struct__"):
        return np.ascontiguousarray(tensor)
    if str(getattr(tensor, "dtype", "")) == "torch.bfloat16":
        import ml_dtypes
        import torch

        bits = tensor.detach().contiguous().view(torch.int16).numpy()
        return np.asarray(bits.view(ml_dtypes.bfloat16))
    if hasattr(tensor, "detach"):
        tensor = tensor.detach()
    if hasattr(tensor, "__dlpack__"):
        return np.ascontiguousarray(np.from_dlpack(tensor))
    raise TypeError(f"{name}: is a {type(tensor).__name__}; must be an array or a tensor")
