#pragma once

// The messages of docs/formats/store.md.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "dist/store/store.h"
#include "dist/store/store_table.h"
#include "net/frame.h"

namespace gamelan::dist {

inline constexpr std::string_view kStoreService = "store";
inline constexpr net::FrameFormat kStoreFrames{
    {'G', 'S', 'T', 'R'}, 1, static_cast<std::uint32_t>(kMaxStoreMessageBytes)};
inline constexpr std::uint16_t kReplyKind = 128;
inline constexpr std::uint16_t kErrorKind = 129;
/// Requests of one connection that may wait at the same time.
inline constexpr std::size_t kMaxWaitingRequests = 1024;

struct TimedRequest {
  StoreRequest request;
  std::uint32_t timeout_ms = 0;
};

/// Writes a whole frame into `out`, replacing what is there. REQUIRES: check_store_request(request)
/// is OK.
void encode_request(const StoreRequest& request, std::uint32_t timeout_ms, std::uint32_t id,
                    std::string& out);
/// The request in a frame's body; kDataLoss when the fields do not add up. Which keys and values
/// the operation takes is not checked.
base::StatusOr<TimedRequest> decode_request(std::uint16_t kind, std::span<const std::byte> body);

/// Writes a whole frame, reply or error, into `out`, replacing what is there.
void encode_reply(const base::StatusOr<StoreReply>& reply, std::uint32_t id, std::string& out);
/// The reply or the error that a frame carries; kDataLoss when it is neither.
base::StatusOr<StoreReply> decode_reply(std::uint16_t kind, std::span<const std::byte> body);

}  // namespace gamelan::dist
