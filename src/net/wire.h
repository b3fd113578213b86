#pragma once

// Little-endian numbers and length-prefixed bytes: what messages are written and read with.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace gamelan::net {

static_assert(std::endian::native == std::endian::little, "Gamelan runs on little-endian machines");

/// Appends to a string of bytes. Not thread-safe; keeps a reference to the string.
class WireWriter {
 public:
  explicit WireWriter(std::string& out) : out_(out) {}

  template <class T>
  requires std::is_arithmetic_v<T>
  void number(T value) { out_.append(reinterpret_cast<const char*>(&value), sizeof(T)); }
  /// u32 length, then the bytes. REQUIRES: fewer than 4 GiB.
  void blob(std::string_view bytes) {
    number(static_cast<std::uint32_t>(bytes.size()));
    out_.append(bytes);
  }

 private:
  std::string& out_;
};

/// Reads what WireWriter wrote, from bytes nobody vouches for: a read past the end gives nothing
/// and makes every later read give nothing. Keeps a view of the bytes.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  requires std::is_arithmetic_v<T> std::optional<T> number() {
    const std::optional<std::span<const std::byte>> raw = take(sizeof(T));
    if (!raw.has_value()) {
      return std::nullopt;
    }
    T value;
    std::memcpy(&value, raw->data(), sizeof(T));
    return value;
  }
  std::optional<std::string_view> blob() {
    const std::optional<std::uint32_t> length = number<std::uint32_t>();
    const auto raw = length.has_value() ? take(*length) : std::nullopt;
    if (!raw.has_value()) {
      return std::nullopt;
    }
    return std::string_view(reinterpret_cast<const char*>(raw->data()), raw->size());
  }

  std::size_t left() const { return bytes_.size(); }
  /// Everything was read, and nothing beyond it.
  bool complete() const { return !failed_ && bytes_.empty(); }

 private:
  std::optional<std::span<const std::byte>> take(std::size_t count) {
    if (failed_ || count > bytes_.size()) {
      failed_ = true;
      return std::nullopt;
    }
    const std::span<const std::byte> taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }

  std::span<const std::byte> bytes_;
  bool failed_ = false;
};

}  // namespace gamelan::net
