# SPDX-License-Identifier: Apache-2.0
"""The operator for decode loops: what needs no data is checked once."""

from collections.abc import Sequence

from ropekv import _core
from ropekv._operator import Array, Outputs

_RUN = _core.Action.RUN
_make = Outputs._make


class Plan:
    """The checks of calls that differ in nothing but the data.

    It is made from the tensors of a first call, of which it looks at dtypes, shapes and strides
    only, and keeps none. Any number of threads may run one plan at once, each on outputs of its
    own. The arguments are those of `dequant_rope_quant_kvcache`, and so are the errors.
    """

    __slots__ = ("_plan",)

    def __init__(
        self,
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
        target: str = "best",
        strict_device_limits: bool = False,
    ) -> None:
        self._plan = _core.Plan(
            (x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, offset_k, offset_v,
             weight_scale, activation_scale, bias, q_out, k_out, v_out, positions),
            (size_splits, rotary_dim, rotary_style, cache_mode, kv_output, numerics,
             strict_device_limits, target),
        )

    def run(
        self,
        x: Array,
        cos: Array,
        sin: Array,
        k_cache: Array,
        v_cache: Array,
        indices: Array,
        scale_k: Array | None = None,
        scale_v: Array | None = None,
        *,
        offset_k: Array | None = None,
        offset_v: Array | None = None,
        weight_scale: Array | None = None,
        activation_scale: Array | None = None,
        bias: Array | None = None,
        positions: Array | None = None,
        q_out: Array | None = None,
        k_out: Array | None = None,
        v_out: Array | None = None,
        num_threads: int = 0,
        token_begin: int = 0,
        token_end: int = -1,
        check_duplicate_slots: bool = True,
    ) -> Outputs:
        """Does the work, for tensors of the dtypes, shapes and strides that the plan was made for.

        `bind` makes a plan that is called without the weights of a layer. An engine with threads
        of its own gives each a range of tokens, [token_begin, token_end), with num_threads=1 and
        one q_out; a negative token_end means all the rest. A range checks its own indices only;
        call `check` over all of them first to find a slot that two ranges share.
        """
        return _make(
            self._plan.call(
                _RUN,
                (x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, offset_k, offset_v,
                 weight_scale, activation_scale, bias, q_out, k_out, v_out, positions),
                num_threads, token_begin, token_end, check_duplicate_slots,
            )
        )

    def check(
        self,
        x: Array,
        cos: Array,
        sin: Array,
        k_cache: Array,
        v_cache: Array,
        indices: Array,
        scale_k: Array | None = None,
        scale_v: Array | None = None,
        *,
        offset_k: Array | None = None,
        offset_v: Array | None = None,
        weight_scale: Array | None = None,
        activation_scale: Array | None = None,
        bias: Array | None = None,
        positions: Array | None = None,
        q_out: Array | None = None,
        k_out: Array | None = None,
        v_out: Array | None = None,
        token_begin: int = 0,
        token_end: int = -1,
        check_duplicate_slots: bool = True,
    ) -> None:
        """Raises what `run` would raise of these tensors, and writes nothing."""
        self._plan.call(
            _core.Action.CHECK,
            (x, cos, sin, k_cache, v_cache, indices, scale_k, scale_v, offset_k, offset_v,
             weight_scale, activation_scale, bias, q_out, k_out, v_out, positions),
            0, token_begin, token_end, check_duplicate_slots,
        )

    def bind(
        self,
        scale_k: Array | None = None,
        scale_v: Array | None = None,
        *,
        offset_k: Array | None = None,
        offset_v: Array | None = None,
        weight_scale: Array | None = None,
        bias: Array | None = None,
    ) -> "Plan":
        """A plan that owns the weights of a layer, as they are now; `run` takes them no more.

        They are copied, checked and prepared once, and a call needs no division any more. Whoever
        changes a weight binds the first plan again.
        """
        bound = Plan.__new__(Plan)
        bound._plan = self._plan.bind(
            (None, None, None, None, None, None, scale_k, scale_v, offset_k, offset_v,
             weight_scale, None, bias, None, None, None, None)
        )
        return bound

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens of a call."""
        return self._plan.num_tokens

    @property
    def target(self) -> str:
        """The instruction set that is used."""
        return self._plan.target
