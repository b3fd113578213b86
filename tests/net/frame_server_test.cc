#include "net/frame_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "tests/net/net_fixtures.h"

namespace gamelan::net {
namespace {

using base::StatusCode;
using std::chrono::milliseconds;
using testing::bytes_of;
using testing::receive_text;
using testing::soon;

constexpr FrameFormat kFormat{{'E', 'C', 'H', 'O'}, 1, 32 << 20};
constexpr std::uint16_t kBigReply = 9;  // the server answers with a body of 1 MiB
const Token kToken("t");

/// A server that sends every frame back.
class EchoServer {
 public:
  explicit EchoServer(FrameServer::Options options = {}) {
    options.format = kFormat;
    options.token = kToken;
    options.service = "echo";
    base::Fd listener = *listen_tcp({"127.0.0.1", 0});
    endpoint = *local_endpoint(listener.get());
    server_.emplace(
        loop_, std::move(listener), std::move(options),
        FrameServer::Handler{[this](FrameServer::PeerId peer, const Frame& frame) {
                               std::string out;
                               begin_frame(out);
                               if (frame.header.kind == kBigReply) {
                                 out.append(1 << 20, 'B');
                               } else {
                                 out.append(reinterpret_cast<const char*>(frame.body.data()),
                                            frame.body.size());
                               }
                               finish_frame(kFormat, frame.header.kind, frame.header.id, out);
                               ++frames;
                               server_->send(peer, out);
                             },
                             [this](FrameServer::PeerId) { ++closed; }});
    loop_.post([this] { server_->start(); });
  }
  ~EchoServer() { shut_down(); }

  void shut_down() {
    loop_.post([this] { server_->close(); });
    loop_.close();
    loop_.join();
  }

  /// The server's open connections, authenticated or not.
  std::size_t connections() {
    std::promise<std::size_t> count;
    loop_.post([&] { count.set_value(server_->connections()); });
    return count.get_future().get();
  }

  Endpoint endpoint;
  std::atomic<int> frames = 0;
  std::atomic<int> closed = 0;

 private:
  EventLoop loop_;
  std::optional<FrameServer> server_;
};

base::Fd open_raw(const EchoServer& server) {
  return *connect_tcp(server.endpoint, soon());
}

base::Fd open_client(const EchoServer& server) {
  base::Fd fd = open_raw(server);
  const base::Status status = authenticate_client(fd.get(), kToken, "echo", soon());
  EXPECT_TRUE(status.ok()) << status;
  return fd;
}

std::string frame_of(std::uint16_t kind, std::uint32_t id, std::string_view body) {
  std::string out;
  begin_frame(out);
  out.append(body);
  finish_frame(kFormat, kind, id, out);
  return out;
}

/// Whether the server has ended the connection (a reset counts).
bool ended(int fd) {
  std::array<std::byte, 4096> buffer;
  base::Status status;
  while (status.ok()) {
    status = recv_all(fd, std::span(buffer).first(1), soon());
  }
  return status.code() == StatusCode::kUnavailable;
}

void expect_echo(int fd, std::uint32_t id, std::string_view body) {
  const std::string frame = frame_of(1, id, body);
  ASSERT_TRUE(send_all(fd, bytes_of(frame), soon()).ok());
  EXPECT_TRUE(receive_text(fd, frame.size()) == frame);
}

TEST(FrameServerTest, AnswersInOrderAlsoWhatIsSentAtOnceAndInPieces) {
  EchoServer server;
  const base::Fd client = open_client(server);
  std::string stream;
  for (std::uint32_t i = 0; i < 200; ++i) {
    stream += frame_of(1, i, std::string(i * 7, 'x'));
  }
  ASSERT_TRUE(send_all(client.get(), bytes_of(stream), soon()).ok());
  EXPECT_TRUE(receive_text(client.get(), stream.size()) == stream);
  const std::string one = frame_of(1, 5, "piece by piece");
  for (const char c : one) {
    ASSERT_TRUE(send_all(client.get(), bytes_of({&c, 1}), soon()).ok());
  }
  EXPECT_EQ(receive_text(client.get(), one.size()), one);
}

TEST(FrameServerTest, FramesMayFollowTheProofAtOnce) {
  EchoServer server;
  const base::Fd fd = open_raw(server);
  ClientHandshake handshake(kToken, "echo");
  ASSERT_TRUE(send_all(fd.get(), handshake.hello(), soon()).ok());
  std::array<std::byte, kServerChallengeBytes> challenge;
  ASSERT_TRUE(recv_all(fd.get(), challenge, soon()).ok());
  const auto proof = *handshake.answer(challenge);
  std::string both(reinterpret_cast<const char*>(proof.data()), proof.size());
  const std::string frame = frame_of(1, 1, "early");
  both += frame;
  ASSERT_TRUE(send_all(fd.get(), bytes_of(both), soon()).ok());
  std::array<std::byte, kProofBytes> server_proof;
  ASSERT_TRUE(recv_all(fd.get(), server_proof, soon()).ok());
  EXPECT_TRUE(handshake.verify(server_proof).ok());
  EXPECT_EQ(receive_text(fd.get(), frame.size()), frame);
}

TEST(FrameServerTest, LargeFramesBothWays) {
  EchoServer server;
  const base::Fd client = open_client(server);
  const std::string frame = frame_of(1, 1, std::string(20 << 20, 'L'));
  std::thread sender([&] { EXPECT_TRUE(send_all(client.get(), bytes_of(frame), soon()).ok()); });
  EXPECT_TRUE(receive_text(client.get(), frame.size()) == frame);
  sender.join();
}

TEST(FrameServerTest, StrangersAndWrongTokensAreCutOffAndOthersServed) {
  EchoServer server;
  const base::Fd good = open_client(server);
  const base::Fd http = open_raw(server);
  ASSERT_TRUE(send_all(http.get(), bytes_of("GET /"), soon()).ok());
  EXPECT_TRUE(ended(http.get()));
  const base::Fd wrong = open_raw(server);
  EXPECT_EQ(authenticate_client(wrong.get(), Token("other"), "echo", soon()).code(),
            StatusCode::kPermissionDenied);
  EXPECT_TRUE(ended(wrong.get()));
  expect_echo(good.get(), 1, "still here");
  EXPECT_EQ(server.closed, 0);
  EXPECT_EQ(server.connections(), 1u);
}

TEST(FrameServerTest, GarbageAfterTheHandshakeEndsThatConnectionAlone) {
  EchoServer server;
  const base::Fd good = open_client(server);
  std::string hostile = frame_of(1, 1, "");
  std::memset(hostile.data() + 12, 0xff, 4);  // a body of 4 GiB
  for (const std::string& bytes : {std::string(64, '\0'), std::string(64, '\xff'), hostile}) {
    const base::Fd bad = open_client(server);
    ASSERT_TRUE(send_all(bad.get(), bytes_of(bytes), soon()).ok());
    EXPECT_TRUE(ended(bad.get()));
  }
  expect_echo(good.get(), 1, "still here");
  EXPECT_EQ(server.closed, 3);
}

TEST(FrameServerTest, SilentStrangersAreCutOffAfterTheHandshakeTimeout) {
  EchoServer server({.handshake_timeout = milliseconds(50)});
  const base::Fd silent = open_raw(server);
  const base::Fd halfway = open_raw(server);
  ClientHandshake handshake(kToken, "echo");
  ASSERT_TRUE(send_all(halfway.get(), handshake.hello(), soon()).ok());
  EXPECT_TRUE(ended(silent.get()));
  EXPECT_TRUE(ended(halfway.get()));
  // Who has proved himself may be silent as long as he likes.
  const base::Fd good = open_client(server);
  const base::Fd later = open_raw(server);
  EXPECT_TRUE(ended(later.get()));
  expect_echo(good.get(), 1, "hello");
}

TEST(FrameServerTest, HalfFramesAndHalfClosedConnectionsAreForgotten) {
  EchoServer server;
  base::Fd half_frame = open_client(server);
  ASSERT_TRUE(
      send_all(half_frame.get(), bytes_of(frame_of(1, 1, "abc").substr(0, 17)), soon()).ok());
  half_frame.reset();
  const base::Fd half_closed = open_client(server);
  ASSERT_EQ(::shutdown(half_closed.get(), SHUT_WR), 0);
  EXPECT_TRUE(ended(half_closed.get()));
  const base::Fd good = open_client(server);
  expect_echo(good.get(), 1, "hello");
  while (server.closed < 2) {
    std::this_thread::yield();
  }
  EXPECT_EQ(server.connections(), 1u);
}

TEST(FrameServerTest, AClientThatDoesNotReadIsNotReadFromAndHindersNoOther) {
  EchoServer server;
  const base::Fd slow = open_client(server);
  constexpr int kRequests = 100;  // 100 MiB of answers
  std::string stream;
  for (int i = 0; i < kRequests; ++i) {
    stream += frame_of(kBigReply, static_cast<std::uint32_t>(i), "");
  }
  ASSERT_TRUE(send_all(slow.get(), bytes_of(stream), soon()).ok());
  const base::Fd good = open_client(server);
  for (int i = 0; i < 50; ++i) {
    expect_echo(good.get(), 1, "quick");
  }
  // The kernel's buffers hold a few MiB; the rest of the requests stays unread.
  EXPECT_LT(server.frames - 50, kRequests);
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_TRUE(receive_text(slow.get(), kFrameHeaderBytes + (1 << 20)) ==
                frame_of(kBigReply, static_cast<std::uint32_t>(i), std::string(1 << 20, 'B')));
  }
  expect_echo(slow.get(), 7, "in order again");
}

TEST(FrameServerTest, APeerWithTooMuchUnsentIsCutOff) {
  EchoServer server({.pause_unsent_bytes = 64 << 20, .max_unsent_bytes = 8 << 20});
  const base::Fd slow = open_client(server);
  std::string stream;
  for (int i = 0; i < 100; ++i) {
    stream += frame_of(kBigReply, 1, "");
  }
  ASSERT_TRUE(send_all(slow.get(), bytes_of(stream), soon()).ok());
  while (server.closed == 0) {
    std::this_thread::yield();
  }
  EXPECT_EQ(server.connections(), 0u);
}

/// Lowers the limit of open descriptors for a scope.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t limit) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit few{limit, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(FrameServerTest, RunningOutOfDescriptorsOnlyDelaysNewClients) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP()
      << "the undefined-behaviour sanitizer reads memory through a pipe: with no descriptor "
         "left it takes every object for an invalid one";
#endif
  const FewDescriptors limit(128);
  EchoServer server;
  const base::Fd before = open_client(server);
  // Use up all but one descriptor, which the next client takes: accepting it fails.
  std::vector<base::Fd> hoard;
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) {
    hoard.emplace_back(fd);
  }
  hoard.pop_back();
  const base::Fd late = open_raw(server);
  for (int i = 0; i < 20; ++i) {
    expect_echo(before.get(), 1, "served meanwhile");
  }
  hoard.clear();
  EXPECT_TRUE(authenticate_client(late.get(), kToken, "echo", soon()).ok());
  expect_echo(late.get(), 1, "late");
}

TEST(FrameServerTest, CloseReportsEveryPeerOnceAndEndsThem) {
  EchoServer server;
  std::vector<base::Fd> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(open_client(server));
  }
  const base::Fd stranger = open_raw(server);
  expect_echo(clients[0].get(), 1, "hello");
  server.shut_down();
  EXPECT_EQ(server.closed, 10);
  for (const base::Fd& client : clients) {
    EXPECT_TRUE(ended(client.get()));
  }
  EXPECT_TRUE(ended(stranger.get()));
  EXPECT_FALSE(connect_tcp_once(server.endpoint, soon()).ok());
}

}  // namespace
}  // namespace gamelan::net
