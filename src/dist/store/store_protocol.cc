#include "dist/store/store_protocol.h"

#include <optional>
#include <utility>
#include <vector>

#include "net/wire.h"

namespace gamelan::dist {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kMaxErrorText = 64 << 10;

void write_list(const std::vector<std::string>& list, net::WireWriter& out) {
  out.number(static_cast<std::uint32_t>(list.size()));
  for (const std::string& item : list) {
    out.blob(item);
  }
}

/// False when the list is longer than a message may have, or than what is left of the body could
/// hold.
bool read_list(net::WireReader& in, std::vector<std::string>& list) {
  const std::optional<std::uint32_t> count = in.number<std::uint32_t>();
  if (!count.has_value() || *count > kMaxStoreKeys || *count > in.left() / kLengthBytes) {
    return false;
  }
  list.reserve(*count);
  for (std::uint32_t i = 0; i < *count; ++i) {
    const std::optional<std::string_view> item = in.blob();
    if (!item.has_value()) {
      return false;
    }
    list.emplace_back(*item);
  }
  return true;
}

}  // namespace

void encode_request(const StoreRequest& request, std::uint32_t timeout_ms, std::uint32_t id,
                    std::string& out) {
  net::begin_frame(out);
  net::WireWriter writer(out);
  writer.number(timeout_ms);
  writer.number(request.delta);
  write_list(request.keys, writer);
  write_list(request.values, writer);
  net::finish_frame(kStoreFrames, static_cast<std::uint16_t>(request.op), id, out);
}

base::StatusOr<TimedRequest> decode_request(std::uint16_t kind, std::span<const std::byte> body) {
  net::WireReader reader(body);
  TimedRequest result;
  // Kinds beyond the enumeration are kept as they are and refused as unknown operations.
  result.request.op = static_cast<StoreOp>(kind > 255 ? 255 : kind);
  const std::optional<std::uint32_t> timeout_ms = reader.number<std::uint32_t>();
  const std::optional<std::int64_t> delta = reader.number<std::int64_t>();
  if (!timeout_ms.has_value() || !delta.has_value() || !read_list(reader, result.request.keys) ||
      !read_list(reader, result.request.values) || !reader.complete()) {
    return base::data_loss("store request of kind {}: the fields of its {} bytes do not add up",
                           kind, body.size());
  }
  result.timeout_ms = *timeout_ms;
  result.request.delta = *delta;
  return result;
}

void encode_reply(const base::StatusOr<StoreReply>& reply, std::uint32_t id, std::string& out) {
  net::begin_frame(out);
  net::WireWriter writer(out);
  if (reply.ok()) {
    writer.number(reply->number);
    write_list(reply->values, writer);
    net::finish_frame(kStoreFrames, kReplyKind, id, out);
    return;
  }
  writer.number(static_cast<std::uint32_t>(reply.status().code()));
  writer.blob(base::message(reply.status()).substr(0, kMaxErrorText));
  net::finish_frame(kStoreFrames, kErrorKind, id, out);
}

base::StatusOr<StoreReply> decode_reply(std::uint16_t kind, std::span<const std::byte> body) {
  net::WireReader reader(body);
  if (kind == kReplyKind) {
    StoreReply reply;
    const std::optional<std::int64_t> number = reader.number<std::int64_t>();
    if (number.has_value() && read_list(reader, reply.values) && reader.complete()) {
      reply.number = *number;
      return reply;
    }
  } else if (kind == kErrorKind) {
    const std::optional<std::uint32_t> code = reader.number<std::uint32_t>();
    const std::optional<std::string_view> text = reader.blob();
    constexpr auto kLastCode = static_cast<std::uint32_t>(base::StatusCode::kUnauthenticated);
    if (text.has_value() && reader.complete() && *code != 0 && *code <= kLastCode) {
      return base::make_status(static_cast<base::StatusCode>(*code), "{}", *text);
    }
  }
  return base::data_loss("store reply of kind {}: the fields of its {} bytes do not add up", kind,
                         body.size());
}

}  // namespace gamelan::dist
