# SPDX-License-Identifier: Apache-2.0
"""Attention of a Llama-type model over a paged KV cache that the operator writes (smollm2.py)."""

import math

import torch
from torch import nn
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

import ropekv.torch

BLOCK = 16
operator = torch.ops.ropekv.dequant_rope_quant_kvcache


class PagedLayer(CacheLayerMixin):
    """A layer's cache of one sequence: blocks of 16 tokens, in any order."""

    is_sliding = False

    def __init__(self, capacity, kv_heads, head_dim, dtype):
        super().__init__()
        self.is_initialized = True
        blocks = -(-capacity // BLOCK)
        self.k, self.v = torch.zeros((2, blocks, BLOCK, kv_heads, head_dim), dtype=dtype)
        self.blocks = torch.randperm(blocks, generator=torch.Generator().manual_seed(0))
        self.length = 0

    def next_slots(self, count):
        """The slots of the next `count` tokens."""
        tokens = torch.arange(self.length, self.length + count)
        self.length += count
        return self.blocks[tokens // BLOCK] * BLOCK + tokens % BLOCK

    def read(self, cache):
        """[Nkv, L, D] of a cache, as it is stored."""
        used = cache[self.blocks[: -(-self.length // BLOCK)]]
        return used.flatten(0, 1)[: self.length].transpose(0, 1)

    # What transformers asks of a layer of its Cache.
    def lazy_initialization(self, key_states, value_states):
        pass

    def update(self, key_states, value_states, *args, **kwargs):
        raise NotImplementedError("the operator writes this cache")

    def get_seq_length(self):
        return self.length

    def get_mask_sizes(self, query_length):
        return self.length + query_length, 0

    def get_max_length(self):
        return len(self.blocks) * BLOCK


def attend(q, k, v, scale_k, scale_v):
    """Causal attention of the last tokens, q [S, Nq, D], over k and v [Nkv, L, D]."""
    tokens, heads, head_dim = q.shape
    kv_heads, length, _ = k.shape
    q = q.float().view(tokens, kv_heads, -1, head_dim).permute(1, 2, 0, 3)
    if scale_k is not None:
        q = q * scale_k[:, None, None, :]
    scores = q @ k.float().transpose(1, 2)[:, None] / math.sqrt(head_dim)
    future = torch.ones(tokens, length, dtype=torch.bool).triu(length - tokens + 1)
    out = scores.masked_fill(future, -math.inf).softmax(-1) @ v.float()[:, None]
    if scale_v is not None:
        out = out * scale_v[:, None, None, :]
    return out.permute(2, 0, 1, 3).reshape(tokens, heads * head_dim)


class OperatorAttention(nn.Module):
    """In place of a LlamaAttention: one projection, the operator, attention over its cache."""

    def __init__(self, old, layer_index, qkv):
        super().__init__()
        self.index = layer_index
        self.head_dim = old.head_dim
        weights = [old.q_proj.weight, old.k_proj.weight, old.v_proj.weight]
        self.splits = [weight.shape[0] for weight in weights]
        self.o_proj = old.o_proj
        packed = torch.cat(weights).detach()
        self.weight_scale = None
        if qkv == "int8":
            self.weight_scale = packed.abs().amax(1) / 127
            packed = (packed / self.weight_scale[:, None]).round().to(torch.int8)
        else:
            packed = packed.to(torch.bfloat16)
        self.weight = packed.t()  # [hidden, H]
        self.scales = {"scale_k": None, "scale_v": None}  # none for a float cache
        self.largest = torch.zeros(2, self.splits[1])
        self.calibrating = self.measuring = False
        self.error = 0.0

    def project(self, hidden):
        """(x of the operator, what dequantises it)."""
        if self.weight_scale is None:
            return hidden.to(torch.bfloat16) @ self.weight, {}
        scale = hidden.abs().amax(1).clamp(min=1e-8) / 127
        quantised = (hidden / scale[:, None]).round().to(torch.int8)
        return torch._int_mm(quantised, self.weight), {
            "weight_scale": self.weight_scale, "activation_scale": scale}

    def forward(self, hidden_states, position_embeddings, cache, **_):
        x, dequantising = self.project(hidden_states[0])
        cos, sin = (angles[0].to(torch.bfloat16) for angles in position_embeddings)
        layer = cache.layers[self.index]
        q, k, v = operator(
            x, cos, sin, layer.k, layer.v, layer.next_slots(len(x)), **self.scales,
            size_splits=self.splits, **dequantising, cache_mode="page",
            kv_output=self.calibrating or self.measuring)
        if self.calibrating:
            now = torch.stack([k, v]).flatten(2).float().abs().amax(1)
            self.largest = torch.maximum(self.largest, now)
        out = attend(q, layer.read(layer.k), layer.read(layer.v), **self.scales)
        if self.measuring:
            exact = attend(q, k.transpose(0, 1), v.transpose(0, 1), None, None)
            self.error = float((out - exact).norm() / exact.norm())
        return self.o_proj(out)[None], None

    def set_scales(self):
        """The static scales that calibration found."""
        scales = (self.largest / 127).view(2, -1, self.head_dim).clamp(min=1e-8)
        self.scales = {"scale_k": scales[0].contiguous(), "scale_v": scales[1].contiguous()}


def new_cache(model, capacity, dtype):
    config = model.config
    head_dim = config.hidden_size // config.num_attention_heads
    return Cache(layers=[
        PagedLayer(capacity, config.num_key_value_heads, head_dim, dtype)
        for _ in range(config.num_hidden_layers)])
