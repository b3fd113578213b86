# Finds LibTorch and defines the imported target `LibTorch::cpu`.
#
# Looked for in this order:
#   1. what the user points at: Torch_DIR, or a CMAKE_PREFIX_PATH entry that holds LibTorch;
#   2. an installed Python package `torch` of version 2.7 or newer, asked through `python3`;
#   3. the pinned wheel that tools/fetch_libtorch.sh unpacked into the cache.
#
# `find_package(Torch)` is not used: the configuration inside the wheel demands a CUDA toolkit, while
# libtorch_cpu and libc10 need only the CUDA runtime libraries that lie beside them.
#
# Sets LibTorch_FOUND, LibTorch_ROOT, LibTorch_VERSION.

set(_libtorch_hints "")
if(Torch_DIR)
  # <root>/share/cmake/Torch
  get_filename_component(_root "${Torch_DIR}/../../.." ABSOLUTE)
  list(APPEND _libtorch_hints "${_root}")
endif()
foreach(_prefix IN LISTS CMAKE_PREFIX_PATH)
  list(APPEND _libtorch_hints "${_prefix}" "${_prefix}/torch" "${_prefix}/libtorch")
endforeach()

function(_libtorch_try root result)
  set(${result} FALSE PARENT_SCOPE)
  if(EXISTS "${root}/lib/libtorch_cpu.so" AND EXISTS "${root}/include/ATen/ATen.h")
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()

function(_libtorch_version root result)
  set(${result} "0" PARENT_SCOPE)
  foreach(_header "${root}/include/torch/headeronly/version.h"
                  "${root}/include/torch/csrc/api/include/torch/version.h")
    if(EXISTS "${_header}")
      file(READ "${_header}" _text)
      if(_text MATCHES "define TORCH_VERSION_MAJOR ([0-9]+).*define TORCH_VERSION_MINOR ([0-9]+).*define TORCH_VERSION_PATCH ([0-9]+)")
        set(${result} "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
endfunction()

set(LibTorch_ROOT "")
foreach(_hint IN LISTS _libtorch_hints)
  _libtorch_try("${_hint}" _ok)
  if(_ok)
    set(LibTorch_ROOT "${_hint}")
    break()
  endif()
endforeach()

if(NOT LibTorch_ROOT)
  execute_process(
    COMMAND python3 -c
      "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s and s.origin else '')"
    OUTPUT_VARIABLE _python_root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(_python_root)
    _libtorch_try("${_python_root}" _ok)
    _libtorch_version("${_python_root}" _version)
    if(_ok AND _version VERSION_GREATER_EQUAL 2.7)
      set(LibTorch_ROOT "${_python_root}")
    endif()
  endif()
endif()

if(NOT LibTorch_ROOT)
  execute_process(
    COMMAND "${CMAKE_CURRENT_LIST_DIR}/../tools/fetch_libtorch.sh" --print-root
    OUTPUT_VARIABLE _cache_root OUTPUT_STRIP_TRAILING_WHITESPACE)
  _libtorch_try("${_cache_root}" _ok)
  if(_ok)
    set(LibTorch_ROOT "${_cache_root}")
  endif()
endif()

if(LibTorch_ROOT)
  _libtorch_version("${LibTorch_ROOT}" LibTorch_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE
    "LibTorch 2.7 or newer was found neither through CMAKE_PREFIX_PATH or Torch_DIR, nor as a Python package, nor in the cache. Run tools/fetch_libtorch.sh, or configure with -DGAMELAN_BUILD_TRAIN=OFF.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  # After the system's folders: the wheel brings headers of its own fmt, oneDNN and protobuf, whose
  # versions are not those of the libraries that this project links.
  target_compile_options(LibTorch::cpu INTERFACE
    "SHELL:-idirafter \"${LibTorch_ROOT}/include/torch/csrc/api/include\""
    "SHELL:-idirafter \"${LibTorch_ROOT}/include\"")
  set_target_properties(LibTorch::cpu PROPERTIES
    INTERFACE_LINK_OPTIONS
      "-Wl,--disable-new-dtags;-Wl,-rpath,${LibTorch_ROOT}/lib;-Wl,--allow-shlib-undefined"
    INTERFACE_LINK_LIBRARIES
      "${LibTorch_ROOT}/lib/libtorch_cpu.so;${LibTorch_ROOT}/lib/libc10.so")
endif()
