#include "net/frame.h"

#include <algorithm>
#include <cstring>

namespace gamelan::net {
namespace {

// Most requests fit; a thousand idle connections then hold 4 MB.
constexpr std::size_t kFirstBufferBytes = 4096;
// A buffer that one large body made larger than this is given back when it is empty.
constexpr std::size_t kKeptBufferBytes = 256 << 10;

constexpr std::size_t kVersionOffset = 4;
constexpr std::size_t kKindOffset = 6;
constexpr std::size_t kIdOffset = 8;
constexpr std::size_t kLengthOffset = 12;

}  // namespace

std::array<std::byte, kFrameHeaderBytes> encode_frame_header(const FrameFormat& format,
                                                             const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> out;
  std::memcpy(out.data(), format.magic.data(), format.magic.size());
  std::memcpy(out.data() + kVersionOffset, &format.version, sizeof(format.version));
  std::memcpy(out.data() + kKindOffset, &header.kind, sizeof(header.kind));
  std::memcpy(out.data() + kIdOffset, &header.id, sizeof(header.id));
  std::memcpy(out.data() + kLengthOffset, &header.body_bytes, sizeof(header.body_bytes));
  return out;
}

base::StatusOr<FrameHeader> decode_frame_header(const FrameFormat& format,
                                                std::span<const std::byte> bytes) {
  if (bytes.size() < kFrameHeaderBytes) {
    return base::data_loss("expected a frame header of {} bytes, got {}", kFrameHeaderBytes,
                           bytes.size());
  }
  if (std::memcmp(bytes.data(), format.magic.data(), format.magic.size()) != 0) {
    return base::data_loss("expected a frame that begins with \"{}\", got other bytes",
                           std::string_view(format.magic.data(), format.magic.size()));
  }
  std::uint16_t version = 0;
  std::memcpy(&version, bytes.data() + kVersionOffset, sizeof(version));
  if (version != format.version) {
    return base::data_loss("expected protocol version {}, got {}", format.version, version);
  }
  FrameHeader header;
  std::memcpy(&header.kind, bytes.data() + kKindOffset, sizeof(header.kind));
  std::memcpy(&header.id, bytes.data() + kIdOffset, sizeof(header.id));
  std::memcpy(&header.body_bytes, bytes.data() + kLengthOffset, sizeof(header.body_bytes));
  if (header.body_bytes > format.max_body_bytes) {
    return base::data_loss("expected a frame body of at most {} bytes, got {}",
                           format.max_body_bytes, header.body_bytes);
  }
  return header;
}

void begin_frame(std::string& out) {
  out.assign(kFrameHeaderBytes, '\0');
}

void finish_frame(const FrameFormat& format, std::uint16_t kind, std::uint32_t id,
                  std::string& out) {
  const std::size_t body_bytes = out.size() - kFrameHeaderBytes;
  GAMELAN_CHECK(body_bytes <= format.max_body_bytes, "a frame body of {} bytes is within {}",
                body_bytes, format.max_body_bytes);
  const auto header =
      encode_frame_header(format, {kind, id, static_cast<std::uint32_t>(body_bytes)});
  std::memcpy(out.data(), header.data(), header.size());
}

std::span<std::byte> FrameReader::space() {
  if (begin_ == end_) {
    begin_ = 0;
    end_ = 0;
    if (buffer_.size() > kKeptBufferBytes) {
      buffer_ = std::vector<std::byte>();
    }
  }
  if (buffer_.empty()) {
    buffer_.resize(kFirstBufferBytes);
  }
  if (end_ == buffer_.size()) {
    if (begin_ >= buffer_.size() / 2) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    } else {
      // Full of bytes that arrived: doubling keeps the memory within twice of them.
      buffer_.resize(buffer_.size() * 2);
    }
  }
  return std::span(buffer_).subspan(end_);
}

base::StatusOr<std::optional<Frame>> FrameReader::next() {
  const std::span<const std::byte> bytes = buffered();
  if (bytes.size() < kFrameHeaderBytes) {
    return std::nullopt;
  }
  GAMELAN_ASSIGN_OR_RETURN(const FrameHeader header, decode_frame_header(format_, bytes));
  const std::size_t whole = kFrameHeaderBytes + header.body_bytes;
  if (bytes.size() < whole) {
    return std::nullopt;
  }
  discard(whole);
  return Frame{header, bytes.subspan(kFrameHeaderBytes, header.body_bytes)};
}

}  // namespace gamelan::net
