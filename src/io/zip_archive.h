#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

/// One file of an archive, uncompressed.
struct ZipEntry {
  std::string name;
  std::span<const std::byte> bytes;
};

/// A zip archive in memory whose entries are stored, not compressed, as torch.save writes it: an
/// entry is then a view of the archive. Reads the central directory (zip64 included) and every
/// local header; checks no checksums, which would read all of the data. const methods are
/// thread-safe.
class ZipArchive {
 public:
  /// `bytes` must outlive the object; `name` stands for the file in messages.
  static base::StatusOr<ZipArchive> parse(std::span<const std::byte> bytes, std::string_view name);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// nullptr when there is no entry of that name.
  const ZipEntry* find(std::string_view name) const;

 private:
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, std::size_t> index_;
};

/// Whether `bytes` begin as a zip archive does.
bool looks_like_zip(std::span<const std::byte> bytes);

}  // namespace gamelan::io
