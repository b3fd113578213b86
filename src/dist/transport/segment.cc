#include "dist/transport/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace gamelan::dist {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

base::StatusOr<std::byte*> map_shared(int fd, std::size_t bytes) {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (address == MAP_FAILED) {
    return base::errno_status(errno, "map a shared segment of {} bytes", bytes);
  }
  return static_cast<std::byte*>(address);
}

}  // namespace

Segment::Segment(base::Fd fd, std::byte* data, std::size_t bytes)
    : fd_(std::move(fd)), data_(data), bytes_(bytes) {}

Segment::~Segment() {
  ::munmap(data_, bytes_);
}

base::StatusOr<std::shared_ptr<Segment>> Segment::create(const std::string& label,
                                                         std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  bytes = (std::max<std::size_t>(bytes, 1) + page - 1) / page * page;
  base::Fd fd(::memfd_create(label.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) {
    return base::errno_status(errno, "create a shared segment of {} bytes", bytes);
  }
  // fallocate takes the pages now: a host without memory answers here and not with SIGBUS later.
  int result = 0;
  do {
    result = ::fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    return base::errno_status(errno, "allocate a shared segment of {} bytes", bytes);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSizeSeals) != 0) {
    return base::errno_status(errno, "seal a shared segment");
  }
  GAMELAN_ASSIGN_OR_RETURN(std::byte* const data, map_shared(fd.get(), bytes));
  return std::shared_ptr<Segment>(new Segment(std::move(fd), data, bytes));
}

base::StatusOr<std::shared_ptr<Segment>> Segment::map(base::Fd fd, std::size_t bytes) {
  struct stat information = {};
  if (::fstat(fd.get(), &information) != 0) {
    return base::errno_status(errno, "inspect a shared segment");
  }
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals || bytes == 0 ||
      static_cast<std::uint64_t>(information.st_size) != bytes) {
    return base::data_loss(
        "expected a sealed shared segment of {} bytes, got one of {} bytes with seals {}", bytes,
        information.st_size, seals);
  }
  GAMELAN_ASSIGN_OR_RETURN(std::byte* const data, map_shared(fd.get(), bytes));
  return std::shared_ptr<Segment>(new Segment(std::move(fd), data, bytes));
}

bool Segment::contains(const void* address, std::size_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(data_);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at >= begin && at - begin <= bytes_ && bytes <= bytes_ - (at - begin);
}

}  // namespace gamelan::dist
