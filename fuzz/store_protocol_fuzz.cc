// The body of a store message. What is accepted is executed, and has to survive a round trip.

#include <cstdlib>

#include "dist/store/store_protocol.h"
#include "dist/store/store_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gamelan;
  if (size < 1) {
    return 0;
  }
  const std::uint16_t kind = data[0];
  const auto body = std::as_bytes(std::span(data + 1, size - 1));
  dist::decode_reply(kind, body).IgnoreError();
  const auto request = dist::decode_request(kind, body);
  if (!request.ok() || !dist::check_store_request(request->request).ok()) {
    return 0;
  }
  std::string frame;
  dist::encode_request(request->request, request->timeout_ms, 1, frame);
  const auto encoded = std::as_bytes(std::span(frame)).subspan(net::kFrameHeaderBytes);
  if (!std::equal(encoded.begin(), encoded.end(), body.begin(), body.end())) {
    std::abort();
  }
  dist::StoreTable table;
  if (auto reply = table.execute(request->request); reply.has_value()) {
    dist::encode_reply(*reply, 1, frame);
  } else {
    table.park(request->request, [](auto, const auto&) {});
    table.cancel_all(base::unavailable("done"));
  }
  return 0;
}
