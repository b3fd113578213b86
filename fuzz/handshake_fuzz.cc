// What a stranger sends to either side of the handshake.

#include <cstdlib>

#include "net/auth.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gamelan::net;
  static const Token token("fuzz");
  const auto bytes = std::as_bytes(std::span(data, size));
  check_client_prefix(bytes.first(std::min<std::size_t>(size, kHandshakePrefixBytes)))
      .IgnoreError();
  ServerHandshake server(token, "fuzz");
  const auto challenge = server.challenge(bytes.first(std::min(size, kClientHelloBytes)));
  if (challenge.ok() && server.verify(bytes.subspan(kClientHelloBytes)).ok()) {
    std::abort();  // nobody guesses a proof
  }
  ClientHandshake client(token, "fuzz");
  const auto proof = client.answer(bytes.first(std::min(size, kServerChallengeBytes)));
  if (proof.ok() && client.verify(bytes.subspan(kServerChallengeBytes)).ok()) {
    std::abort();
  }
  return 0;
}
