#include "io/json_file.h"

#include <algorithm>
#include <utility>

#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

/// The deepest nesting of brackets outside strings; stops counting at `limit` + 1.
std::size_t nesting_depth(std::string_view text, std::size_t limit) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size() && deepest <= limit; ++i) {
    const char c = text[i];
    if (in_string) {
      i += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

base::StatusOr<json> parse_json(std::string_view text, std::string_view name,
                                const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return base::invalid_argument("{}: {} bytes of JSON are over the limit of {}", name,
                                  text.size(), limits.max_bytes);
  }
  if (nesting_depth(text, limits.max_depth) > limits.max_depth) {
    return base::invalid_argument("{}: objects and arrays are nested over {} deep", name,
                                  limits.max_depth);
  }
  try {
    return json::parse(text.begin(), text.end());
  } catch (const json::exception& error) {
    return base::invalid_argument("{}: not valid JSON: {}", name, error.what());
  }
}

base::StatusOr<json> load_json(std::string_view path, const JsonLimits& limits) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse_json(file.text(), path, limits);
}

std::string describe(const json& value) {
  constexpr std::size_t kShown = 60;
  if (value.is_object()) {
    return "an object";
  }
  if (value.is_array()) {
    return fmt::format("an array of {}", value.size());
  }
  if (value.is_null()) {
    return "null";
  }
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kShown) {
    text = text.substr(0, kShown) + "…";
  }
  return fmt::format("{} {}",
                     value.is_string()    ? "the string"
                     : value.is_boolean() ? "the boolean"
                                          : "the number",
                     text);
}

JsonReader::JsonReader(const json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) {
    status_ = base::invalid_argument("{}: expected an object, got {}", where_, describe(object_));
  }
}

void JsonReader::fail(std::string_view key, std::string_view expected, const json& got) {
  fail(fmt::format("'{}': expected {}, got {}", key, expected, describe(got)));
}

void JsonReader::fail(std::string_view text) {
  if (status_.ok()) {
    status_ = base::invalid_argument("{}: {}", where_, text);
  }
}

const json* JsonReader::find(const char* key, bool required) {
  if (!status_.ok()) {
    return nullptr;
  }
  const auto found = object_.find(key);
  if (found != object_.end() && !found->is_null()) {
    return &*found;
  }
  if (required) {
    fail(fmt::format("'{}' is missing", key));
  }
  return nullptr;
}

std::int64_t JsonReader::integer(const char* key, std::optional<std::int64_t> fallback,
                                 std::int64_t least, std::int64_t most) {
  if (const json* value = find(key, !fallback)) {
    // An unsigned number over int64's range would wrap when read as signed.
    const bool fits = value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->get<std::uint64_t>() <=
                           static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (fits && value->get<std::int64_t>() >= least && value->get<std::int64_t>() <= most) {
      return value->get<std::int64_t>();
    }
    fail(key, fmt::format("a whole number from {} to {}", least, most), *value);
  }
  return fallback.value_or(least);
}

double JsonReader::number(const char* key, std::optional<double> fallback, double least,
                          double most) {
  if (const json* value = find(key, !fallback)) {
    if (value->is_number() && value->get<double>() >= least && value->get<double>() <= most) {
      return value->get<double>();
    }
    fail(key, fmt::format("a number from {} to {}", least, most), *value);
  }
  return fallback.value_or(least);
}

std::optional<double> JsonReader::optional_number(const char* key, double least, double most) {
  return find(key, false) == nullptr ? std::nullopt
                                     : std::optional(number(key, std::nullopt, least, most));
}

bool JsonReader::boolean(const char* key, std::optional<bool> fallback) {
  if (const json* value = find(key, !fallback)) {
    if (value->is_boolean()) {
      return value->get<bool>();
    }
    fail(key, "true or false", *value);
  }
  return fallback.value_or(false);
}

std::optional<bool> JsonReader::optional_boolean(const char* key) {
  return find(key, false) == nullptr ? std::nullopt : std::optional(boolean(key, std::nullopt));
}

std::string JsonReader::string(const char* key, const std::optional<std::string>& fallback) {
  if (const json* value = find(key, !fallback)) {
    if (value->is_string()) {
      return value->get<std::string>();
    }
    fail(key, "a string", *value);
  }
  return fallback.value_or("");
}

std::string JsonReader::one_of(const char* key, const std::string& fallback,
                               const std::vector<std::string>& known) {
  const std::string value = string(key, fallback);
  if (ok() && std::find(known.begin(), known.end(), value) == known.end()) {
    fail(key, fmt::format("one of {}", fmt::join(known, ", ")), value);
    return fallback;
  }
  return value;
}

const json* JsonReader::object(const char* key) {
  const json* value = find(key, false);
  if (value != nullptr && !value->is_object()) {
    fail(key, "an object", *value);
    return nullptr;
  }
  return value;
}

const json* JsonReader::array(const char* key) {
  const json* value = find(key, false);
  if (value != nullptr && !value->is_array()) {
    fail(key, "an array", *value);
    return nullptr;
  }
  return value;
}

}  // namespace gamelan::io
