# SPDX-License-Identifier: Apache-2.0
# ropekv_defaults(target): the flags every target of the project is built with.
#
# -ffp-contract=off is part of the numeric contract: without it g++ 12 fuses Highway's separate Mul
# and Add into one FMA, and results would depend on the instruction set.
function(ropekv_defaults target)
  target_compile_options(${target} PRIVATE
    -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC bug 105329: false alarms on every std::string concatenation.
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(ROPEKV_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

option(ROPEKV_WERROR "Treat compiler warnings as errors (the presets do)" OFF)
set(ROPEKV_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined or thread")
if(ROPEKV_SANITIZE)
  add_compile_options(-fsanitize=${ROPEKV_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ROPEKV_SANITIZE})
  if(ROPEKV_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
