#pragma once

// The job token and the handshake that every connection of a job begins with;
// docs/formats/handshake.md has the bytes. Both sides prove that they know the token (HMAC-SHA256
// over both nonces and a context string) and neither ever sends it.

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

namespace gamelan::net {

/// The secret that the processes of one job share. A value type.
class Token {
 public:
  /// An empty token: the handshake still runs, so that strangers are told what they reached.
  Token() = default;
  explicit Token(std::string secret) : secret_(std::move(secret)) {}
  /// 32 random bytes in hex.
  static Token random();
  /// GAMELAN_TOKEN; nullopt when unset.
  static std::optional<Token> from_environment();
  /// The first line of a file.
  static base::StatusOr<Token> from_file(const std::string& path);

  bool empty() const { return secret_.empty(); }
  const std::string& secret() const { return secret_; }

 private:
  std::string secret_;
};

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kHandshakePrefixBytes = 8;  // magic, version, role: of both hellos
inline constexpr std::size_t kClientHelloBytes = 8 + kNonceBytes;      // magic, version, nonce
inline constexpr std::size_t kServerChallengeBytes = 8 + kNonceBytes;  // magic, version, nonce
inline constexpr std::size_t kProofBytes = 32;

/// Whether `bytes`, the first 1 to 8 bytes that a client sent, can begin a client hello: a server
/// turns a stranger (an HTTP client, say) away as soon as it sees them.
base::Status check_client_prefix(std::span<const std::byte> bytes);

/// One side of the handshake without any I/O, for event loops and for the blocking calls below:
/// client hello -> server challenge -> client proof -> server proof (or a refusal).
class ClientHandshake {
 public:
  ClientHandshake(const Token& token, std::string_view context);
  std::array<std::byte, kClientHelloBytes> hello() const;
  /// The proof to send after the server's challenge; an error when the other side is not Gamelan.
  base::StatusOr<std::array<std::byte, kProofBytes>> answer(std::span<const std::byte> challenge);
  /// kPermissionDenied when the server does not know the token.
  base::Status verify(std::span<const std::byte> server_proof) const;

 private:
  std::string secret_;
  std::string context_;
  std::array<std::byte, kNonceBytes> client_nonce_;
  std::array<std::byte, kNonceBytes> server_nonce_{};
};

class ServerHandshake {
 public:
  ServerHandshake(const Token& token, std::string_view context);
  base::StatusOr<std::array<std::byte, kServerChallengeBytes>> challenge(
      std::span<const std::byte> client_hello);
  /// The server's own proof; kPermissionDenied when the client does not know the token. All zeros
  /// are sent to a refused client before the connection is closed, so that it can say "wrong
  /// token".
  base::StatusOr<std::array<std::byte, kProofBytes>> verify(
      std::span<const std::byte> client_proof);

 private:
  std::string secret_;
  std::string context_;
  std::array<std::byte, kNonceBytes> client_nonce_{};
  std::array<std::byte, kNonceBytes> server_nonce_;
};

/// The handshake on a connected blocking socket. `context` names the service ("store", "transport
/// generation 3"); both sides must pass the same one.
base::Status authenticate_client(int socket, const Token& token, std::string_view context,
                                 base::TimePoint deadline);
base::Status authenticate_server(int socket, const Token& token, std::string_view context,
                                 base::TimePoint deadline);

}  // namespace gamelan::net
