#pragma once

// Protocol buffers on the wire, without a schema (protobuf.dev/programming-guides/encoding).

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace gamelan::io {

/// Reads the fields of one message, forward. Not thread-safe. `while (reader.next()) …`, then
/// `ok()` says whether all bytes were fields.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view bytes) : rest_(bytes) {}

  /// Moves to the next field; false at the end and at bytes that are none.
  bool next() {
    if (rest_.empty() || !ok_) {
      return false;
    }
    const std::uint64_t tag = varint();
    field_ = tag >> 3;
    wire_ = static_cast<int>(tag & 7U);
    number_ = 0;
    bytes_ = {};
    switch (wire_) {
      case 0:
        number_ = varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:  // groups, long gone
        ok_ = false;
    }
    ok_ = ok_ && field_ != 0;
    return ok_;
  }
  bool ok() const { return ok_; }

  std::uint64_t field() const { return field_; }
  bool is(std::uint64_t field, int wire) const { return field_ == field && wire_ == wire; }
  std::uint64_t number() const { return number_; }
  /// int32 fields: negative ones take 64 bits on the wire.
  std::int32_t int32() const { return static_cast<std::int32_t>(number_); }
  /// What of wire type 2 there is: a string, bytes, a message.
  std::string_view bytes() const { return bytes_; }
  float f32() const {
    float value = 0;
    std::memcpy(&value, bytes_.data(), bytes_.size() < 4 ? bytes_.size() : 4);
    return value;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    ok_ = false;
    return 0;
  }
  std::string_view take(std::uint64_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  static_assert(std::endian::native == std::endian::little);
  std::string_view rest_;
  std::string_view bytes_;
  std::uint64_t field_ = 0;
  std::uint64_t number_ = 0;
  int wire_ = 0;
  bool ok_ = true;
};

}  // namespace gamelan::io
