# SPDX-License-Identifier: Apache-2.0
"""The kinds of arrays that the tests call the operator with."""

import importlib.util
import warnings

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)


class OnlyDLPack:
    """An array of some other library: nothing but DLPack's two methods."""

    def __init__(self, array, versioned=True):
        self.array = array
        self.versioned = versioned

    def __dlpack__(self, **options):
        if not self.versioned and options:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class NumPy:
    runs_backwards = True

    @staticmethod
    def can_hold(dtype):
        return True

    @staticmethod
    def wrap(array):
        return array

    @staticmethod
    def to_numpy(result):
        assert type(result) is np.ndarray
        return result


class DLPack(NumPy):
    """Results are NumPy's: such an array says of no way to make another."""

    @staticmethod
    def can_hold(dtype):
        return dtype != BF16

    @staticmethod
    def wrap(array):
        return OnlyDLPack(array)

    @staticmethod
    def to_numpy(result):
        return result.array if isinstance(result, OnlyDLPack) else result


class OldDLPack(DLPack):
    """Of before DLPack 1.0."""

    @staticmethod
    def wrap(array):
        return OnlyDLPack(array, versioned=False)


class Torch:
    runs_backwards = False

    @staticmethod
    def can_hold(dtype):
        return True

    @staticmethod
    def wrap(array):
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inputs that NumPy holds for read-only
            if array.dtype == BF16:
                return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(array)

    @staticmethod
    def to_numpy(result):
        import torch

        assert type(result) is torch.Tensor
        if result.dtype == torch.bfloat16:
            return result.view(torch.int16).numpy().view(BF16)
        return result.numpy()


FAMILIES = {"numpy": NumPy, "dlpack": DLPack, "old dlpack": OldDLPack}
if importlib.util.find_spec("torch"):
    FAMILIES["torch"] = Torch
