#pragma once

// The frames of control connections; docs/formats/transport.md has the bytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace gamelan::dist {

enum class FrameType : std::uint8_t {
  kHeartbeat = 1,  ///< "I am alive"; empty
  kGoodbye =
      2,  ///< the sender closes the group; number: status code, payload: why (empty = in order)
  kGoodbyeAck = 3,   ///< nothing will follow on this connection
  kAbort = 4,        ///< the group has failed; number: status code, payload: message
  kSegment = 5,      ///< number: segment, payload: its size (u64); carries the descriptor
  kSegmentFree = 6,  ///< number: segment
  kQuery = 7,        ///< number: echoed in the report
  kReport = 8,       ///< payload: what the sender is doing
  kEager = 9,        ///< a whole message; tag, number: elements, payload: dtype (u8) and data
  kCredit = 10,      ///< number: bytes of eager messages that have been consumed
  kOffer =
      11,  ///< a message to be fetched; tag, number: message, payload: dtype (u8), elements (u64)
  kAccept = 12,  ///< number: message; its parts may come
  kPart = 13,    ///< number: message, payload: the next bytes of it
};
inline constexpr std::uint8_t kLastFrameType = 13;

struct FrameHeader {
  FrameType type = FrameType::kHeartbeat;
  std::uint32_t tag = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t number = 0;
};

inline constexpr std::size_t kFrameHeaderBytes = 24;
/// Payloads are at most this long, so that a heartbeat or an abort never waits behind more.
inline constexpr std::size_t kMaxFramePayloadBytes = 256 * 1024;

std::array<std::byte, kFrameHeaderBytes> encode_frame(const FrameHeader& header);
/// kDataLoss for a wrong magic, an unknown type or a payload over the limit.
base::StatusOr<FrameHeader> decode_frame(std::span<const std::byte> bytes);

/// Little-endian integers at `bytes`.
void put_u32(std::byte* bytes, std::uint32_t value);
void put_u64(std::byte* bytes, std::uint64_t value);
std::uint32_t get_u32(const std::byte* bytes);
std::uint64_t get_u64(const std::byte* bytes);

}  // namespace gamelan::dist
