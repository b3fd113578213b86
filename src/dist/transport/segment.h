#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace gamelan::dist {

/// Memory that several processes map: a memfd, so that nothing is left behind when all of them die.
/// Its size is sealed, so that no peer can make an access fault. Neither copies nor moves; unmaps
/// on destruction.
class Segment {
 public:
  /// Allocates, zeroes and faults in `bytes` (at least one page); kResourceExhausted when memory is
  /// short.
  static base::StatusOr<std::shared_ptr<Segment>> create(const std::string& label,
                                                         std::size_t bytes);
  /// Maps what a peer has created; refuses a descriptor that is not sealed or has another size.
  static base::StatusOr<std::shared_ptr<Segment>> map(base::Fd fd, std::size_t bytes);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size_bytes() const { return bytes_; }
  int fd() const { return fd_.get(); }
  bool contains(const void* address, std::size_t bytes) const;

 private:
  Segment(base::Fd fd, std::byte* data, std::size_t bytes);

  base::Fd fd_;
  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace gamelan::dist
