# SPDX-License-Identifier: Apache-2.0
# Generates, from exports.txt:
#   entries.S       in the real library: a table of the functions' addresses
#   forward.S       in each thin library: one function a name, which jumps through that table
#   *.map           version scripts, so that nothing else is exported
#
# A thin library has to define the names itself: what a library merely depends on (DT_NEEDED) does
# not satisfy the references of a program that is linked with that library only. And it must not
# define them by a copy of the code, since a process has one set of streams and allocations.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # endbr64 as the compiler would put it, for programs that run with indirect branch tracking.
  set(jump "  endbr64\n  movq ropekv_acl_entries@GOTPCREL(%rip), %r11\n  jmp *@offset@(%r11)\n")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # x16 may be used between a call and its target; hint #34 is bti c.
  string(CONCAT jump
    "  hint #34\n  adrp x16, :got:ropekv_acl_entries\n"
    "  ldr x16, [x16, :got_lo12:ropekv_acl_entries]\n"
    "  ldr x16, [x16, #@offset@]\n  br x16\n")
else()
  message(FATAL_ERROR "ropekv: the aclnn libraries are for x86-64 and aarch64")
endif()

enable_language(ASM)
set(note "  .section .note.GNU-stack,\"\",%progbits\n")
set(entries "  .section .data.rel.ro,\"aw\",%progbits\n  .balign 8\n  .globl ropekv_acl_entries\n")
string(APPEND entries "  .type ropekv_acl_entries, %object\nropekv_acl_entries:\n")
set(forward "  .text\n")
set(names "")
set(offset 0)
foreach(name ${exports})
  string(APPEND entries "  .quad ${name}\n")
  string(REPLACE "@offset@" "${offset}" body "${jump}")
  string(APPEND forward
    "  .globl ${name}\n  .type ${name}, %function\n  .balign 16\n${name}:\n${body}"
    "  .size ${name}, .-${name}\n")
  string(APPEND names "    ${name};\n")
  math(EXPR offset "${offset} + 8")
endforeach()
string(APPEND entries "  .size ropekv_acl_entries, ${offset}\n${note}")
string(APPEND forward "${note}")

file(CONFIGURE OUTPUT ${generated}/entries.S CONTENT "${entries}")
file(CONFIGURE OUTPUT ${generated}/forward.S CONTENT "${forward}")
file(CONFIGURE OUTPUT ${generated}/ropekv_acl.map
     CONTENT "{\n  global:\n    ropekv_acl_entries;\n${names}  local: *;\n};\n")
file(CONFIGURE OUTPUT ${generated}/forward.map CONTENT "{\n  global:\n${names}  local: *;\n};\n")
