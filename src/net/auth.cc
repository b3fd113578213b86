#include "net/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "net/socket.h"
#include "net/socket_address.h"

namespace gamelan::net {
namespace {

// The first eight bytes of both hellos; docs/formats/handshake.md.
using Prefix = std::array<std::uint8_t, kHandshakePrefixBytes>;
constexpr Prefix kClientPrefix = {'G', 'A', 'M', 'L', 1, 0, 'C', 0};
constexpr Prefix kServerPrefix = {'G', 'A', 'M', 'L', 1, 0, 'S', 0};
constexpr std::size_t kVersionOffset = 4;
constexpr std::size_t kMaxTokenFileLine = 4096;

constexpr std::string_view kSameToken =
    "give every process of the job the same GAMELAN_TOKEN or --token-file";

void fill_random(std::byte* out, std::size_t count) {
  GAMELAN_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(out), static_cast<int>(count)) == 1,
                "the system's random generator gives {} bytes", count);
}

std::string printable(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes.first(std::min(bytes.size(), kHandshakePrefixBytes))) {
    const auto c = std::to_integer<unsigned char>(byte);
    text +=
        std::isprint(c) != 0 ? std::string(1, static_cast<char>(c)) : fmt::format("\\x{:02x}", c);
  }
  return text;
}

base::Status check_prefix(std::span<const std::byte> bytes, const Prefix& expected,
                          std::string_view whose) {
  const std::size_t count = std::min(bytes.size(), expected.size());
  // Everything but the version first: with another version the other side is still Gamelan.
  for (std::size_t i = 0; i < count; ++i) {
    const bool version = i == kVersionOffset || i == kVersionOffset + 1;
    if (!version && std::to_integer<std::uint8_t>(bytes[i]) != expected[i]) {
      return base::invalid_argument(
          "the other side does not speak Gamelan's protocol: expected the {} of its handshake, got "
          "\"{}\"",
          whose, printable(bytes));
    }
  }
  if (count == expected.size() &&
      std::memcmp(bytes.data() + kVersionOffset, expected.data() + kVersionOffset, 2) != 0) {
    const int version = std::to_integer<int>(bytes[kVersionOffset]) +
                        256 * std::to_integer<int>(bytes[kVersionOffset + 1]);
    return base::failed_precondition(
        "handshake version {} expected, got {}: all processes of a job need the same Gamelan",
        static_cast<int>(expected[kVersionOffset]), version);
  }
  return base::OkStatus();
}

template <std::size_t kBytes>
std::array<std::byte, kBytes> hello_of(const Prefix& prefix,
                                       const std::array<std::byte, kNonceBytes>& nonce) {
  static_assert(kBytes == kHandshakePrefixBytes + kNonceBytes);
  std::array<std::byte, kBytes> out{};
  std::memcpy(out.data(), prefix.data(), prefix.size());
  std::memcpy(out.data() + prefix.size(), nonce.data(), nonce.size());
  return out;
}

/// HMAC-SHA256(token, role || context length || context || client nonce || server nonce). The role
/// keeps a proof from being sent back to its maker; the length keeps context and nonces apart.
std::array<std::byte, kProofBytes> proof_of(
    const std::string& secret, std::string_view role, const std::string& context,
    const std::array<std::byte, kNonceBytes>& client_nonce,
    const std::array<std::byte, kNonceBytes>& server_nonce) {
  std::vector<unsigned char> text;
  const auto append = [&text](const void* data, std::size_t count) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    text.insert(text.end(), bytes, bytes + count);
  };
  append(role.data(), role.size());
  for (int shift = 0; shift < 32; shift += 8) {
    text.push_back(static_cast<unsigned char>(context.size() >> shift));
  }
  append(context.data(), context.size());
  append(client_nonce.data(), client_nonce.size());
  append(server_nonce.data(), server_nonce.size());
  std::array<std::byte, kProofBytes> proof{};
  unsigned int length = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), text.data(), text.size(),
           reinterpret_cast<unsigned char*>(proof.data()), &length);
  GAMELAN_CHECK(made != nullptr && length == proof.size(), "HMAC-SHA256 gives {} bytes",
                proof.size());
  return proof;
}

constexpr std::string_view kClientRole = "gamelan client 1";
constexpr std::string_view kServerRole = "gamelan server 1";

bool same(std::span<const std::byte> got, std::span<const std::byte> expected) {
  return got.size() == expected.size() &&
         CRYPTO_memcmp(got.data(), expected.data(), expected.size()) == 0;
}

}  // namespace

Token Token::random() {
  std::array<std::byte, 32> bytes{};
  fill_random(bytes.data(), bytes.size());
  std::string secret;
  for (const std::byte byte : bytes) {
    secret += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return Token(std::move(secret));
}

std::optional<Token> Token::from_environment() {
  const char* value = std::getenv("GAMELAN_TOKEN");
  if (value == nullptr || *value == '\0') {
    return std::nullopt;
  }
  return Token(value);
}

base::StatusOr<Token> Token::from_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return base::errno_status(errno == 0 ? EIO : errno, "open token file {}", path);
  }
  std::string line;
  char c = 0;
  while (line.size() <= kMaxTokenFileLine && file.get(c) && c != '\n') {
    line += c;
  }
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
    line.pop_back();
  }
  if (line.empty() || line.size() > kMaxTokenFileLine) {
    return base::invalid_argument("token file {}: expected a first line of 1 to {} bytes, got {}",
                                  path, kMaxTokenFileLine, line.empty() ? "none" : "a longer one");
  }
  return Token(std::move(line));
}

base::Status check_client_prefix(std::span<const std::byte> bytes) {
  return check_prefix(bytes, kClientPrefix, "client hello");
}

ClientHandshake::ClientHandshake(const Token& token, std::string_view context)
    : secret_(token.secret()), context_(context) {
  fill_random(client_nonce_.data(), client_nonce_.size());
}

std::array<std::byte, kClientHelloBytes> ClientHandshake::hello() const {
  return hello_of<kClientHelloBytes>(kClientPrefix, client_nonce_);
}

base::StatusOr<std::array<std::byte, kProofBytes>> ClientHandshake::answer(
    std::span<const std::byte> challenge) {
  GAMELAN_RETURN_IF_ERROR(check_prefix(challenge, kServerPrefix, "server challenge"));
  if (challenge.size() != kServerChallengeBytes) {
    return base::invalid_argument("expected a server challenge of {} bytes, got {}",
                                  kServerChallengeBytes, challenge.size());
  }
  std::memcpy(server_nonce_.data(), challenge.data() + kHandshakePrefixBytes, kNonceBytes);
  return proof_of(secret_, kClientRole, context_, client_nonce_, server_nonce_);
}

base::Status ClientHandshake::verify(std::span<const std::byte> server_proof) const {
  if (same(server_proof, proof_of(secret_, kServerRole, context_, client_nonce_, server_nonce_))) {
    return base::OkStatus();
  }
  const bool refused = std::all_of(server_proof.begin(), server_proof.end(),
                                   [](std::byte b) { return b == std::byte{0}; });
  if (refused) {
    return base::permission_denied(
        "wrong token: the other side refused {}, or it is not the service \"{}\"; {}",
        secret_.empty() ? "this process, which has no token" : "this process's token", context_,
        kSameToken);
  }
  return base::permission_denied(
      "wrong token: the other side could not prove that it knows this process's token; {}",
      kSameToken);
}

ServerHandshake::ServerHandshake(const Token& token, std::string_view context)
    : secret_(token.secret()), context_(context) {
  fill_random(server_nonce_.data(), server_nonce_.size());
}

base::StatusOr<std::array<std::byte, kServerChallengeBytes>> ServerHandshake::challenge(
    std::span<const std::byte> client_hello) {
  GAMELAN_RETURN_IF_ERROR(check_client_prefix(client_hello));
  if (client_hello.size() != kClientHelloBytes) {
    return base::invalid_argument("expected a client hello of {} bytes, got {}", kClientHelloBytes,
                                  client_hello.size());
  }
  std::memcpy(client_nonce_.data(), client_hello.data() + kHandshakePrefixBytes, kNonceBytes);
  return hello_of<kServerChallengeBytes>(kServerPrefix, server_nonce_);
}

base::StatusOr<std::array<std::byte, kProofBytes>> ServerHandshake::verify(
    std::span<const std::byte> client_proof) {
  if (!same(client_proof, proof_of(secret_, kClientRole, context_, client_nonce_, server_nonce_))) {
    return base::permission_denied(
        "wrong token: the client does not know {}, or wants another service than \"{}\"; {}",
        secret_.empty() ? "that this process has none" : "this process's token", context_,
        kSameToken);
  }
  return proof_of(secret_, kServerRole, context_, client_nonce_, server_nonce_);
}

base::Status authenticate_client(int socket, const Token& token, std::string_view context,
                                 base::TimePoint deadline) {
  const std::string who = describe_peer(socket);  // now: a closed socket knows no peer
  const auto run = [&]() -> base::Status {
    ClientHandshake handshake(token, context);
    GAMELAN_RETURN_IF_ERROR(send_all(socket, handshake.hello(), deadline));
    std::array<std::byte, kServerChallengeBytes> challenge;
    const auto prefix = std::span(challenge).first<kHandshakePrefixBytes>();
    GAMELAN_RETURN_IF_ERROR(recv_all(socket, prefix, deadline));
    // A stranger may never send more than its greeting: look before waiting for the rest.
    GAMELAN_RETURN_IF_ERROR(check_prefix(prefix, kServerPrefix, "server challenge"));
    GAMELAN_RETURN_IF_ERROR(
        recv_all(socket, std::span(challenge).subspan<kHandshakePrefixBytes>(), deadline));
    GAMELAN_ASSIGN_OR_RETURN(const auto proof, handshake.answer(challenge));
    GAMELAN_RETURN_IF_ERROR(send_all(socket, proof, deadline));
    std::array<std::byte, kProofBytes> server_proof;
    GAMELAN_RETURN_IF_ERROR(recv_all(socket, server_proof, deadline));
    return handshake.verify(server_proof);
  };
  const base::Status status = run();
  return status.ok()
             ? status
             : base::annotate(status, fmt::format("handshake with the {} at {}", context, who));
}

base::Status authenticate_server(int socket, const Token& token, std::string_view context,
                                 base::TimePoint deadline) {
  const std::string who = describe_peer(socket);
  const auto run = [&]() -> base::Status {
    ServerHandshake handshake(token, context);
    std::array<std::byte, kClientHelloBytes> hello;
    const auto prefix = std::span(hello).first<kHandshakePrefixBytes>();
    GAMELAN_RETURN_IF_ERROR(recv_all(socket, prefix, deadline));
    GAMELAN_RETURN_IF_ERROR(check_client_prefix(prefix));
    GAMELAN_RETURN_IF_ERROR(
        recv_all(socket, std::span(hello).subspan<kHandshakePrefixBytes>(), deadline));
    GAMELAN_ASSIGN_OR_RETURN(const auto challenge, handshake.challenge(hello));
    GAMELAN_RETURN_IF_ERROR(send_all(socket, challenge, deadline));
    std::array<std::byte, kProofBytes> client_proof;
    GAMELAN_RETURN_IF_ERROR(recv_all(socket, client_proof, deadline));
    const auto proof = handshake.verify(client_proof);
    if (!proof.ok()) {
      const std::array<std::byte, kProofBytes> refusal{};
      send_all(socket, refusal, deadline).IgnoreError();
      return proof.status();
    }
    return send_all(socket, *proof, deadline);
  };
  const base::Status status = run();
  return status.ok() ? status
                     : base::annotate(status, fmt::format("handshake of a client of the {} from {}",
                                                          context, who));
}

}  // namespace gamelan::net
