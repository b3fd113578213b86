#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4): finds accidental
/// damage, about 8 GB/s with SSE 4.2, 2 GB/s without. To continue over several pieces pass the
/// previous result: `crc32c(b, crc32c(a))` equals the checksum of a followed by b. Thread-safe.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

/// The portable implementation behind `crc32c`, public so that tests compare the two.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t previous = 0);

using Sha256Digest = std::array<std::byte, 32>;

/// SHA-256 in pieces (OpenSSL). Not thread-safe; moves, does not copy.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  /// The digest of everything so far; the object starts anew afterwards.
  Sha256Digest finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

Sha256Digest sha256(std::span<const std::byte> bytes);
/// 64 lower-case hexadecimal digits.
std::string to_hex(const Sha256Digest& digest);
/// The hexadecimal SHA-256 of a file's content.
base::StatusOr<std::string> sha256_of_file(std::string_view path);

}  // namespace gamelan::io
