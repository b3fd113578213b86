#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace gamelan::io {

/// A file of the real data outside the project: in GAMELAN_DATA, else in ../shared/data beside the
/// project. It need not exist.
inline std::filesystem::path data_path(std::string_view name) {
  const char* set = std::getenv("GAMELAN_DATA");
  const std::filesystem::path beside = std::filesystem::path(GAMELAN_SOURCE_DIR) / "../shared/data";
  return (set != nullptr ? std::filesystem::path(set) : beside) / name;
}

#define SKIP_WITHOUT(path)                                \
  if (!std::filesystem::exists(path)) {                   \
    GTEST_SKIP() << "needs the file " << (path).string(); \
  }                                                       \
  static_assert(true)

}  // namespace gamelan::io
