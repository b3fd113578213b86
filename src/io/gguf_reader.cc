// Typed reads of io/gguf_file.h.
#include <cmath>

#include "io/gguf_file.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

std::string describe(const GgufValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return fmt::format("{}", *integer);
  }
  if (const auto* number = std::get_if<double>(&value)) {
    return fmt::format("{}", *number);
  }
  if (const auto* boolean = std::get_if<bool>(&value)) {
    return *boolean ? "true" : "false";
  }
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    return fmt::format("'{}'", text::replace_invalid_utf8(text->substr(0, 60)));
  }
  return fmt::format("an array of {} elements", std::get<GgufArray>(value).count);
}

}  // namespace

void GgufReader::fail(std::string_view key, std::string_view expected, std::string_view got) {
  if (status_.ok()) {
    status_ =
        base::invalid_argument("{}: '{}': expected {}, got {}", file_.name(), key, expected, got);
  }
}

template <class T>
const T* GgufReader::get(std::string_view key, std::string_view expected, bool required) {
  const GgufValue* const value = file_.find(key);
  if (value == nullptr) {
    if (required) {
      fail(key, expected, "nothing");
    }
    return nullptr;
  }
  const T* const typed = std::get_if<T>(value);
  if (typed == nullptr) {
    fail(key, expected, describe(*value));
  }
  return typed;
}

std::int64_t GgufReader::integer(std::string_view key, std::optional<std::int64_t> fallback,
                                 std::int64_t least, std::int64_t most) {
  const std::string expected = fmt::format("a whole number from {} to {}", least, most);
  const auto* const value = get<std::int64_t>(key, expected, !fallback.has_value());
  if (value != nullptr && (*value < least || *value > most)) {
    fail(key, expected, fmt::format("{}", *value));
    return least;
  }
  return value == nullptr ? fallback.value_or(least) : *value;
}

std::optional<std::int64_t> GgufReader::optional_integer(std::string_view key, std::int64_t least,
                                                         std::int64_t most) {
  return file_.find(key) == nullptr ? std::nullopt
                                    : std::optional(integer(key, std::nullopt, least, most));
}

double GgufReader::number(std::string_view key, std::optional<double> fallback) {
  const auto* const value = get<double>(key, "a finite number", !fallback.has_value());
  if (value != nullptr && !std::isfinite(*value)) {
    fail(key, "a finite number", describe(*value));
    return fallback.value_or(0);
  }
  return value == nullptr ? fallback.value_or(0) : *value;
}

bool GgufReader::boolean(std::string_view key, bool fallback) {
  const auto* const value = get<bool>(key, "true or false", false);
  return value == nullptr ? fallback : *value;
}

std::string GgufReader::text(std::string_view key, const std::optional<std::string>& fallback) {
  const auto* const value = get<std::string_view>(key, "a string", !fallback.has_value());
  return value == nullptr ? fallback.value_or("") : std::string(*value);
}

const GgufArray* GgufReader::array(std::string_view key) {
  return get<GgufArray>(key, "an array", false);
}

}  // namespace gamelan::io
