#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/socket.h"

namespace gamelan::net::testing {

inline base::TimePoint soon(std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  return base::deadline_after(timeout);
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string receive_text(int socket, std::size_t count) {
  std::string text(count, '\0');
  const base::Status status =
      recv_all(socket, std::as_writable_bytes(std::span(text.data(), count)), soon());
  EXPECT_TRUE(status.ok()) << status;
  return text;
}

struct Pair {
  base::Fd client;
  base::Fd server;
};

/// A connected pair over TCP on the loopback address.
inline Pair tcp_pair() {
  auto listener = listen_tcp({"127.0.0.1", 0});
  EXPECT_TRUE(listener.ok()) << listener.status();
  auto client = connect_tcp(*local_endpoint(listener->get()), soon());
  EXPECT_TRUE(client.ok()) << client.status();
  auto server = accept(listener->get(), soon());
  EXPECT_TRUE(server.ok()) << server.status();
  return {*std::move(client), *std::move(server)};
}

}  // namespace gamelan::net::testing
