#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/fd.h"

namespace gamelan::io {

base::StatusOr<MappedFile> MappedFile::open(std::string_view path) {
  MappedFile file;
  file.path_ = std::string(path);
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const base::Fd fd(::open(file.path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    return base::errno_status(errno, "open {}", path);
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return base::errno_status(errno, "stat {}", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return base::invalid_argument("open {}: expected a regular file, got a {}", path,
                                  S_ISDIR(info.st_mode) ? "folder" : "device, pipe or socket");
  }
  if (info.st_size == 0) {
    return file;  // mmap refuses empty ranges
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) {
    return base::errno_status(errno, "map {} ({} bytes)", path, size);
  }
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = size;
  if (file.text().starts_with("version https://git-lfs.github.com/spec/")) {
    return base::failed_precondition(
        "{}: this is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder it "
        "came from",
        path);
  }
  return file;
}

MappedFile::~MappedFile() {
  unmap();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void MappedFile::unmap() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
    data_ = nullptr;
    size_ = 0;
  }
}

void release_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes.size()) / page * page;
  if (first < last) {
    // A failure costs memory, nothing else.
    static_cast<void>(::madvise(const_cast<std::byte*>(bytes.data()) + (first - begin),
                                last - first, MADV_DONTNEED));
  }
}

}  // namespace gamelan::io
