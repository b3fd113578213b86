#include "io/safetensors.h"

#include <algorithm>
#include <utility>

#include "io/safetensors_header.h"

namespace gamelan::io {
namespace {

constexpr std::size_t kLengthBytes = 8;

std::uint64_t read_u64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return value;
}

/// The header's text, once its length is known to be possible.
base::StatusOr<std::string_view> header_text(std::span<const std::byte> bytes,
                                             std::string_view file) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (bytes.size() < kLengthBytes) {
    return base::data_loss("{}: expected a safetensors file of at least 8 bytes, got {}", file,
                           bytes.size());
  }
  const std::uint64_t length = read_u64(bytes);
  if (length > kMaxSafetensorsHeaderBytes) {
    return base::data_loss(
        "{}: the header's length of {} bytes is over the limit of {}; is this a "
        "safetensors file?",
        file, length, kMaxSafetensorsHeaderBytes);
  }
  if (length > bytes.size() - kLengthBytes) {
    return base::data_loss(
        "{}: truncated: the header needs {} bytes, the file has {} after its "
        "length",
        file, length, bytes.size() - kLengthBytes);
  }
  const std::string_view header = text.substr(kLengthBytes, length);
  if (!header.starts_with('{')) {
    return base::data_loss("{}: the header does not start with '{{'; is this a safetensors file?",
                           file);
  }
  return header;
}

/// The entries must tile the data exactly: no gap, no overlap, nothing outside. `entries` is sorted
/// by offset.
base::Status check_offsets(const std::vector<SafetensorsEntry>& entries, std::uint64_t data_bytes,
                           std::string_view file) {
  std::uint64_t covered = 0;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin > entry.end) {
      return base::data_loss("{}: tensor '{}': data_offsets [{}, {}] run backwards", file,
                             entry.name, entry.begin, entry.end);
    }
    const std::optional<std::uint64_t> size = checked_size_bytes(entry.dtype, entry.shape);
    if (!size) {
      return base::data_loss("{}: tensor '{}': the size of shape {} overflows", file, entry.name,
                             tensor::to_string(entry.shape));
    }
    if (entry.end - entry.begin != *size) {
      return base::data_loss("{}: tensor '{}': {}{} needs {} bytes, data_offsets [{}, {}] give {}",
                             file, entry.name, safetensors_name_of(entry.dtype),
                             tensor::to_string(entry.shape), *size, entry.begin, entry.end,
                             entry.end - entry.begin);
    }
    if (entry.end > data_bytes) {
      return base::data_loss(
          "{}: truncated: tensor '{}' ends at byte {} of the data, the file has "
          "{}",
          file, entry.name, entry.end, data_bytes);
    }
    if (entry.begin < covered) {
      return base::data_loss("{}: tensor '{}' at bytes [{}, {}] overlaps tensor '{}'", file,
                             entry.name, entry.begin, entry.end, previous->name);
    }
    if (entry.begin > covered) {
      return base::data_loss("{}: {} bytes before tensor '{}' belong to no tensor", file,
                             entry.begin - covered, entry.name);
    }
    covered = entry.end;
    previous = &entry;
  }
  if (covered != data_bytes) {
    return base::data_loss("{}: {} bytes after the last tensor belong to no tensor", file,
                           data_bytes - covered);
  }
  return base::OkStatus();
}

}  // namespace

base::StatusOr<SafetensorsFile> SafetensorsFile::open(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::open(path));
  GAMELAN_ASSIGN_OR_RETURN(SafetensorsFile file, parse(mapped.bytes(), path));
  file.file_ = std::move(mapped);
  return file;
}

base::StatusOr<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes,
                                                       std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const std::string_view json, header_text(bytes, name));
  GAMELAN_ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors_header(json, name));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + json.size());
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  GAMELAN_RETURN_IF_ERROR(check_offsets(header.entries, data.size(), name));

  SafetensorsFile file;
  file.path_ = std::string(name);
  file.metadata_ = std::move(header.metadata);
  file.tensors_.reserve(header.entries.size());
  for (SafetensorsEntry& entry : header.entries) {
    file.index_.emplace(entry.name, file.tensors_.size());
    file.tensors_.push_back({std::move(entry.name), entry.dtype, std::move(entry.shape),
                             data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return file;
}

const SafetensorsView* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

base::StatusOr<SafetensorsView> SafetensorsFile::get(std::string_view name) const {
  if (const SafetensorsView* view = find(name)) {
    return *view;
  }
  constexpr std::size_t kShown = 5;
  std::string some;
  for (std::size_t i = 0; i < std::min(kShown, tensors_.size()); ++i) {
    some += fmt::format("{}'{}'", i == 0 ? "" : ", ", tensors_[i].name);
  }
  return base::not_found("{}: no tensor '{}' among its {}: {}{}", path_, name, tensors_.size(),
                         some, tensors_.size() > kShown ? ", …" : "");
}

}  // namespace gamelan::io
