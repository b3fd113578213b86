#include "launch/messages.h"

#include <algorithm>
#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace gamelan::launch {
namespace {

// Every message lists its fields once, in wire order; Writer and Reader both walk that list.
template <class Archive>
void fields(Archive& a, Failure& m) {
  a(m.rank, m.local_rank, m.node_rank, m.host, m.pid, m.exit_code, m.signal, m.time_us, m.message,
    m.log);
}
template <class Archive>
void fields(Archive& a, Join& m) {
  a(m.version, m.run_id, m.nnodes, m.node_rank, m.nproc, m.host, m.pid, m.address);
}
template <class Archive>
void fields(Archive& a, Welcome& m) {
  a(m.node_rank);
}
template <class Archive>
void fields(Archive& a, Refused& m) {
  a(m.reason);
}
template <class Archive>
void fields(Archive& a, Missing& m) {
  a(m.nodes);
}
template <class Archive>
void fields(Archive& a, Start& m) {
  a(m.attempt, m.first_rank, m.world_size, m.group_world_size, m.master_addr, m.master_port,
    m.store);
}
template <class Archive>
void fields(Archive& a, Succeeded& m) {
  a(m.attempt);
}
template <class Archive>
void fields(Archive& a, Failed& m) {
  a(m.attempt, m.failures);
}
template <class Archive>
void fields(Archive& a, Stop& m) {
  a(m.attempt, m.reason);
}
template <class Archive>
void fields(Archive& a, Stopped& m) {
  a(m.attempt);
}
template <class Archive>
void fields(Archive& a, Leaving& m) {
  a(m.signal);
}
template <class Archive>
void fields(Archive& a, Finish& m) {
  a(m.exit_code, m.headline, m.failures);
}
template <class Archive>
void fields(Archive&, Ping&) {}

// A frame holds at most this much text in one field and this many failures, so that it stays under
// kMaxFrameBytes whatever a worker wrote.
constexpr std::size_t kMaxText = 8192;
constexpr std::size_t kMaxFailures = 32;

class Writer {
 public:
  template <class... Fields>
  void operator()(Fields&... values) {
    (put(values), ...);
  }
  std::string take() { return std::move(out_); }

  template <std::integral T>
  void put(T value) {
    auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      out_.push_back(static_cast<char>(bits & 0xff));
      bits = static_cast<decltype(bits)>(bits >> (sizeof(T) > 1 ? 8 : 0));
    }
  }
  void put(const std::string& text) {
    const std::size_t size = std::min(text.size(), kMaxText);
    put(static_cast<std::uint32_t>(size));
    out_.append(text, 0, size);
  }
  void put(std::vector<Failure>& list) {
    const std::size_t size = std::min(list.size(), kMaxFailures);
    put(static_cast<std::uint32_t>(size));
    for (std::size_t i = 0; i < size; ++i) {
      fields(*this, list[i]);
    }
  }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class... Fields>
  void operator()(Fields&... values) {
    (get(values), ...);
  }
  bool complete() const { return ok_ && bytes_.empty(); }

  template <std::integral T>
  void get(T& value) {
    if (!ok_ || bytes_.size() < sizeof(T)) {
      ok_ = false;
      return;
    }
    std::make_unsigned_t<T> bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bits |= static_cast<std::make_unsigned_t<T>>(std::to_integer<std::uint64_t>(bytes_[i])
                                                   << (8 * i));
    }
    value = static_cast<T>(bits);
    bytes_ = bytes_.subspan(sizeof(T));
  }
  void get(std::string& text) {
    std::uint32_t size = 0;
    get(size);
    if (!ok_ || size > kMaxText || size > bytes_.size()) {
      ok_ = false;
      return;
    }
    text.assign(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
  }
  void get(std::vector<Failure>& list) {
    std::uint32_t size = 0;
    get(size);
    if (!ok_ || size > kMaxFailures) {
      ok_ = false;
      return;
    }
    for (std::uint32_t i = 0; ok_ && i < size; ++i) {
      fields(*this, list.emplace_back());
    }
  }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

template <std::size_t... Index>
base::StatusOr<Message> decode_type(std::size_t type, Reader reader,
                                    std::index_sequence<Index...>) {
  Message message;
  const bool known =
      ((type == Index ? (fields(reader, message.emplace<Index>()), true) : false) || ...);
  if (!known) {
    return base::data_loss("agent message: expected a type below {}, got {}", sizeof...(Index),
                           type);
  }
  if (!reader.complete()) {
    return base::data_loss("agent message of type {}: its fields do not fill the frame", type);
  }
  return message;
}

}  // namespace

std::string encode(const Message& message) {
  Writer body;
  body.put(static_cast<std::uint8_t>(message.index()));
  std::visit([&](auto copy) { fields(body, copy); }, message);
  const std::string bytes = body.take();
  Writer frame;
  frame.put(static_cast<std::uint32_t>(bytes.size()));
  return frame.take() + bytes;
}

base::StatusOr<Message> decode(std::span<const std::byte> body) {
  if (body.empty()) {
    return base::data_loss("agent message: empty frame");
  }
  return decode_type(std::to_integer<std::size_t>(body[0]), Reader(body.subspan(1)),
                     std::make_index_sequence<std::variant_size_v<Message>>{});
}

}  // namespace gamelan::launch
