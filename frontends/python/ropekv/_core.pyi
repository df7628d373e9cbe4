# SPDX-License-Identifier: Apache-2.0
import enum
from collections.abc import Sequence
from typing import Any, TypeAlias

TENSORS: tuple[str, ...]
VERSION: str

# size_splits, rotary_dim, rotary_style, cache_mode, kv_output, numerics, strict_device_limits,
# target
Attributes: TypeAlias = tuple[Sequence[int], int, str, str, bool, str, bool, str]

class Action(enum.Enum):
    RUN = ...
    REFERENCE = ...
    CHECK = ...

def call(
    action: Action,
    tensors: tuple[Any, ...],
    attributes: Attributes,
    num_threads: int,
    check_duplicate_slots: bool,
    /,
) -> tuple[Any, Any, Any]: ...
def usable_targets() -> list[str]: ...
def built_targets() -> list[str]: ...

class Plan:
    def __init__(
        self,
        tensors: tuple[Any, ...],
        attributes: Attributes,
        /,
    ) -> None: ...
    def call(
        self,
        action: Action,
        tensors: tuple[Any, ...],
        num_threads: int,
        token_begin: int,
        token_end: int,
        check_duplicate_slots: bool,
        /,
    ) -> tuple[Any, Any, Any]: ...
    def bind(self, tensors: tuple[Any, ...], /) -> Plan: ...
    @property
    def num_tokens(self) -> int: ...
    @property
    def target(self) -> str: ...
