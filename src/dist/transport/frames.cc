#include "dist/transport/frames.h"

namespace gamelan::dist {
namespace {

constexpr std::uint32_t kMagic = 0x314c4347;  // "GCL1"

}  // namespace

void put_u32(std::byte* bytes, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) {
    bytes[i] = static_cast<std::byte>(value >> (8 * i));
  }
}

void put_u64(std::byte* bytes, std::uint64_t value) {
  put_u32(bytes, static_cast<std::uint32_t>(value));
  put_u32(bytes + 4, static_cast<std::uint32_t>(value >> 32));
}

std::uint32_t get_u32(const std::byte* bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  }
  return value;
}

std::uint64_t get_u64(const std::byte* bytes) {
  return static_cast<std::uint64_t>(get_u32(bytes + 4)) << 32 | get_u32(bytes);
}

std::array<std::byte, kFrameHeaderBytes> encode_frame(const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> bytes{};
  put_u32(&bytes[0], kMagic);
  put_u32(&bytes[4], static_cast<std::uint32_t>(header.type));
  put_u32(&bytes[8], header.tag);
  put_u32(&bytes[12], header.payload_bytes);
  put_u64(&bytes[16], header.number);
  return bytes;
}

base::StatusOr<FrameHeader> decode_frame(std::span<const std::byte> bytes) {
  if (bytes.size() != kFrameHeaderBytes || get_u32(&bytes[0]) != kMagic) {
    return base::data_loss("a control frame does not begin with its magic");
  }
  const std::uint32_t type = get_u32(&bytes[4]);
  if (type == 0 || type > kLastFrameType) {
    return base::data_loss("control frame of unknown type {}", type);
  }
  FrameHeader header;
  header.type = static_cast<FrameType>(type);
  header.tag = get_u32(&bytes[8]);
  header.payload_bytes = get_u32(&bytes[12]);
  header.number = get_u64(&bytes[16]);
  if (header.payload_bytes > kMaxFramePayloadBytes) {
    return base::data_loss("control frame with a payload of {} bytes; the limit is {}",
                           header.payload_bytes, kMaxFramePayloadBytes);
  }
  return header;
}

}  // namespace gamelan::dist
