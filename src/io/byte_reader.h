#pragma once

// Little-endian numbers out of bytes that somebody else wrote.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace gamelan::io {

static_assert(std::endian::native == std::endian::little);

/// Reads forward through bytes. What does not fit gives zeros and empty views, and `ok()` is false
/// from then on: a caller reads several fields and then looks once. Not thread-safe.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// A number or another trivially copyable value.
  template <class T>
  T read() {
    T value{};
    const auto from = take(sizeof(T));
    if (!from.empty()) {
      std::memcpy(&value, from.data(), sizeof(T));
    }
    return value;
  }
  /// The next `count` bytes; empty when there are fewer.
  std::span<const std::byte> take(std::uint64_t count) {
    if (!ok_ || count > bytes_.size() - offset_) {
      ok_ = false;
      return {};
    }
    const auto taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }
  std::string_view text(std::uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  bool ok() const { return ok_; }
  std::size_t offset() const { return offset_; }
  std::size_t left() const { return bytes_.size() - offset_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
  bool ok_ = true;
};

}  // namespace gamelan::io
