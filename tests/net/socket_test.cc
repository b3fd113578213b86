#include "net/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/net/net_fixtures.h"

namespace gamelan::net {
namespace {

using base::StatusCode;
using std::chrono::milliseconds;
using testing::bytes_of;
using ::testing::HasSubstr;
using testing::Pair;
using testing::receive_text;
using testing::soon;
using testing::tcp_pair;

std::string text_of(const base::Status& status) {
  return std::string(base::message(status));
}

TEST(SocketTest, SendsAndReceivesMoreThanTheBuffersHold) {
  const Pair pair = tcp_pair();
  const std::string sent(8 << 20, 'x');
  std::thread sender(
      [&] { EXPECT_TRUE(send_all(pair.client.get(), bytes_of(sent), soon()).ok()); });
  EXPECT_EQ(receive_text(pair.server.get(), sent.size()), sent);
  sender.join();
}

TEST(SocketTest, ConnectionsAreBlockingCloseOnExecAndWithoutDelay) {
  const Pair pair = tcp_pair();
  for (const int fd : {pair.client.get(), pair.server.get()}) {
    EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    int on = 0;
    socklen_t length = sizeof(on);
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    EXPECT_EQ(on, 1);
  }
  EXPECT_EQ(*local_endpoint(pair.client.get()), *peer_endpoint(pair.server.get()));
}

TEST(SocketTest, PortInUseSaysSo) {
  const auto first = listen_tcp({"127.0.0.1", 0});
  ASSERT_TRUE(first.ok()) << first.status();
  const Endpoint taken = *local_endpoint(first->get());
  const auto second = listen_tcp(taken);
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(text_of(second.status()), HasSubstr("the port is in use"));
  EXPECT_THAT(text_of(second.status()), HasSubstr(to_string(taken)));
}

TEST(SocketTest, AnyAddressServesTheLoopbackAddress) {
  const auto listener = listen_tcp({"", 0});
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::uint16_t port = local_endpoint(listener->get())->port;
  const auto client = connect_tcp({"127.0.0.1", port}, soon());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto server = accept(listener->get(), soon());
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(peer_endpoint(server->get())->host, "127.0.0.1");
}

TEST(SocketTest, WorksOverIpv6) {
  const auto listener = listen_tcp({"::1", 0});
  if (!listener.ok()) {
    GTEST_SKIP() << "this machine has no IPv6 loopback address: " << listener.status();
  }
  const Endpoint endpoint = *local_endpoint(listener->get());
  EXPECT_THAT(to_string(endpoint), HasSubstr("[::1]:"));
  const auto client = connect_tcp(endpoint, soon());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto server = accept(listener->get(), soon());
  ASSERT_TRUE(send_all(client->get(), bytes_of("six"), soon()).ok());
  EXPECT_EQ(receive_text(server->get(), 3), "six");
}

TEST(SocketTest, ConnectWaitsForAListenerThatComesLater) {
  // Reserve a port, then free it: nobody listens there when the connecting starts.
  auto reserved = listen_tcp({"127.0.0.1", 0});
  const Endpoint endpoint = *local_endpoint(reserved->get());
  reserved->reset();
  std::atomic<bool> connected = false;
  std::thread client([&] {
    const auto fd = connect_tcp(endpoint, soon());
    EXPECT_TRUE(fd.ok()) << fd.status();
    connected = true;
  });
  const auto refused = connect_tcp(endpoint, soon(milliseconds(20)));
  EXPECT_FALSE(refused.ok());
  EXPECT_FALSE(connected);
  const auto listener = listen_tcp(endpoint);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(accept(listener->get(), soon()).ok());
  client.join();
}

TEST(SocketTest, ConnectGivesUpAtItsDeadlineAndNamesTheCause) {
  auto reserved = listen_tcp({"127.0.0.1", 0});
  const Endpoint endpoint = *local_endpoint(reserved->get());
  reserved->reset();
  const auto fd = connect_tcp(endpoint, soon(milliseconds(30)));
  EXPECT_EQ(fd.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(text_of(fd.status()), HasSubstr(to_string(endpoint)));
  EXPECT_THAT(text_of(fd.status()), HasSubstr("Connection refused"));
}

TEST(SocketTest, ConnectOnceDoesNotTryAgain) {
  auto reserved = listen_tcp({"127.0.0.1", 0});
  const Endpoint endpoint = *local_endpoint(reserved->get());
  EXPECT_TRUE(connect_tcp_once(endpoint, soon()).ok());
  reserved->reset();
  const auto fd = connect_tcp_once(endpoint, base::TimePoint::max());
  EXPECT_EQ(fd.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(text_of(fd.status()), HasSubstr(to_string(endpoint)));
}

TEST(SocketTest, UnknownNameIsNamed) {
  const auto fd = connect_tcp({"no-such-host.invalid", 1}, soon(milliseconds(1)));
  EXPECT_EQ(fd.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(text_of(fd.status()), HasSubstr("no-such-host.invalid"));
  EXPECT_FALSE(listen_tcp({"no-such-host.invalid", 0}).ok());
}

TEST(SocketTest, AcceptAndReceiveKeepTheirDeadlines) {
  const auto listener = listen_tcp({"127.0.0.1", 0});
  EXPECT_EQ(accept(listener->get(), soon(milliseconds(10))).status().code(),
            StatusCode::kDeadlineExceeded);
  const Pair pair = tcp_pair();
  std::array<std::byte, 4> buffer;
  EXPECT_EQ(recv_all(pair.client.get(), buffer, soon(milliseconds(10))).code(),
            StatusCode::kDeadlineExceeded);
  // A part of the message does not extend the deadline.
  ASSERT_TRUE(send_all(pair.server.get(), bytes_of("ab"), soon()).ok());
  EXPECT_EQ(recv_all(pair.client.get(), buffer, soon(milliseconds(10))).code(),
            StatusCode::kDeadlineExceeded);
}

TEST(SocketTest, SendKeepsItsDeadlineWhenNobodyReads) {
  const Pair pair = tcp_pair();
  const std::string much(64 << 20, 'x');
  EXPECT_EQ(send_all(pair.client.get(), bytes_of(much), soon(milliseconds(50))).code(),
            StatusCode::kDeadlineExceeded);
}

TEST(SocketTest, ClosedPeerIsUnavailableAndNoSignalIsRaised) {
  Pair pair = tcp_pair();
  const std::string address = to_string(*peer_endpoint(pair.client.get()));
  pair.server.reset();
  std::array<std::byte, 1> buffer;
  const base::Status received = recv_all(pair.client.get(), buffer, soon());
  EXPECT_EQ(received.code(), StatusCode::kUnavailable);
  EXPECT_THAT(text_of(received), HasSubstr(address));
  base::Status sent;
  for (int i = 0; i < 1000 && sent.ok(); ++i) {
    sent = send_all(pair.client.get(), bytes_of("x"), soon());
  }
  EXPECT_EQ(sent.code(), StatusCode::kUnavailable);
}

TEST(SocketTest, CancelFdEndsAWait) {
  const Pair pair = tcp_pair();
  const base::Fd cancel(::eventfd(0, EFD_CLOEXEC));
  base::Status status;
  std::thread waiter([&] {
    std::array<std::byte, 1> buffer;
    status = recv_all(pair.client.get(), buffer, base::TimePoint::max(), cancel.get());
  });
  ASSERT_EQ(::eventfd_write(cancel.get(), 1), 0);
  waiter.join();
  EXPECT_EQ(status.code(), StatusCode::kAborted);
}

TEST(SocketTest, SignalsDoNotEndAWait) {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: system calls return EINTR
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const Pair pair = tcp_pair();
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    EXPECT_EQ(receive_text(pair.client.get(), 2), "ok");
    done = true;
  });
  for (int i = 0; i < 200; ++i) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_FALSE(done);
  ASSERT_TRUE(send_all(pair.server.get(), bytes_of("ok"), soon()).ok());
  waiter.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST(UnixSocketTest, PassesADescriptor) {
  const std::string name = fmt::format("gamelan-test-{}", ::getpid());
  const auto listener = listen_unix(name);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const auto client = connect_unix(name);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto server = accept(listener->get(), soon());
  ASSERT_TRUE(server.ok());
  const base::Fd memory(::memfd_create("gamelan-test", MFD_CLOEXEC));
  ASSERT_EQ(::pwrite(memory.get(), "shared", 6, 0), 6);
  ASSERT_TRUE(send_fd(client->get(), memory.get(), soon()).ok());
  const auto received = recv_fd(server->get(), soon());
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_NE(received->get(), memory.get());
  EXPECT_NE(::fcntl(received->get(), F_GETFD) & FD_CLOEXEC, 0);
  char text[7] = {};
  ASSERT_EQ(::pread(received->get(), text, 6, 0), 6);
  EXPECT_STREQ(text, "shared");
}

TEST(UnixSocketTest, RefusesAPlainByteClosedPeersAndSilence) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  base::Fd left(fds[0]);
  const base::Fd right(fds[1]);
  EXPECT_EQ(recv_fd(right.get(), soon(milliseconds(5))).status().code(),
            StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(send_all(left.get(), bytes_of("x"), soon()).ok());
  EXPECT_EQ(recv_fd(right.get(), soon()).status().code(), StatusCode::kDataLoss);
  left.reset();
  EXPECT_EQ(recv_fd(right.get(), soon()).status().code(), StatusCode::kUnavailable);
}

TEST(UnixSocketTest, NobodyThereTakenNamesAndLongNames) {
  const std::string name = fmt::format("gamelan-test-names-{}", ::getpid());
  EXPECT_EQ(connect_unix(name).status().code(), StatusCode::kUnavailable);
  const auto listener = listen_unix(name);
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(listen_unix(name).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(listen_unix(std::string(200, 'n')).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(connect_unix("").status().code(), StatusCode::kInvalidArgument);
}

TEST(SocketTest, SourceAddressOfTheLoopbackIsItself) {
  EXPECT_EQ(*source_address_towards({"127.0.0.1", 29500}), "127.0.0.1");
}

}  // namespace
}  // namespace gamelan::net
