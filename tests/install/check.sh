#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check.sh STEP static|shared: one step of the installation tests. CMakeLists.txt beside this file
# says in which order they run, and sets the environment.
set -euo pipefail

step=$1
type=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=$WORK/$type-prefix
shared=$([[ $type == shared ]] && echo ON || echo OFF)
# What this test installs, not what the machine may have.
unset CMAKE_PREFIX_PATH PKG_CONFIG_PATH LD_LIBRARY_PATH ropekv_DIR

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# Installs a build, then moves the prefix: nothing in it may remember where it was.
stage() {
  rm -rf "$prefix" "$prefix.before"
  "$CMAKE" --install "$1" --prefix "$prefix.before" >"$WORK/install-$type.log"
  mv "$prefix.before" "$prefix"
  if grep -rIl -e "$prefix.before" -e "$ROPEKV_BUILD" -e "$ROPEKV_SOURCE" "$prefix"; then
    fail "these installed files name the folders of the build"
  fi
}

# Runs the README's example.
run_example() {
  local output
  output=$("$@") || fail "$* failed"
  echo "$output"
  [[ $output == "slot 37 of k_cache begins with 4" ]] || fail "$* printed something else"
}

configure_and_build() {
  local build=$1
  shift
  "$CMAKE" "$@" -B "$build" -G "$GENERATOR" -DCMAKE_CXX_COMPILER="$CXX"
  "$CMAKE" --build "$build" --parallel 2
}

case $step in
  stage_this)
    stage "$ROPEKV_BUILD"
    if [[ -e $prefix/bin/ropekv ]]; then
      version=$("$prefix/bin/ropekv" --version)
      [[ $version == "$ROPEKV_VERSION" ]] || fail "the command says it is version '$version'"
    fi
    ;;
  subproject)
    rm -rf "$WORK/subproject"
    CXX=clang++ configure_and_build "$WORK/subproject" -S "$here/subproject" \
      -DCMAKE_BUILD_TYPE=Debug \
      -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DBUILD_SHARED_LIBS="$shared" -DEXAMPLE="$ROPEKV_EXAMPLE" \
      -DROPEKV_SOURCE="$ROPEKV_SOURCE" -DROPEKV_INSTALL=ON
    run_example "$WORK/subproject/consumer"
    "$WORK/subproject/bytes"
    if grep -e -Wconversion "$WORK/subproject/compile_commands.json"; then
      fail "the library's own warnings are on in another project"
    fi
    ;;
  stage_subproject)
    stage "$WORK/subproject"
    ;;
  find_package)
    options=(-Dropekv_ROOT="$prefix" -DEXAMPLE="$ROPEKV_EXAMPLE" -DVERSION="$ROPEKV_VERSION")
    # A shared library's consumer needs no development files of the dependencies.
    if [[ $type == shared ]]; then
      options+=(-DCMAKE_DISABLE_FIND_PACKAGE_TBB=ON -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON)
    fi
    rm -rf "$WORK/find_package-$type"
    configure_and_build "$WORK/find_package-$type" -S "$here/find_package" "${options[@]}"
    run_example "$WORK/find_package-$type/consumer"
    "$WORK/find_package-$type/bytes"
    ;;
  unknown_component)
    if output=$(configure_and_build "$WORK/unknown_component" -S "$here/find_package" \
      -Dropekv_ROOT="$prefix" -DEXAMPLE="$ROPEKV_EXAMPLE" -DCOMPONENTS=npu 2>&1); then
      fail "find_package(ropekv COMPONENTS npu) succeeds"
    fi
    [[ $output == *"no component called 'npu'"* ]] || fail "$output"
    ;;
  other_processors)
    for processor in i686-linux-gnu x86_64-linux-gnux32 powerpc64-linux-gnu aarch64_be-linux-gnu; do
      rm -rf "$WORK/processor"
      # Nothing is linked, for want of these processors' libraries.
      if output=$("$CMAKE" -S "$ROPEKV_SOURCE" -B "$WORK/processor" -G "$GENERATOR" \
        -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
        -DCMAKE_C_COMPILER=clang -DCMAKE_C_COMPILER_TARGET="$processor" \
        -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_COMPILER_TARGET="$processor" 2>&1); then
        fail "configures for $processor"
      fi
      [[ $output == *"ropekv needs a 64-bit little-endian processor"* ]] || fail "$output"
    done
    ;;
  pkg_config)
    pc_dir=$(dirname "$(find "$prefix" -name ropekv.pc)")
    libdir=$(dirname "$pc_dir")
    if [[ $type == shared ]]; then
      # Only ropekv.pc is visible: it must not ask for another.
      read -ra flags <<<"$(PKG_CONFIG_LIBDIR=$pc_dir pkg-config --cflags --libs ropekv)"
    else
      read -ra flags <<<"$(PKG_CONFIG_PATH=$pc_dir pkg-config --cflags --libs --static ropekv)"
    fi
    version=$(PKG_CONFIG_PATH=$pc_dir pkg-config --modversion ropekv)
    [[ $version == "$ROPEKV_VERSION" ]] || fail "ropekv.pc says it is version '$version'"
    set -x
    "$CXX" -std=c++20 -Wall -Wextra -Werror "$ROPEKV_EXAMPLE" -o "$WORK/pkg_config-$type" \
      "${flags[@]}"
    run_example env LD_LIBRARY_PATH="$libdir" "$WORK/pkg_config-$type"
    ;;
  headers)
    # Each compiles alone, and twice, for programs with any standard from C++20 on and any warning.
    count=0
    while read -r header; do
      for standard in c++20 c++2b; do
        echo "$header, $standard"
        printf '#include "%s"\n' "$header" "$header" >"$WORK/header.cc"
        "$CXX" -std=$standard -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion \
          -Wsign-conversion -Wshadow -Wold-style-cast -Werror -I "$prefix/include" "$WORK/header.cc"
        clang++ -std=$standard -fsyntax-only -fno-exceptions -fno-rtti -Weverything \
          -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-pre-c++20-compat-pedantic -Wno-padded \
          -Werror -I "$prefix/include" "$WORK/header.cc"
      done
      count=$((count + 1))
    done < <(cd "$prefix/include" && find . -type f -printf '%P\n' | sort)
    [[ $count -gt 0 ]] || fail "no headers"
    diff -r "$ROPEKV_SOURCE/include" "$prefix/include"
    ;;
  exported_symbols)
    library=$(find "$prefix" -name 'libropekv.so')
    python3 "$here/exported_symbols.py" "$library" "$prefix/include"
    python3 "$here/../hardening/hardened.py" "$library"
    ;;
  leaked_symbol)
    # The check above must notice a library that exports more than its headers declare.
    echo 'namespace ropekv::internal { void Run() {} }' |
      "$CXX" -shared -fPIC -o "$WORK/libleaky.so" -x c++ -
    if python3 "$here/exported_symbols.py" "$WORK/libleaky.so" "$prefix/include"; then
      fail "a leaked symbol went unnoticed"
    fi
    ;;
  *)
    fail "no step $step"
    ;;
esac
