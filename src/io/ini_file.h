#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

/// An .ini file as Python's configparser writes it: `[section]` lines, `key=value` or
/// `key = value`, comments that begin with '#' or ';'. Keys are case-insensitive and kept in lower
/// case. Immutable after parsing; const methods are thread-safe.
class IniFile {
 public:
  using Entries = std::vector<std::pair<std::string, std::string>>;

  /// `name` stands for the file in messages, which give the line. Fails on lines of another form,
  /// keys outside of a section, sections or keys that occur twice, and more than 1 MiB.
  static base::StatusOr<IniFile> parse(std::string_view text, std::string_view name);
  static base::StatusOr<IniFile> load(std::string_view path);

  /// The section's keys and values in the file's order; nullptr when there is no such section.
  const Entries* section(std::string_view name) const;
  /// The value of a key in lower case; nullopt when there is no such key.
  std::optional<std::string> find(std::string_view section, std::string_view key) const;

 private:
  std::vector<std::pair<std::string, Entries>> sections_;
};

}  // namespace gamelan::io
