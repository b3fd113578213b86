#include "launch/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "launch/messages.h"

namespace gamelan::launch {
namespace {

using ::testing::HasSubstr;

std::pair<base::Fd, base::Fd> sockets() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {base::Fd(fds[0]), base::Fd(fds[1])};
}

/// Lets both sides work in turn until neither can; returns their errors.
std::pair<base::Status, base::Status> converse(Link& a, Link& b, std::vector<Message>& at_a,
                                               std::vector<Message>& at_b) {
  std::pair<base::Status, base::Status> errors;
  for (int turn = 0; turn < 8; ++turn) {
    if (errors.first.ok()) {
      errors.first = a.proceed(at_a);
    }
    if (errors.second.ok()) {
      errors.second = b.proceed(at_b);
    }
  }
  return errors;
}

TEST(LinkTest, MessagesWaitForTheHandshakeAndArriveInOrder) {
  auto [left, right] = sockets();
  auto client = *Link::client(std::move(left), net::Token("s"), {});
  auto server = *Link::server(std::move(right), net::Token("s"), {});
  client->send(Welcome{1});
  client->send(Stop{2, "reason"});
  server->send(Missing{"node 4"});
  std::vector<Message> at_client;
  std::vector<Message> at_server;
  const auto errors = converse(*client, *server, at_client, at_server);
  EXPECT_TRUE(errors.first.ok()) << errors.first;
  EXPECT_TRUE(errors.second.ok()) << errors.second;
  ASSERT_EQ(at_server.size(), 2u);
  EXPECT_EQ(std::get<Welcome>(at_server[0]).node_rank, 1);
  EXPECT_EQ(std::get<Stop>(at_server[1]).reason, "reason");
  ASSERT_EQ(at_client.size(), 1u);
  EXPECT_EQ(std::get<Missing>(at_client[0]).nodes, "node 4");
}

TEST(LinkTest, AWrongTokenFailsOnBothSides) {
  auto [left, right] = sockets();
  auto client = *Link::client(std::move(left), net::Token("one"), {});
  auto server = *Link::server(std::move(right), net::Token("two"), {});
  client->send(Welcome{1});
  std::vector<Message> at_client;
  std::vector<Message> at_server;
  const auto errors = converse(*client, *server, at_client, at_server);
  EXPECT_EQ(errors.first.code(), base::StatusCode::kPermissionDenied);
  EXPECT_EQ(errors.second.code(), base::StatusCode::kPermissionDenied);
  EXPECT_TRUE(at_server.empty());
}

TEST(LinkTest, SilenceIsNoticed) {
  auto [left, right] = sockets();
  auto pair = *Link::local_pair();
  auto client = *Link::client(std::move(left), net::Token("s"), {});
  auto server = *Link::server(std::move(right), net::Token("s"), {});
  std::vector<Message> ignored;
  converse(*client, *server, ignored, ignored);
  const auto now = base::Clock::now();
  EXPECT_TRUE(server->tick(now + std::chrono::seconds(14)).ok());
  const base::Status silent = server->tick(now + std::chrono::seconds(16));
  EXPECT_THAT(std::string(base::message(silent)), HasSubstr("has been silent for 16"));
  EXPECT_TRUE(pair.first->tick(now + std::chrono::hours(9)).ok());
}

TEST(LinkTest, AHugeFrameIsRefusedBeforeMemoryIsTaken) {
  auto pair = *Link::local_pair();
  const std::string header("\xff\xff\xff\x7f", 4);
  ASSERT_EQ(write(pair.first->fd(), header.data(), header.size()), 4);
  std::vector<Message> messages;
  EXPECT_EQ(pair.second->proceed(messages).code(), base::StatusCode::kDataLoss);
}

std::span<const std::byte> body_of(const std::string& frame) {
  return std::as_bytes(std::span(frame)).subspan(4);
}

Finish sample() {
  Failure failure;
  failure.rank = 3;
  failure.host = "h";
  failure.signal = 9;
  failure.time_us = 1'700'000'000'000'000;
  failure.message = "why";
  return Finish{1, "headline", {failure, failure}};
}

TEST(MessagesTest, SurviveTheWire) {
  const auto decoded = decode(body_of(encode(sample())));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& finish = std::get<Finish>(*decoded);
  EXPECT_EQ(finish.headline, "headline");
  ASSERT_EQ(finish.failures.size(), 2u);
  EXPECT_EQ(finish.failures[1].time_us, 1'700'000'000'000'000);
  EXPECT_EQ(finish.failures[1].message, "why");
  Join join;
  join.node_rank = -1;
  EXPECT_EQ(std::get<Join>(*decode(body_of(encode(join)))).node_rank, -1);
}

TEST(MessagesTest, EveryTruncationIsAnError) {
  const std::string frame = encode(sample());
  for (std::size_t size = 4; size < frame.size(); ++size) {
    EXPECT_EQ(decode(body_of(frame.substr(0, size))).status().code(), base::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_FALSE(decode(body_of(frame + "x")).ok());
}

TEST(MessagesTest, RandomBytesAreErrorsOrMessages) {
  std::mt19937 random(1);
  for (int turn = 0; turn < 20'000; ++turn) {
    std::string body(random() % 64, '\0');
    for (char& byte : body) {
      byte = static_cast<char>(random() % 4 == 0 ? random() : 0);
    }
    (void)decode(std::as_bytes(std::span(body)));
  }
}

TEST(MessagesTest, LongTextsAreCutToTheFrameLimit) {
  Finish finish = sample();
  finish.failures.resize(100, finish.failures[0]);
  for (Failure& failure : finish.failures) {
    failure.message.assign(20'000, 'm');
    failure.log.assign(20'000, 'l');
    failure.host.assign(20'000, 'h');
  }
  const std::string frame = encode(finish);
  EXPECT_LE(frame.size(), kMaxFrameBytes);
  EXPECT_TRUE(decode(body_of(frame)).ok());
}

}  // namespace
}  // namespace gamelan::launch
