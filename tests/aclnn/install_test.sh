#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the toolkit root into a temporary prefix and uses it as programs for Ascend do.
# Usage: install_test.sh <cmake> <build dir> <source dir> <toolkit dir in the prefix> <c> <c++>
set -euo pipefail
cmake=$1 build=$2 source=$3 toolkit=$4 cc=$5 cxx=$6

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/prefix" --component ascend >"$work/install.log"
unset LD_LIBRARY_PATH ASCEND_HOME_PATH ASCEND_OPP_PATH
root=$work/prefix/$toolkit
thin="ascendcl acl_rt nnopbase opapi opapi_transformer"
warnings="-Wall -Wextra -Werror"
failures=0

# check <what> <command...>
check() {
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "ok: $what"
  else
    echo "FAILED: $what: $*"
    cat "$work/log"
    failures=$((failures + 1))
  fi
}

exports() { nm -D --defined-only "$1" | awk '{print $3}' | LC_ALL=C sort; }
soname_is() { readelf -d "$1" | grep -q "(SONAME).*\[$2\]"; }
needs_the_real_one() { readelf -d "$1" | grep -q '(NEEDED).*\[libropekv_acl.so\]'; }

# --- Exactly the intended names, from every library.
LC_ALL=C sort "$source/frontends/aclnn/exports.txt" >"$work/names"
for name in $thin; do
  library=$root/lib64/lib$name.so
  exports "$library" >"$work/found"
  check "lib$name.so exports exactly the interface" diff "$work/names" "$work/found"
  check "lib$name.so has its own SONAME" soname_is "$library" "lib$name.so"
  check "lib$name.so needs libropekv_acl.so" needs_the_real_one "$library"
done
exports "$root/lib64/libropekv_acl.so" | grep -vx ropekv_acl_entries >"$work/found"
check "libropekv_acl.so exports the interface and its table" diff "$work/names" "$work/found"
exports "$root/lib64/libhccl.so" >"$work/found"
check "libhccl.so exports nothing" diff /dev/null "$work/found"

# --- Each header alone, in the oldest languages.
(cd "$root/include" && find . -name '*.h' | sed 's|^\./||') >"$work/headers"
check "there are headers" test "$(wc -l <"$work/headers")" -eq 11
while read -r header; do
  printf '#include "%s"\ntypedef int not_empty;\n' "$header" >"$work/header.c"
  cp "$work/header.c" "$work/header.cc"
  check "$header in C99" "$cc" -std=c99 -pedantic-errors $warnings -I"$root/include" -c \
    "$work/header.c" -o /dev/null
  check "$header in C++11" "$cxx" -std=c++11 -pedantic-errors $warnings -I"$root/include" -c \
    "$work/header.cc" -o /dev/null
done <"$work/headers"

# --- Every function links from any of the libraries, before any environment is set.
{
  sed 's/.*/extern void &(void);/' "$work/names"
  echo 'void (*volatile used[])(void) = {'
  sed 's/.*/  &,/' "$work/names"
  echo '}; int main(void) { return used[0] == 0; }'
} >"$work/all.c"
subsets=("")
for name in $thin; do
  for subset in "${subsets[@]}"; do subsets+=("$subset -l$name"); done
done
check "there are 31 subsets" test "${#subsets[@]}" -eq 32
for subset in "${subsets[@]:1}"; do
  # shellcheck disable=SC2086
  check "all functions from$subset" "$cc" -fno-builtin "$work/all.c" -o "$work/all" \
    -L"$root/lib64" -Wl,--no-undefined -Wl,--as-needed $subset "-Wl,-rpath,$root/lib64"
  check "... run" "$work/all"
done

# --- By name, in a program that is linked with none of them.
{
  echo '#include <dlfcn.h>'
  echo '#include <stdio.h>'
  echo 'static const char *const names[] = {'
  sed 's/.*/  "&",/' "$work/names"
  echo '};'
  cat <<'EOF'
int main(int argc, char **argv) {
  void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return puts(dlerror()), 1;
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; ++i) {
    if (dlsym(library, names[i]) == NULL) return puts(names[i]), 1;
  }
  return 0;
}
EOF
} >"$work/by_name.c"
check "a program that links none" "$cc" "$work/by_name.c" -o "$work/by_name" -ldl
for name in $thin; do
  check "all names in lib$name.so alone" "$work/by_name" "$root/lib64/lib$name.so"
done

# --- The documented command line and the documented CMake variables.
# shellcheck source=/dev/null
source "$root/set_env.sh"
check "set_env.sh sets ASCEND_HOME_PATH" test "$ASCEND_HOME_PATH" -ef "$root"
check "a version file" grep -q '^Version=' "$ASCEND_HOME_PATH/share/info/runtime/version.info"
for example in two_phase paged_decode two_streams; do
  check "g++ $example" "$cxx" -std=c++11 $warnings "$source/examples/aclnn/$example.cpp" \
    -I "$ASCEND_HOME_PATH/include" -I "$ASCEND_HOME_PATH/include/aclnn" \
    -I "$ASCEND_OPP_PATH/include/aclnnop" -L "$ASCEND_OPP_PATH/lib64" \
    -L "$ASCEND_HOME_PATH/lib64" -lopapi -lopapi_transformer -lascendcl -lnnopbase -lpthread \
    -lhccl -o "$work/$example"
  check "run $example" "$work/$example"
  check "run $example with the checker, silently" \
    bash -c "test -z \"\$(ROPEKV_CHECK=1 '$work/$example' 2>&1 >'$work/out')\""
done
check "cc all_headers.c" "$cc" -std=c99 -pedantic-errors $warnings \
  "$source/examples/aclnn/all_headers.c" -I "$ASCEND_HOME_PATH/include" \
  -L "$ASCEND_HOME_PATH/lib64" -lopapi -lascendcl -o "$work/all_headers"
check "run all_headers" "$work/all_headers"
check "cmake configures the examples" "$cmake" -S "$source/examples/aclnn" -B "$work/examples" \
  "-DCMAKE_C_COMPILER=$cc" "-DCMAKE_CXX_COMPILER=$cxx"
check "cmake builds them" "$cmake" --build "$work/examples"
for example in two_phase paged_decode two_streams all_headers; do
  check "run $example from cmake" "$work/examples/$example"
done

echo "$failures failures"
test "$failures" -eq 0
