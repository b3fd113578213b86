#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// A regular file mapped read-only. Moves, does not copy; const methods are thread-safe.
///
/// The spans live as long as the object (moving it keeps them valid). Pages are read when they are
/// touched: should another program shorten the file meanwhile, touching the lost part raises
/// SIGBUS, so files are replaced by renaming (io/atomic_file.h), never rewritten in place.
class MappedFile {
 public:
  /// Maps all of `path`. Fails when it does not exist, may not be read, is no regular file, or is
  /// the small text file that Git LFS leaves in place of a large one: the error says what to do.
  static base::StatusOr<MappedFile> open(std::string_view path);

  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// The same bytes as text; nothing is decoded or checked.
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  void unmap();

  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Lets go of the whole pages inside `bytes`, which must lie in a MappedFile: they no longer count
/// as this process's memory and come back from the file when they are touched again. Thread-safe.
void release_pages(std::span<const std::byte> bytes);

}  // namespace gamelan::io
