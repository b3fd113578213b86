// A stream of bytes cut into frames, in pieces whose sizes the input chooses.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "net/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gamelan::net;
  FrameReader reader({{'F', 'U', 'Z', 'Z'}, 1, 1 << 16});
  while (size > 0) {
    const std::size_t piece = std::min<std::size_t>(size - 1, data[0]);
    ++data;
    --size;
    for (std::size_t left = piece; left > 0;) {
      const auto space = reader.space();
      const std::size_t count = std::min(left, space.size());
      std::memcpy(space.data(), data, count);
      reader.commit(count);
      data += count;
      size -= count;
      left -= count;
    }
    while (true) {
      const auto frame = reader.next();
      if (!frame.ok()) {
        return 0;
      }
      if (!frame->has_value()) {
        break;
      }
      if ((*frame)->body.size() > (1 << 16)) {
        std::abort();
      }
    }
  }
  return 0;
}
