#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the kernels' inner loops cost on this processor if nothing but them is in the way.

Times the vector instructions of one step (64 channels of a head) as the compiler makes them for
AVX-512: in a loop, on data in the first-level cache, without addresses and counters; int32 with
scales and a bias in registers. Prints cycles a step, and what a token of Llama-3-8B then takes at
least. Needs gcc and AVX-512 with AVX512_BF16.

  python3 scripts/kernel_limits.py
"""
import subprocess
import sys
import tempfile

# Lanes a and b of the lower and of the upper half: zmm1, zmm2; zmm3, zmm0. Rotated: zmm4, zmm6;
# zmm5, zmm7. cos and sin: zmm24 to zmm31. Constants: zmm16 to zmm23.
PAIRS = [("3", "1", "4", "5", "26", "24", "30", "28"), ("0", "2", "6", "7", "27", "25", "31", "29")]
HALVES = "4657"
LOAD_BF16 = ["vmovdqu64 (%0),%zmm13", "vmovdqu64 64(%0),%zmm14",
             "vpslld $16,%zmm13,%zmm1", "vpandd %zmm16,%zmm13,%zmm2",
             "vpslld $16,%zmm14,%zmm3", "vpandd %zmm16,%zmm14,%zmm0"]
LOAD_F16 = [f"vcvtph2ps {32 * i}(%0),%zmm{r}" for i, r in enumerate("1230")]
LOAD_I32 = ([f"vcvtdq2ps {64 * i}(%0),%zmm{r}" for i, r in enumerate("1230")] +
            [f"vmulps %zmm{16 + i},%zmm{r},%zmm{r}" for i, r in enumerate("1230")] +
            [f"vmulps %zmm20,%zmm{r},%zmm{r}" for r in "1230"] +
            [f"vaddps %zmm21,%zmm{r},%zmm{r}" for r in "1230"])


def rotate(fused, after=lambda r: []):
    """Four products and two sums for each of two vectors; after(r) rounds each of them."""
    out = []
    for hi, lo, to_lo, to_hi, sin_lo, cos_lo, sin_hi, cos_hi in PAIRS:
        for to, first, cos, second, sin, op in ((to_lo, lo, cos_lo, hi, sin_lo, "sub"),
                                                (to_hi, hi, cos_hi, lo, sin_hi, "add")):
            out += [f"vmulps %zmm{sin},%zmm{second},%zmm{to}"] + after(to)
            if fused:
                out.append(f"vfm{op}231ps %zmm{cos},%zmm{first},%zmm{to}")
            else:
                out += [f"vmulps %zmm{cos},%zmm{first},%zmm8"] + after("8")
                out.append(f"v{op}ps %zmm{to},%zmm8,%zmm{to}")
    return out


def through_f16(r):
    return [f"vcvtps2ph $0,%zmm{r},%ymm{r}", f"vcvtph2ps %ymm{r},%zmm{r}"]


STORE_BF16 = ["vcvtne2ps2bf16 %zmm4,%zmm6,%zmm8", "vcvtne2ps2bf16 %zmm5,%zmm7,%zmm9",
              "vpermw %zmm8,%zmm17,%zmm10", "vpermw %zmm9,%zmm17,%zmm11",
              "vmovdqu64 %zmm10,1024(%0)", "vmovdqu64 %zmm11,1088(%0)",
              "vpaddw %zmm18,%zmm8,%zmm12", "vpaddw %zmm18,%zmm9,%zmm13",
              "vpandd %zmm12,%zmm13,%zmm13", "vptestnmw %zmm19,%zmm13,%k2", "kortestd %k2,%k2"]
STORE_F16 = ([f"vcvtps2ph $0,%zmm{r},%ymm{r}" for r in HALVES] +
             [f"vmovdqu64 %ymm{r},{1024 + 32 * i}(%0)" for i, r in enumerate(HALVES)])


def levels(registers):
    """To int8 by reciprocals, in four vectors, with the check for doubts."""
    a, b, c, d = registers
    out = [f"vmovaps {512 + 64 * i}(%0),%zmm{8 + i}" for i in range(4)]
    out += [f"vfmadd132ps {256 + 64 * i}(%0),%zmm{8 + i},%zmm{r}" for i, r in enumerate(registers)]
    out += [f"vcvtps2dq %zmm{r},%zmm{r}" for r in registers]
    for first, second, address in ((a, b, 1024), (c, d, 1088)):
        out += [f"vmovdqa64 %zmm{first},%zmm12", f"vpermt2w %zmm{second},%zmm17,%zmm12",
                "vpmovswb %zmm12,%ymm12", f"vmovdqu64 %ymm12,{address}(%0)"]
    return out + [f"vpminuw %zmm{a},%zmm{b},%zmm8", f"vpminuw %zmm{c},%zmm{d},%zmm9",
                  "vpminuw %zmm8,%zmm9,%zmm8", "vptestnmd %zmm8,%zmm22,%k2", "kortestw %k2,%k2"]


def token(load, rotation, store):
    """Steps of q, k and v with how many of each Llama-3-8B has (32 + 8 + 8 heads of 128)."""
    return {"q": (64, load + rotation + store), "k": (16, load + rotation + levels(HALVES)),
            "v": (16, load + levels("1230"))}


ASCEND = rotate(False, through_f16)
K_ASCEND = [i for r in HALVES for i in through_f16(r)]
KERNELS = {
    "bf16 -> bf16, float32": token(LOAD_BF16, rotate(True), STORE_BF16),
    "f16 -> f16, float32": token(LOAD_F16, rotate(True), STORE_F16),
    "i32 -> bf16, float32": token(LOAD_I32, rotate(False), STORE_BF16),
    "i32 -> f16, float32": token(LOAD_I32, rotate(False), STORE_F16),
    "f16 -> f16, ascend": token(LOAD_F16, ASCEND, STORE_F16),
}
KERNELS["f16 -> f16, ascend"]["k"] = (16, LOAD_F16 + ASCEND + K_ASCEND + levels(HALVES))

PROGRAM = r"""
#include <stdio.h>
#include <time.h>
static float data[2048] __attribute__((aligned(4096)));
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
#define TIME(body) { double best = 1e9; \
  for (int i = 0; i < 2048; ++i) data[i] = 1.0f; \
  for (int r = 0; r < 32; ++r) { double start = now(); \
    __asm__ volatile(START body END : : "r"(data) : "memory", "rax", "r9"); \
    double t = (now() - start) / 100000; if (t < best) best = t; } \
  printf("%.4f\n", best); }
#define START ONES "mov $100000,%%r9\n.p2align 6\n1:\n"
#define END "dec %%r9\njnz 1b\n"
int main(void) {
"""


def measure(bodies):
    """Nanoseconds of each body; numbers are 1.0f, since subnormal ones would take longer."""
    ones = "".join(f"vmovups (%0),%%zmm{r}\\n" for r in range(32))
    lines = [f'#define ONES "{ones}"', PROGRAM]
    for body in bodies:
        text = "".join(i.replace("%", "%%").replace("(%%0)", "(%0)") + "\\n" for i in body)
        lines.append(f'TIME("{text}")')
    lines.append("}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcc", "-O1", "-x", "c", "-", "-o", folder + "/limits"], check=True,
                       input="\n".join(lines), text=True)
        run = subprocess.run([folder + "/limits"], check=True, capture_output=True, text=True)
    return [float(line) for line in run.stdout.split()]


def main():
    with open("/proc/cpuinfo", encoding="ascii") as info:
        if "avx512_bf16" not in info.read():
            sys.exit("kernel_limits.py: this processor has no AVX512_BF16")
    steps = [(name, part, *step) for name, parts in KERNELS.items() for part, step in parts.items()]
    chain = ["add $1,%rax"] * 20  # an addition a cycle
    cycle, *times = measure([chain] + [body for *_, body in steps])
    cycle /= len(chain)
    print(f"one cycle: {cycle:.3f} ns\n\n{'kernel':24}{'part':6}{'vector instructions':22}cycles")
    sums = {}
    for (name, part, count, body), time in zip(steps, times):
        print(f"{name:24}{part:6}{len(body):<22}{time / cycle:.1f}")
        sums[name] = sums.get(name, 0) + count * time
    print(f"\n{'kernel':24}ns a token of Llama-3-8B, at least")
    for name, total in sums.items():
        print(f"{name:24}{total:.0f}")


if __name__ == "__main__":
    main()
