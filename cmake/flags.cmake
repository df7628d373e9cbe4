# SPDX-License-Identifier: Apache-2.0
# ropekv_defaults(target): what every target of the project is built with, whatever a parent project
# or CMAKE_CXX_FLAGS say. A target's own options come last on the command line, and win.

# What the numeric contract needs. The first three forbid -ffast-math and -Ofast part by part:
# after -ffast-math, clang takes -fno-fast-math for a change of -ffp-contract, and warns.
#
# -ffp-contract=off: else g++ 12 fuses Highway's separate Mul and Add into one FMA, and results
# depend on the instruction set. -fsigned-char: with the other, g++ 12 folds a blend of bytes
# wrongly. -fexceptions: oneTBB and std::vector report their failures so.
set(contract_options
  -fno-unsafe-math-optimizations -fno-finite-math-only -ffp-contract=off
  -fsigned-char -fno-short-enums -fexceptions)
# Linked with -ffast-math or -Ofast, a program, and with g++ 12 a shared library too, sets the
# processor to flush subnormal numbers when it is loaded.
set(contract_link_options -fno-unsafe-math-optimizations -O2)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND contract_options -fno-single-precision-constant)
  list(APPEND contract_link_options -fno-fast-math)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND contract_options -mfpmath=sse)
endif()
# In one piece, or CMake drops what a parent's options have already, earlier and so in vain.
foreach(options contract_options contract_link_options)
  list(JOIN ${options} " " joined)
  set(${options} "SHELL:${joined}")
endforeach()

# A parent's warnings are for the parent's code: there, ours compiles without any.
set(warning_options -w)
if(PROJECT_IS_TOP_LEVEL)
  set(warning_options -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC bug 105329: false alarms on every std::string concatenation.
    list(APPEND warning_options -Wno-restrict)
  endif()
endif()

option(ROPEKV_WERROR "Treat compiler warnings as errors (the presets do)" OFF)
if(ROPEKV_WERROR)
  list(APPEND warning_options -Werror)
endif()

# What makes the most of a mistake in code that strangers' files, pointers and handles come to. Not
# in the kernels, which see only what has been checked, and whose time is what the library is for.
set(hardening_options -fstack-protector-strong
  $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE>
  $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND hardening_options -fstack-clash-protection -fcf-protection)
endif()
# No memory that is writable and executable; addresses of other libraries cannot be written over.
set(hardening_link_options -Wl,-z,noexecstack -Wl,-z,relro -Wl,-z,now)

function(ropekv_defaults target)
  target_compile_options(${target} PRIVATE ${contract_options} ${warning_options})
  target_link_options(${target} PRIVATE ${contract_link_options} ${hardening_link_options})
  if(NOT ROPEKV_SANITIZE AND NOT target STREQUAL "ropekv_kernels")
    target_compile_options(${target} PRIVATE ${hardening_options})
  endif()
  # Of the kernels there are many, and what they branch on is seen in the reference too. Comparisons
  # are not traced: that takes half of the time, for values that dictionaries and seeds have.
  if(ROPEKV_FUZZ AND NOT target STREQUAL "ropekv_kernels")
    target_compile_options(${target} PRIVATE
      -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp,stack-depth)
  endif()
  # Highway compiles a source once for each instruction set, and takes no second one along.
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
endfunction()

option(ROPEKV_FUZZ "Build tests/fuzz, and count branches for them; needs clang" OFF)
set(ROPEKV_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined or thread")
if(ROPEKV_SANITIZE)
  add_compile_options(-fsanitize=${ROPEKV_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ROPEKV_SANITIZE})
  if(ROPEKV_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
