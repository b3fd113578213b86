#include "io/zip_archive.h"

#include <algorithm>
#include <optional>

#include "io/byte_reader.h"

namespace gamelan::io {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocator64Signature = 0x07064b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kCentralBytes = 46;
constexpr std::size_t kMaxComment = 0xffff;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint32_t kSeeZip64 = 0xffffffff;

/// Where the central directory lies.
struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
};

std::uint32_t u32_at(std::span<const std::byte> bytes, std::size_t offset) {
  return ByteReader(bytes.subspan(offset)).read<std::uint32_t>();
}

/// The offset of the end record, which a comment of up to 64 KiB may follow.
std::optional<std::size_t> find_end(std::span<const std::byte> bytes) {
  if (bytes.size() < kEndBytes) {
    return std::nullopt;
  }
  const std::size_t last = bytes.size() - kEndBytes;
  const std::size_t first = last - std::min(last, kMaxComment);
  for (std::size_t at = last + 1; at-- > first;) {
    if (u32_at(bytes, at) == kEndSignature) {
      return at;
    }
  }
  return std::nullopt;
}

base::StatusOr<Directory> read_directory64(std::span<const std::byte> bytes, std::size_t end,
                                           std::string_view file) {
  const auto broken = [&] {
    return base::data_loss("{}: the zip64 end record is missing or damaged", file);
  };
  if (end < kLocator64Bytes || u32_at(bytes, end - kLocator64Bytes) != kLocator64Signature) {
    return broken();
  }
  ByteReader locator(bytes.subspan(end - kLocator64Bytes));
  locator.take(8);
  const auto at = locator.read<std::uint64_t>();
  if (at > bytes.size()) {
    return broken();
  }
  ByteReader record(bytes.subspan(at));
  if (record.read<std::uint32_t>() != kEnd64Signature) {
    return broken();
  }
  record.take(28);
  Directory directory;
  directory.entries = record.read<std::uint64_t>();
  directory.size = record.read<std::uint64_t>();
  directory.offset = record.read<std::uint64_t>();
  return record.ok() ? base::StatusOr<Directory>(directory) : broken();
}

base::StatusOr<Directory> read_directory(std::span<const std::byte> bytes, std::string_view file) {
  const std::optional<std::size_t> end = find_end(bytes);
  if (!end) {
    return base::data_loss("{}: truncated: a zip archive without its end record", file);
  }
  ByteReader record(bytes.subspan(*end));
  record.take(10);
  Directory directory;
  directory.entries = record.read<std::uint16_t>();
  directory.size = record.read<std::uint32_t>();
  directory.offset = record.read<std::uint32_t>();
  if (directory.entries == 0xffff || directory.size == kSeeZip64 || directory.offset == kSeeZip64) {
    GAMELAN_ASSIGN_OR_RETURN(directory, read_directory64(bytes, *end, file));
  }
  if (directory.offset > bytes.size() || directory.size > bytes.size() - directory.offset ||
      directory.entries > directory.size / kCentralBytes) {
    return base::data_loss("{}: the directory of {} entries, {} bytes at {}, does not fit into {}",
                           file, directory.entries, directory.size, directory.offset, bytes.size());
  }
  return directory;
}

/// Sizes and offset that did not fit into 32 bits stand in an extra field, in this order.
void read_zip64_extra(std::span<const std::byte> extra, std::uint64_t& size,
                      std::uint64_t& stored_size, std::uint64_t& offset) {
  ByteReader fields(extra);
  while (fields.ok() && fields.left() >= 4) {
    const auto id = fields.read<std::uint16_t>();
    const auto length = fields.read<std::uint16_t>();
    ByteReader field(fields.take(length));
    if (id != kZip64Extra) {
      continue;
    }
    for (std::uint64_t* value : {&size, &stored_size, &offset}) {
      if (*value == kSeeZip64 && field.left() >= 8) {
        *value = field.read<std::uint64_t>();
      }
    }
    return;
  }
}

/// The bytes behind the local header at `offset`.
base::StatusOr<std::span<const std::byte>> data_at(std::span<const std::byte> bytes,
                                                   std::uint64_t offset, std::uint64_t size,
                                                   std::string_view name, std::string_view file) {
  ByteReader local(offset <= bytes.size() ? bytes.subspan(offset) : std::span<const std::byte>());
  const auto signature = local.read<std::uint32_t>();
  local.take(22);
  const auto name_length = local.read<std::uint16_t>();
  const auto extra_length = local.read<std::uint16_t>();
  local.take(std::uint64_t{name_length} + extra_length);
  const auto data = local.take(size);
  if (!local.ok() || signature != kLocalSignature) {
    return base::data_loss("{}: entry '{}' of {} bytes does not lie at offset {}", file, name, size,
                           offset);
  }
  return data;
}

}  // namespace

base::StatusOr<ZipArchive> ZipArchive::parse(std::span<const std::byte> bytes,
                                             std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const Directory directory, read_directory(bytes, name));
  ByteReader central(bytes.subspan(directory.offset, directory.size));
  ZipArchive archive;
  archive.entries_.reserve(directory.entries);
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const auto signature = central.read<std::uint32_t>();
    central.take(4);
    const auto flags = central.read<std::uint16_t>();
    const auto method = central.read<std::uint16_t>();
    central.take(8);
    std::uint64_t stored_size = central.read<std::uint32_t>();
    std::uint64_t size = central.read<std::uint32_t>();
    const auto name_length = central.read<std::uint16_t>();
    const auto extra_length = central.read<std::uint16_t>();
    const auto comment_length = central.read<std::uint16_t>();
    central.take(8);
    std::uint64_t offset = central.read<std::uint32_t>();
    const std::string entry(central.text(name_length));
    read_zip64_extra(central.take(extra_length), size, stored_size, offset);
    central.take(comment_length);
    if (!central.ok() || signature != kCentralSignature) {
      return base::data_loss("{}: entry {} of the directory is damaged", name, i);
    }
    if (method != 0 || size != stored_size || (flags & 1U) != 0) {
      return base::invalid_argument(
          "{}: entry '{}' is {}; expected stored bytes, as torch.save writes them", name, entry,
          (flags & 1U) != 0 ? "encrypted" : "compressed");
    }
    GAMELAN_ASSIGN_OR_RETURN(const auto data, data_at(bytes, offset, size, entry, name));
    if (!archive.index_.emplace(entry, archive.entries_.size()).second) {
      return base::data_loss("{}: entry '{}' is there twice", name, entry);
    }
    archive.entries_.push_back({entry, data});
  }
  return archive;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

bool looks_like_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && u32_at(bytes, 0) == kLocalSignature;
}

}  // namespace gamelan::io
