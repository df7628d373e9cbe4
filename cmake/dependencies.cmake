# SPDX-License-Identifier: Apache-2.0
# What the library is built with, and what to do where it is not there.
function(ropekv_missing what debian_package)
  message(FATAL_ERROR "ropekv needs ${what} or newer, which was not found. On Debian, "
    "`bash scripts/setup.sh` installs it (${debian_package}) with all the rest.")
endfunction()

# A macro: what find_package sets is for the caller.
macro(ropekv_find name version debian_package)
  find_package(${name} ${version} QUIET)
  if(NOT ${name}_FOUND)
    ropekv_missing("${name} ${version}" ${debian_package})
  endif()
endmacro()

ropekv_find(TBB 2021 libtbb-dev)
ropekv_find(PkgConfig 0.29 pkg-config)
pkg_check_modules(HWY QUIET IMPORTED_TARGET libhwy>=1.0.3)
if(NOT HWY_FOUND)
  ropekv_missing("Highway 1.0.3" libhwy-dev)
endif()
