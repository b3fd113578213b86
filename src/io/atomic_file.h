#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace gamelan::io {

/// Writes a file that appears whole or not at all, whatever happens in between (a crash, `kill -9`,
/// a full disk, a power cut): the bytes go to a temporary name in the same folder, are synced to
/// disk, and `commit` renames the file over `path` and syncs the folder.
///
/// Not thread-safe; one thread owns the object. Destroyed without a successful `commit` it removes
/// its temporary file and leaves what was at `path` untouched. Every error names the path; a full
/// disk is kResourceExhausted, a folder that may not be written kPermissionDenied.
class AtomicFile {
 public:
  /// Opens the temporary file. The folder of `path` must exist (`make_folders`).
  static base::StatusOr<AtomicFile> create(std::string_view path);

  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;

  /// Appends. After an error every later call returns that error.
  base::Status write(std::span<const std::byte> bytes);
  base::Status write(std::string_view text);

  /// Makes the file durable and visible under `path`. Call once; afterwards `write` fails.
  base::Status commit();

  /// Bytes appended so far.
  std::uint64_t size_bytes() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  AtomicFile() = default;
  base::Status flush();
  base::Status write_through(std::span<const std::byte> bytes);
  base::Status fail(base::Status status);
  void discard();

  std::string path_;
  std::string temporary_path_;  // empty once renamed or removed
  base::Fd fd_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
  base::Status status_;
};

/// All of `bytes` as the new content of `path`, atomically.
base::Status write_file(std::string_view path, std::span<const std::byte> bytes);
base::Status write_file(std::string_view path, std::string_view text);

/// Creates `path` and every missing parent (mode 0777 less umask); fine when it exists already.
base::Status make_folders(std::string_view path);

/// Makes renames and removals inside `folder` durable.
base::Status sync_folder(std::string_view folder);

/// Removes the temporary files that killed writers left in `folder`. Only for a folder whose one
/// writer is the caller: a temporary file that somebody is still writing is removed as well.
base::Status remove_abandoned_files(std::string_view folder);

}  // namespace gamelan::io
