# gamelan_library(NAME SOURCES... DEPENDS... LINKS...)
#   A layer of src/: static library `gamelan_NAME`, alias `gamelan::NAME`.
#   DEPENDS are other layers, LINKS are foreign targets.
function(gamelan_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINKS" ${ARGN})
  set(target gamelan_${name})
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE gamelan_flags)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(gamelan::${name} ALIAS ${target})
  target_include_directories(${target} ${scope} "${PROJECT_SOURCE_DIR}/src")
  foreach(layer IN LISTS ARG_DEPENDS)
    target_link_libraries(${target} ${scope} gamelan::${layer})
  endforeach()
  target_link_libraries(${target} ${scope} ${ARG_LINKS})
endfunction()

# gamelan_test(NAME DEPENDS... LINKS... [LABELS...] [TIMEOUT seconds])
#   Builds every *_test.cc of the calling folder (the directory rule) into one program and registers
#   each of its cases with ctest.
function(gamelan_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "DEPENDS;LINKS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc")
  set(target gamelan_${name}_test)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE gamelan_flags gamelan_test_support ${ARG_LINKS})
  foreach(layer IN LISTS ARG_DEPENDS)
    target_link_libraries(${target} PRIVATE gamelan::${layer})
  endforeach()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  gtest_discover_tests(${target}
    TEST_PREFIX "${name}/"
    DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  set_property(GLOBAL APPEND PROPERTY GAMELAN_TEST_SOURCES ${sources})
endfunction()
