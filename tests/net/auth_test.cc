#include "net/auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/net/net_fixtures.h"

namespace gamelan::net {
namespace {

using base::Status;
using base::StatusCode;
using std::chrono::milliseconds;
using testing::bytes_of;
using ::testing::HasSubstr;
using testing::Pair;
using testing::receive_text;
using testing::soon;
using testing::tcp_pair;

std::string text_of(const Status& status) {
  return std::string(base::message(status));
}

struct Outcome {
  Status client;
  Status server;
};

Outcome handshake(const Token& client_token, const Token& server_token,
                  std::string_view client_context = "store",
                  std::string_view server_context = "store") {
  const Pair pair = tcp_pair();
  Outcome outcome;
  std::thread server([&] {
    outcome.server = authenticate_server(pair.server.get(), server_token, server_context, soon());
  });
  outcome.client = authenticate_client(pair.client.get(), client_token, client_context, soon());
  server.join();
  return outcome;
}

TEST(AuthTest, SameTokenOpens) {
  for (const Token& token : {Token::random(), Token("x"), Token()}) {
    const Outcome outcome = handshake(token, token);
    EXPECT_TRUE(outcome.client.ok()) << outcome.client;
    EXPECT_TRUE(outcome.server.ok()) << outcome.server;
  }
}

TEST(AuthTest, WrongTokenIsRefusedOnBothSidesAndSaysWhatToDo) {
  const Outcome outcome = handshake(Token("one"), Token("two"));
  EXPECT_EQ(outcome.client.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(outcome.server.code(), StatusCode::kPermissionDenied);
  for (const Status& status : {outcome.client, outcome.server}) {
    EXPECT_THAT(text_of(status), HasSubstr("wrong token"));
    EXPECT_THAT(text_of(status), HasSubstr("GAMELAN_TOKEN"));
    EXPECT_THAT(text_of(status), HasSubstr("127.0.0.1:"));
  }
}

TEST(AuthTest, MissingTokenOnEitherSideIsRefused) {
  const Outcome without = handshake(Token(), Token("two"));
  EXPECT_THAT(text_of(without.client), HasSubstr("has no token"));
  EXPECT_EQ(without.server.code(), StatusCode::kPermissionDenied);
  const Outcome with = handshake(Token("one"), Token());
  EXPECT_EQ(with.client.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(with.server.code(), StatusCode::kPermissionDenied);
}

TEST(AuthTest, AnotherServiceIsRefused) {
  const Token token = Token::random();
  const Outcome outcome = handshake(token, token, "store", "transport generation 3");
  EXPECT_EQ(outcome.client.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(outcome.server.code(), StatusCode::kPermissionDenied);
}

/// A server that accepts everybody but does not know the token.
TEST(AuthTest, ClientRefusesAServerWithoutTheToken) {
  const Pair pair = tcp_pair();
  std::thread server([&] {
    ServerHandshake handshake(Token("guess"), "store");
    std::array<std::byte, kClientHelloBytes> hello;
    EXPECT_TRUE(recv_all(pair.server.get(), hello, soon()).ok());
    EXPECT_TRUE(send_all(pair.server.get(), *handshake.challenge(hello), soon()).ok());
    std::array<std::byte, kProofBytes> proof;
    EXPECT_TRUE(recv_all(pair.server.get(), proof, soon()).ok());
    // The best it can do: send the client's own proof back.
    EXPECT_TRUE(send_all(pair.server.get(), proof, soon()).ok());
  });
  const Status status = authenticate_client(pair.client.get(), Token("real"), "store", soon());
  server.join();
  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(text_of(status), HasSubstr("could not prove"));
}

TEST(AuthTest, HttpStrangersAreToldAtOnce) {
  Pair pair = tcp_pair();
  // Fewer bytes than a hello, and the stranger then waits for an answer.
  ASSERT_TRUE(send_all(pair.client.get(), bytes_of("GET / HTTP/1.1\r\n"), soon()).ok());
  const Status server = authenticate_server(pair.server.get(), Token("t"), "store", soon());
  EXPECT_EQ(server.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(text_of(server), HasSubstr("GET / HT"));

  pair = tcp_pair();
  ASSERT_TRUE(send_all(pair.server.get(), bytes_of("HTTP/1.1 400 Bad"), soon()).ok());
  const Status client = authenticate_client(pair.client.get(), Token("t"), "store", soon());
  EXPECT_EQ(client.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(text_of(client), HasSubstr("HTTP/1.1"));
  EXPECT_THAT(text_of(client), HasSubstr("does not speak Gamelan"));
}

TEST(AuthTest, AnotherVersionIsNamed) {
  const Pair pair = tcp_pair();
  std::string hello(
      "GAML\x07\x00"
      "C\x00",
      8);
  hello += std::string(kNonceBytes, 'n');
  ASSERT_TRUE(send_all(pair.client.get(), bytes_of(hello), soon()).ok());
  const Status server = authenticate_server(pair.server.get(), Token("t"), "store", soon());
  EXPECT_EQ(server.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(text_of(server), HasSubstr("version 1 expected, got 7"));
}

TEST(AuthTest, TruncatedHelloIsUnavailable) {
  for (const std::size_t count : {0, 3, 8, 39}) {
    Pair pair = tcp_pair();
    ClientHandshake handshake(Token("t"), "store");
    const auto hello = handshake.hello();
    ASSERT_TRUE(send_all(pair.client.get(), std::span(hello).first(count), soon()).ok());
    pair.client.reset();
    EXPECT_EQ(authenticate_server(pair.server.get(), Token("t"), "store", soon()).code(),
              StatusCode::kUnavailable);
  }
}

TEST(AuthTest, TruncatedAnswersAreUnavailable) {
  // Ends inside the challenge, and inside the final proof.
  for (const bool challenge_too : {false, true}) {
    Pair pair = tcp_pair();
    std::thread server([&] {
      ServerHandshake handshake(Token("t"), "store");
      std::array<std::byte, kClientHelloBytes> hello;
      EXPECT_TRUE(recv_all(pair.server.get(), hello, soon()).ok());
      const auto challenge = *handshake.challenge(hello);
      const std::size_t count = challenge_too ? challenge.size() : 20;
      EXPECT_TRUE(send_all(pair.server.get(), std::span(challenge).first(count), soon()).ok());
      if (challenge_too) {
        receive_text(pair.server.get(), kProofBytes);
        EXPECT_TRUE(send_all(pair.server.get(), bytes_of("short"), soon()).ok());
      }
      pair.server.reset();
    });
    EXPECT_EQ(authenticate_client(pair.client.get(), Token("t"), "store", soon()).code(),
              StatusCode::kUnavailable);
    server.join();
  }
}

TEST(AuthTest, SilentPeersEndAtTheDeadline) {
  const Pair pair = tcp_pair();
  EXPECT_EQ(
      authenticate_server(pair.server.get(), Token("t"), "store", soon(milliseconds(20))).code(),
      StatusCode::kDeadlineExceeded);
  EXPECT_EQ(
      authenticate_client(pair.client.get(), Token("t"), "store", soon(milliseconds(20))).code(),
      StatusCode::kDeadlineExceeded);
}

TEST(AuthTest, NoncesAndProofsDifferEachTime) {
  const Token token("t");
  EXPECT_NE(ClientHandshake(token, "store").hello(), ClientHandshake(token, "store").hello());
  ClientHandshake client(token, "store");
  ServerHandshake first(token, "store");
  ServerHandshake second(token, "store");
  const auto proof = *client.answer(*first.challenge(client.hello()));
  EXPECT_TRUE(first.verify(proof).ok());
  // A recorded proof is worth nothing on another connection.
  ASSERT_TRUE(second.challenge(client.hello()).ok());
  EXPECT_EQ(second.verify(proof).status().code(), StatusCode::kPermissionDenied);
}

TEST(TokenTest, RandomTokensAreLongAndDifferent) {
  EXPECT_EQ(Token::random().secret().size(), 64u);
  EXPECT_NE(Token::random().secret(), Token::random().secret());
}

TEST(TokenTest, FromFileTakesTheFirstLine) {
  const std::string path = ::testing::TempDir() + fmt::format("token-{}", ::getpid());
  std::ofstream(path) << "secret \r\nsecond line\n";
  EXPECT_EQ(Token::from_file(path)->secret(), "secret");
  std::ofstream(path) << "\n";
  EXPECT_EQ(Token::from_file(path).status().code(), StatusCode::kInvalidArgument);
  std::ofstream(path) << std::string(10'000, 's');
  EXPECT_EQ(Token::from_file(path).status().code(), StatusCode::kInvalidArgument);
  ::unlink(path.c_str());
  const auto missing = Token::from_file(path);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(text_of(missing.status()), HasSubstr(path));
}

TEST(TokenTest, FromEnvironment) {
  ::unsetenv("GAMELAN_TOKEN");
  EXPECT_FALSE(Token::from_environment().has_value());
  ::setenv("GAMELAN_TOKEN", "from env", 1);
  EXPECT_EQ(Token::from_environment()->secret(), "from env");
  ::unsetenv("GAMELAN_TOKEN");
}

}  // namespace
}  // namespace gamelan::net
