#include "io/gguf_parts.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace gamelan::io {
namespace {

constexpr std::int64_t kMaxParts = std::numeric_limits<std::uint16_t>::max();
constexpr std::string_view kEnding = "-#####-of-#####.gguf";  // # is a digit

std::string ending_of(std::int64_t number, std::int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number, count);
}

bool is_named_as_part(std::string_view path) {
  const auto fits = [](char form, char c) {
    return form == '#' ? c >= '0' && c <= '9' : form == c;
  };
  return path.size() >= kEnding.size() &&
         std::equal(kEnding.rbegin(), kEnding.rend(), path.rbegin(), fits);
}

/// `number` counts from 1, `split.no` from 0.
base::Status check_part(const GgufFile& file, std::int64_t number, std::int64_t count) {
  GgufReader reader(file);
  const std::int64_t got_number = reader.integer("split.no", std::nullopt, 0, kMaxParts) + 1;
  const std::int64_t got_count = reader.integer("split.count", std::nullopt, 0, kMaxParts);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (got_number != number || got_count != count) {
    return base::data_loss("{}: expected part {} of {}, got part {} of {}", file.name(), number,
                           count, got_number, got_count);
  }
  return base::OkStatus();
}

base::Status append_part(const std::string& path, std::int64_t number, std::int64_t count,
                         GgufParts& parts) {
  GAMELAN_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(path));
  GAMELAN_ASSIGN_OR_RETURN(GgufFile file, GgufFile::parse(mapped.bytes(), path));
  GAMELAN_RETURN_IF_ERROR(check_part(file, number, count));
  parts.mapped.push_back(std::move(mapped));
  return parts.file.append(std::move(file));
}

base::Status check_tensor_count(const GgufFile& file, std::int64_t parts) {
  GgufReader reader(file);
  const std::int64_t expected = reader.integer("split.tensors.count", std::nullopt, 0,
                                               std::numeric_limits<std::int32_t>::max());
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (std::cmp_not_equal(file.tensors().size(), expected)) {
    return base::data_loss("{}: expected {} tensors in its {} parts, got {}", file.name(), expected,
                           parts, file.tensors().size());
  }
  return base::OkStatus();
}

}  // namespace

std::string first_gguf_part(std::string_view path) {
  std::string first(path);
  if (is_named_as_part(path)) {
    first.replace(path.size() - kEnding.size() + 1, 5, "00001");
  }
  return first;
}

base::StatusOr<std::int64_t> count_gguf_parts(const GgufFile& file) {
  GgufReader reader(file);
  const std::int64_t count = reader.integer("split.count", 1, 0, kMaxParts);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return std::max<std::int64_t>(1, count);
}

base::StatusOr<GgufParts> open_first_gguf_part(std::string_view path) {
  const std::string first = first_gguf_part(path);
  GgufParts parts;
  GAMELAN_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(first));
  GAMELAN_ASSIGN_OR_RETURN(parts.file, GgufFile::parse(mapped.bytes(), first));
  parts.mapped.push_back(std::move(mapped));
  return parts;
}

base::StatusOr<GgufParts> open_gguf_parts(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(GgufParts parts, open_first_gguf_part(path));
  const std::string first = parts.file.name();
  GAMELAN_ASSIGN_OR_RETURN(const std::int64_t count, count_gguf_parts(parts.file));
  if (count == 1) {
    return parts;
  }
  GAMELAN_RETURN_IF_ERROR(check_part(parts.file, 1, count));
  const std::string ending = ending_of(1, count);
  if (!first.ends_with(ending)) {
    return base::invalid_argument(
        "{}: expected a name that ends in '{}', since the others are found by it", first, ending);
  }
  const std::string stem = first.substr(0, first.size() - ending.size());
  for (std::int64_t number = 2; number <= count; ++number) {
    GAMELAN_RETURN_IF_ERROR(append_part(stem + ending_of(number, count), number, count, parts));
  }
  GAMELAN_RETURN_IF_ERROR(check_tensor_count(parts.file, count));
  return parts;
}

}  // namespace gamelan::io
