#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

// Small writes are gathered up to this size: at 1 MiB a write call costs under 1 % of its copy.
constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr std::string_view kTemporarySuffix = ".gamelan-tmp";
constexpr int kNameAttempts = 100;

fs::path folder_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

/// ".NAME.PID.ATTEMPT.gamelan-tmp" beside the target.
std::string temporary_name(const std::string& path, int attempt) {
  const std::string name = fmt::format(".{}.{}.{}{}", fs::path(path).filename().string(),
                                       static_cast<long>(::getpid()), attempt, kTemporarySuffix);
  return (folder_of(path) / name).string();
}

}  // namespace

base::StatusOr<AtomicFile> AtomicFile::create(std::string_view path) {
  AtomicFile file;
  file.path_ = std::string(path);
  if (fs::path(file.path_).filename().empty()) {
    return base::invalid_argument("write '{}': expected the path of a file", path);
  }
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    const std::string name = temporary_name(file.path_, attempt);
    file.fd_ = base::Fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.fd_.valid()) {
      file.temporary_path_ = name;
      return file;
    }
    // EEXIST: another thread writes the same path, or a killed process that had our pid left it.
    if (errno != EEXIST) {
      break;
    }
  }
  return base::errno_status(errno, "write {}: cannot create a file in {}", path,
                            folder_of(file.path_).string());
}

AtomicFile::~AtomicFile() {
  discard();
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, {})),
      fd_(std::move(other.fd_)),
      buffer_(std::move(other.buffer_)),
      size_(other.size_),
      status_(other.status_) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    discard();
    path_ = std::move(other.path_);
    temporary_path_ = std::exchange(other.temporary_path_, {});
    fd_ = std::move(other.fd_);
    buffer_ = std::move(other.buffer_);
    size_ = other.size_;
    status_ = other.status_;
  }
  return *this;
}

base::Status AtomicFile::write(std::span<const std::byte> bytes) {
  GAMELAN_RETURN_IF_ERROR(status_);
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() <= kBufferBytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return base::OkStatus();
  }
  GAMELAN_RETURN_IF_ERROR(flush());
  if (bytes.size() > kBufferBytes) {
    return write_through(bytes);
  }
  buffer_.assign(bytes.begin(), bytes.end());
  return base::OkStatus();
}

base::Status AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

base::Status AtomicFile::flush() {
  const base::Status status = write_through(buffer_);
  buffer_.clear();
  return status;
}

base::Status AtomicFile::write_through(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return fail(base::errno_status(errno, "write {} ({} bytes so far)", path_, size_));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return base::OkStatus();
}

base::Status AtomicFile::commit() {
  GAMELAN_RETURN_IF_ERROR(status_);
  GAMELAN_RETURN_IF_ERROR(flush());
  if (::fsync(fd_.get()) != 0) {
    return fail(base::errno_status(errno, "sync {}", path_));
  }
  // Network file systems may report a failed write only here.
  if (::close(fd_.release()) != 0 && errno != EINTR) {
    return fail(base::errno_status(errno, "close {}", path_));
  }
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    return fail(base::errno_status(errno, "rename {} to {}", temporary_path_, path_));
  }
  temporary_path_.clear();
  status_ = base::failed_precondition("write {}: already committed", path_);
  return sync_folder(folder_of(path_).string());
}

base::Status AtomicFile::fail(base::Status status) {
  status_ = std::move(status);
  discard();
  return status_;
}

void AtomicFile::discard() {
  fd_.reset();
  buffer_ = {};
  if (!temporary_path_.empty()) {
    ::unlink(temporary_path_.c_str());
    temporary_path_.clear();
  }
}

base::Status write_file(std::string_view path, std::span<const std::byte> bytes) {
  GAMELAN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  GAMELAN_RETURN_IF_ERROR(file.write(bytes));
  return file.commit();
}

base::Status write_file(std::string_view path, std::string_view text) {
  return write_file(path, std::as_bytes(std::span(text.data(), text.size())));
}

base::Status make_folders(std::string_view path) {
  std::error_code error;
  fs::create_directories(fs::path(path), error);
  if (error) {
    return base::errno_status(error.value(), "create folder {}", path);
  }
  if (!fs::is_directory(fs::path(path), error)) {
    return base::errno_status(ENOTDIR, "create folder {}", path);
  }
  return base::OkStatus();
}

base::Status sync_folder(std::string_view folder) {
  const base::Fd fd(::open(std::string(folder).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return base::errno_status(errno, "open folder {}", folder);
  }
  // EINVAL: a file system that cannot sync folders has nothing to sync.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) {
    return base::errno_status(errno, "sync folder {}", folder);
  }
  return base::OkStatus();
}

base::Status remove_abandoned_files(std::string_view folder) {
  std::error_code error;
  fs::directory_iterator entries(fs::path(folder), error);
  if (error) {
    return base::errno_status(error.value(), "list folder {}", folder);
  }
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.starts_with('.') && name.ends_with(kTemporarySuffix) &&
        ::unlink(entries->path().c_str()) != 0 && errno != ENOENT) {
      return base::errno_status(errno, "remove {}", entries->path().string());
    }
  }
  if (error) {  // of increment, which then ends the loop
    return base::errno_status(error.value(), "list folder {}", folder);
  }
  return base::OkStatus();
}

}  // namespace gamelan::io
