#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/status.h"
#include "dist/store/tcp_store.h"

namespace gamelan::dist::testing {

// Long enough for a loaded machine under a sanitizer; only a failing test waits for it.
inline constexpr std::chrono::milliseconds kPatience{60'000};

inline std::string text_of(const base::Status& status) {
  return std::string(base::message(status));
}

inline std::unique_ptr<StoreServer> start_server(const net::Token& token = net::Token("t")) {
  StoreServerOptions options;
  options.token = token;
  auto server = StoreServer::start(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

inline base::StatusOr<std::shared_ptr<TcpStore>> try_connect(
    const net::Endpoint& endpoint, const net::Token& token = net::Token("t"),
    std::chrono::milliseconds timeout = kPatience) {
  TcpStoreOptions options;
  options.endpoint = endpoint;
  options.token = token;
  options.timeout = timeout;
  return TcpStore::create(std::move(options));
}

inline std::shared_ptr<TcpStore> connect(const net::Endpoint& endpoint) {
  auto store = try_connect(endpoint);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

}  // namespace gamelan::dist::testing
