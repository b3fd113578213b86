#pragma once

// Reading JSON that somebody else wrote: bounded in size and depth, and with messages that name the
// file, the key, what was expected and what came. Include it in .cc files only: it brings
// nlohmann's header along.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;
  /// Objects and arrays inside each other.
  std::size_t max_depth = 64;
};

/// `name` stands for the file in messages. Fails on bytes after the value and on invalid UTF-8.
base::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view name,
                                          const JsonLimits& limits = {});

base::StatusOr<nlohmann::json> load_json(std::string_view path, const JsonLimits& limits = {});

/// "an object", "the number 7", "the string \"x\"": a JSON value in a message.
std::string describe(const nlohmann::json& value);

/// Typed reads from one JSON object. The first mistake is kept and later reads give defaults, so
/// that a caller reads everything and then looks at `status()` once. Null counts as absent. Not
/// thread-safe; the object must outlive the reader.
class JsonReader {
 public:
  /// `where` names the object in messages, e.g. "model/config.json".
  JsonReader(const nlohmann::json& object, std::string where);

  /// A whole number in [least, most]; `fallback` when absent, a mistake when there is none.
  std::int64_t integer(const char* key, std::optional<std::int64_t> fallback, std::int64_t least,
                       std::int64_t most);
  double number(const char* key, std::optional<double> fallback, double least, double most);
  std::optional<double> optional_number(const char* key, double least, double most);
  bool boolean(const char* key, std::optional<bool> fallback);
  std::optional<bool> optional_boolean(const char* key);
  std::string string(const char* key, const std::optional<std::string>& fallback);
  /// A string out of `known`; the message lists them.
  std::string one_of(const char* key, const std::string& fallback,
                     const std::vector<std::string>& known);
  /// The member, an object; nullptr when absent.
  const nlohmann::json* object(const char* key);
  const nlohmann::json* array(const char* key);

  /// Adds a mistake of the caller's own finding.
  void fail(std::string_view key, std::string_view expected, const nlohmann::json& got);
  void fail(std::string_view text);

  const base::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  const std::string& where() const { return where_; }

 private:
  /// nullptr when absent or null; a mistake when that is not allowed.
  const nlohmann::json* find(const char* key, bool required);

  const nlohmann::json& object_;
  std::string where_;
  base::Status status_;
};

}  // namespace gamelan::io
