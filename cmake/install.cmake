# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` gives besides the command: the headers, the library, and the two ways to
# find them, find_package(ropekv) and pkg-config. All paths are relative to the installed files, so
# the prefix may be moved afterwards.
option(ROPEKV_INSTALL "Install the library" ${PROJECT_IS_TOP_LEVEL})
if(NOT ROPEKV_INSTALL)
  return()
endif()
include(CMakePackageConfigHelpers)

# A shared library brings its dependencies along; whoever links the static one must name them.
get_target_property(library_type ropekv TYPE)
set(pc_requires_private "")
if(library_type STREQUAL "STATIC_LIBRARY")
  set(pc_requires_private "Requires.private: tbb >= 2021, libhwy >= 1.0.3\n")
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ropekv)
install(DIRECTORY include/ropekv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ropekv EXPORT ropekv
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT ropekv FILE ropekv-targets.cmake NAMESPACE ropekv:: DESTINATION ${package_dir})
configure_package_config_file(
  cmake/ropekv-config.cmake.in ${PROJECT_BINARY_DIR}/ropekv-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may break the interface.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/ropekv-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/ropekv-config.cmake ${PROJECT_BINARY_DIR}/ropekv-config-version.cmake
  DESTINATION ${package_dir})

set(pc_dir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_libdir ${pc_dir} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH pc_includedir ${pc_dir} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(cmake/ropekv.pc.in ${PROJECT_BINARY_DIR}/ropekv.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ropekv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
