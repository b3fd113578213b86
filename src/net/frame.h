#pragma once

// Frames: a header of 16 bytes and a body, the unit of the request and reply protocols on stream
// sockets (docs/formats/store.md draws one).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace gamelan::net {

inline constexpr std::size_t kFrameHeaderBytes = 16;

/// What distinguishes the frames of one protocol.
struct FrameFormat {
  std::array<char, 4> magic{};
  std::uint16_t version = 1;
  std::uint32_t max_body_bytes = 1 << 20;
};

struct FrameHeader {
  std::uint16_t kind = 0;
  std::uint32_t id = 0;
  std::uint32_t body_bytes = 0;
};

struct Frame {
  FrameHeader header;
  std::span<const std::byte> body;  ///< a view into the FrameReader
};

std::array<std::byte, kFrameHeaderBytes> encode_frame_header(const FrameFormat& format,
                                                             const FrameHeader& header);
/// kDataLoss when the magic, the version or the length is not one of `format`'s.
base::StatusOr<FrameHeader> decode_frame_header(const FrameFormat& format,
                                                std::span<const std::byte> bytes);

/// Begins a frame in `out` (cleared, its memory kept): append the body, then call finish_frame.
void begin_frame(std::string& out);
/// Fills in the header of the frame that is `out`. REQUIRES: the body is within the format's limit.
void finish_frame(const FrameFormat& format, std::uint16_t kind, std::uint32_t id,
                  std::string& out);

/// Cuts a stream of bytes into frames. Takes memory for a body as its bytes arrive, not when its
/// length is announced. Not thread-safe.
class FrameReader {
 public:
  explicit FrameReader(FrameFormat format) : format_(format) {}

  /// Where to put the next bytes; never empty. Invalidates the frames given out.
  std::span<std::byte> space();
  /// `count` bytes were put there.
  void commit(std::size_t count) { end_ += count; }

  /// The next whole frame, nullopt when more bytes are needed, or kDataLoss. The body is valid
  /// until space() is called.
  base::StatusOr<std::optional<Frame>> next();

  /// The bytes that no frame has been made of, for what comes before the first frame.
  std::span<const std::byte> buffered() const {
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void discard(std::size_t count) { begin_ += count; }

 private:
  FrameFormat format_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of what is buffered
  std::size_t end_ = 0;
};

}  // namespace gamelan::net
