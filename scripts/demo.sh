#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the command; runs a decode batch and a prefill chunk of Llama-3-8B, checks every byte
# against the plain implementation, and measures both kinds of call beside a copy of the same
# bytes. Under 5 minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
work=$(mktemp -d)
trap 'code=$?; rm -rf "$work"; [[ $code -eq 0 ]] || echo "demo.sh: FAILED" >&2' EXIT

# Shows a command as a reader would type it, and runs it in the work folder.
ropekv() {
  printf '\n$ ropekv %s\n' "$*"
  (cd "$work" && "$bin" "$@")
}

decode() {
  ropekv gen --model llama-3-8b --batch 32 --past 1024 --x i32 --dtype f16 --cache page \
    -o decode.safetensors
  ropekv run decode.safetensors -o decode-out.safetensors
  ropekv verify decode.safetensors
}

prefill() {
  ropekv gen --model llama-3-8b --seq 2048 --x bf16 --cache page -o prefill.safetensors
  ropekv run prefill.safetensors -o prefill-out.safetensors
  ropekv verify prefill.safetensors
}

bin=$PWD/build/cli/frontends/cli/ropekv
step "Install missing packages" bash scripts/setup.sh
step "Build the ropekv command in build/cli, a minute or two" build cli
step "This machine" ropekv info
step "Decode: one new token for each of 32 sequences, int32 x, paged cache" decode
step "Prefill: 2048 tokens of one sequence, bfloat16 x, paged cache" prefill
step "Speed, beside a copy that moves the same bytes" \
  ropekv bench --model llama-3-8b --tokens 32,2048 --threads 1,all --numerics float32

printf '\ndemo.sh: every byte as the plain implementation gives it; done in %s\n' "$(total_time)"
