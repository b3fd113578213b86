#include "io/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "io/safetensors_header.h"

namespace gamelan::io {
namespace {

using tensor::DType;

// The reference library's own order of its types, from the last to the first: widths descend, so
// data that starts aligned stays aligned.
constexpr std::array<DType, tensor::kDTypeCount> kFileOrder = {
    DType::kI64, DType::kF64, DType::kF32, DType::kI32, DType::kBF16,
    DType::kF16, DType::kI16, DType::kI8,  DType::kU8,  DType::kBool};

std::ptrdiff_t rank_of(DType dtype) {
  return std::find(kFileOrder.begin(), kFileOrder.end(), dtype) - kFileOrder.begin();
}

/// A JSON string literal; nullopt when `text` is not UTF-8.
std::optional<std::string> quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

base::StatusOr<std::string> metadata_json(std::string_view path,
                                          const SafetensorsMetadata& metadata) {
  std::string json;
  for (const auto& [key, value] : metadata) {
    const std::optional<std::string> quoted_key = quoted(key);
    const std::optional<std::string> quoted_value = quoted(value);
    if (!quoted_key || !quoted_value) {
      return base::invalid_argument("write {}: metadata '{}' is not valid UTF-8", path, key);
    }
    json += fmt::format("{}{}:{}", json.empty() ? "" : ",", *quoted_key, *quoted_value);
  }
  return fmt::format("\"__metadata__\":{{{}}}", json);
}

/// Sorts `tensors` into file order and makes the header, padded so that the data start at a
/// multiple of 8 bytes.
base::StatusOr<std::string> make_header(std::string_view path,
                                        std::vector<SafetensorsSpec>& tensors,
                                        const SafetensorsMetadata& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsSpec& a, const SafetensorsSpec& b) {
    return std::pair(rank_of(a.dtype), std::string_view(a.name)) <
           std::pair(rank_of(b.dtype), std::string_view(b.name));
  });
  std::string header = "{";
  if (!metadata.empty()) {
    GAMELAN_ASSIGN_OR_RETURN(const std::string json, metadata_json(path, metadata));
    header += json;
  }
  std::uint64_t offset = 0;
  for (const SafetensorsSpec& spec : tensors) {
    const std::optional<std::string> name = quoted(spec.name);
    if (!name || spec.name == "__metadata__") {
      return base::invalid_argument("write {}: '{}' cannot be a tensor's name", path, spec.name);
    }
    const std::optional<std::uint64_t> size = checked_size_bytes(spec.dtype, spec.shape);
    std::uint64_t end = 0;
    if (!size || __builtin_add_overflow(offset, *size, &end)) {
      return base::invalid_argument("write {}: tensor '{}': shape {} is negative or too large",
                                    path, spec.name, tensor::to_string(spec.shape));
    }
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          header.size() > 1 ? "," : "", *name, safetensors_name_of(spec.dtype),
                          fmt::join(spec.shape, ","), offset, end);
    offset = end;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kMaxSafetensorsHeaderBytes) {
    return base::invalid_argument("write {}: a header of {} bytes is over the limit of {}", path,
                                  header.size(), kMaxSafetensorsHeaderBytes);
  }
  return header;
}

base::Status check_unique(std::string_view path, const std::vector<SafetensorsSpec>& tensors) {
  std::unordered_map<std::string_view, int> seen;
  for (const SafetensorsSpec& spec : tensors) {
    if (++seen[spec.name] == 2) {
      return base::invalid_argument("write {}: two tensors are called '{}'", path, spec.name);
    }
  }
  return base::OkStatus();
}

std::array<std::byte, 8> little_endian(std::uint64_t value) {
  std::array<std::byte, 8> bytes = {};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(value >> (8 * i));
  }
  return bytes;
}

}  // namespace

base::StatusOr<SafetensorsWriter> SafetensorsWriter::create(std::string_view path,
                                                            std::vector<SafetensorsSpec> tensors,
                                                            const SafetensorsMetadata& metadata) {
  GAMELAN_RETURN_IF_ERROR(check_unique(path, tensors));
  GAMELAN_ASSIGN_OR_RETURN(const std::string header, make_header(path, tensors, metadata));
  GAMELAN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  GAMELAN_RETURN_IF_ERROR(file.write(little_endian(header.size())));
  GAMELAN_RETURN_IF_ERROR(file.write(header));
  SafetensorsWriter writer(std::move(file));
  writer.order_ = std::move(tensors);
  return writer;
}

base::Status SafetensorsWriter::check_next(std::string_view name) const {
  if (next_ == order_.size()) {
    return base::failed_precondition("write {}: tensor '{}' comes after the last one", file_.path(),
                                     name);
  }
  if (order_[next_].name != name) {
    return base::failed_precondition("write {}: expected tensor '{}', got '{}'", file_.path(),
                                     order_[next_].name, name);
  }
  return base::OkStatus();
}

base::Status SafetensorsWriter::append(std::string_view name, std::span<const std::byte> bytes) {
  GAMELAN_RETURN_IF_ERROR(check_next(name));
  const SafetensorsSpec& spec = order_[next_];
  const std::uint64_t expected = *checked_size_bytes(spec.dtype, spec.shape);
  if (bytes.size() != expected || written_ != 0) {
    return base::invalid_argument("write {}: tensor '{}': {}{} needs {} bytes, got {}",
                                  file_.path(), name, safetensors_name_of(spec.dtype),
                                  tensor::to_string(spec.shape), expected, bytes.size());
  }
  ++next_;
  return file_.write(bytes);
}

base::Status SafetensorsWriter::append_part(std::string_view name,
                                            std::span<const std::byte> bytes) {
  GAMELAN_RETURN_IF_ERROR(check_next(name));
  const SafetensorsSpec& spec = order_[next_];
  const std::uint64_t expected = *checked_size_bytes(spec.dtype, spec.shape);
  if (bytes.size() > expected - written_) {
    return base::invalid_argument("write {}: tensor '{}': {}{} needs {} bytes, got {}",
                                  file_.path(), name, safetensors_name_of(spec.dtype),
                                  tensor::to_string(spec.shape), expected, written_ + bytes.size());
  }
  written_ += bytes.size();
  if (written_ == expected) {
    written_ = 0;
    ++next_;
  }
  return file_.write(bytes);
}

base::Status SafetensorsWriter::finish() {
  if (next_ != order_.size()) {
    return base::failed_precondition("write {}: {} of {} tensors are missing, first '{}'",
                                     file_.path(), order_.size() - next_, order_.size(),
                                     order_[next_].name);
  }
  return file_.commit();
}

base::Status save_safetensors(std::string_view path, std::span<const SafetensorsView> tensors,
                              const SafetensorsMetadata& metadata) {
  std::unordered_map<std::string_view, const SafetensorsView*> views;
  std::vector<SafetensorsSpec> specs;
  for (const SafetensorsView& view : tensors) {
    specs.push_back({view.name, view.dtype, view.shape});
    views.emplace(view.name, &view);
  }
  GAMELAN_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                           SafetensorsWriter::create(path, std::move(specs), metadata));
  for (const SafetensorsSpec& spec : writer.order()) {
    GAMELAN_RETURN_IF_ERROR(writer.append(spec.name, views.at(spec.name)->bytes));
  }
  return writer.finish();
}

}  // namespace gamelan::io
