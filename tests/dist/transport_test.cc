#include "dist/transport/transport.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <thread>

#include "dist/store/hash_store.h"
#include "dist/transport/frames.h"
#include "net/socket.h"
#include "tests/support/ranks.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Formed = base::StatusOr<std::unique_ptr<Transport>>;

TransportOptions options_for(int rank, int world_size) {
  TransportOptions options;
  options.rank = rank;
  options.world_size = world_size;
  options.timeout = std::chrono::seconds(20);
  options.segment_bytes = 4096;
  return options;
}

std::string text(const base::Status& status) {
  return std::string(base::message(status));
}

std::future<Formed> form_later(const std::shared_ptr<Store>& store,
                               const TransportOptions& options) {
  return std::async(std::launch::async,
                    [store, options] { return Transport::form(store, options); });
}

TEST(FrameTest, DamagedHeadersAreRefused) {
  FrameHeader header;
  header.type = FrameType::kPart;
  header.tag = 7;
  header.payload_bytes = 1234;
  header.number = 0x0123456789abcdefULL;
  const auto bytes = encode_frame(header);
  const auto back = decode_frame(bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->number, header.number);
  EXPECT_EQ(back->tag, 7U);
  EXPECT_FALSE(decode_frame(std::span(bytes).first(23)).ok());
  for (const std::size_t at : {0, 4, 7, 15}) {
    auto damaged = bytes;
    damaged[at] = std::byte{0xff};
    EXPECT_EQ(decode_frame(damaged).status().code(), base::StatusCode::kDataLoss) << at;
  }
}

TEST(SegmentTest, OnlySealedMemoryOfTheAnnouncedSizeIsMapped) {
  const auto segment = Segment::create("test", 10'000);
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ((*segment)->size_bytes() % 4096, 0U);
  EXPECT_TRUE((*segment)->contains((*segment)->data(), (*segment)->size_bytes()));
  EXPECT_FALSE((*segment)->contains((*segment)->data() + 1, (*segment)->size_bytes()));
  const auto mapped = Segment::map(base::Fd(::dup((*segment)->fd())), (*segment)->size_bytes());
  ASSERT_TRUE(mapped.ok());
  (*segment)->data()[5] = std::byte{42};
  EXPECT_EQ((*mapped)->data()[5], std::byte{42});
  EXPECT_FALSE(Segment::map(base::Fd(::dup((*segment)->fd())), 1 << 30).ok());
  // A peer that could still shrink it could make every access a fault.
  base::Fd open(::memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(open.get(), 8192), 0);
  EXPECT_FALSE(Segment::map(std::move(open), 8192).ok());
}

TEST(TransportTest, WhoNeverComesIsNamedByEveryRankThatIsThere) {
  const auto store = std::make_shared<HashStore>();
  TransportOptions options = options_for(0, 4);
  options.timeout = milliseconds(400);
  options.report_interval = milliseconds(100);
  auto first = form_later(store, options);
  options.rank = 2;
  options.timeout = std::chrono::seconds(20);  // learns of it long before its own deadline
  const Formed second = Transport::form(store, options);
  for (const base::Status& status : {first.get().status(), second.status()}) {
    EXPECT_EQ(status.code(), base::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(text(status),
                HasSubstr("was not formed within 400 ms: ranks 1, 3 of 4 did not arrive"));
  }
}

TEST(TransportTest, AnotherTokenIsRefusedAndBothSidesEnd) {
  for (const LinkKind links : {LinkKind::kAuto, LinkKind::kTcp}) {
    const auto store = std::make_shared<HashStore>();
    TransportOptions options = options_for(0, 2);
    options.links = links;
    options.token = net::Token("right");
    auto first = form_later(store, options);
    options.rank = 1;
    options.token = net::Token("wrong");
    const Formed second = Transport::form(store, options);
    EXPECT_EQ(first.get().status().code(), base::StatusCode::kPermissionDenied);
    EXPECT_EQ(second.status().code(), base::StatusCode::kPermissionDenied) << text(second.status());
  }
}

TEST(TransportTest, TwoProcessesOfOneRankAreTold) {
  const auto store = std::make_shared<HashStore>();
  auto first = form_later(store, options_for(0, 2));
  auto again = form_later(store, options_for(0, 2));
  const base::Status a = first.get().status();
  const base::Status b = again.get().status();
  for (const base::Status& status : {a, b}) {
    EXPECT_THAT(text(status),
                HasSubstr("two processes joined group 'default' (generation 0) as rank 0"));
  }
}

TEST(TransportTest, DifferentWorldSizesAreTold) {
  const auto store = std::make_shared<HashStore>();
  auto first = form_later(store, options_for(0, 2));
  const Formed second = Transport::form(store, options_for(1, 3));
  for (const base::Status& status : {first.get().status(), second.status()}) {
    EXPECT_EQ(status.code(), base::StatusCode::kInvalidArgument);
    EXPECT_THAT(text(status), AllOf(HasSubstr("world size"), HasSubstr("who came before has")));
  }
}

TEST(TransportTest, ImpossibleRanksAreRefused) {
  const auto store = std::make_shared<HashStore>();
  EXPECT_EQ(Transport::form(store, options_for(2, 2)).status().code(),
            base::StatusCode::kInvalidArgument);
  EXPECT_EQ(Transport::form(store, options_for(-1, 2)).status().code(),
            base::StatusCode::kInvalidArgument);
}

TEST(TransportTest, StrangersAtTheDoorDoNotHinder) {
  const auto store = std::make_shared<HashStore>();
  TransportOptions options = options_for(1, 2);
  options.links = LinkKind::kTcp;
  auto second = form_later(store, options);
  const auto record = store->get("transport/default/0/records/1", std::chrono::seconds(10));
  ASSERT_TRUE(record.ok());
  const std::size_t at = record->find("tcp=") + 4;
  const auto endpoint = net::parse_endpoint(record->substr(at, record->find('\n', at) - at));
  ASSERT_TRUE(endpoint.ok());
  const base::TimePoint deadline = base::deadline_after(std::chrono::seconds(5));
  std::vector<base::Fd> strangers;
  for (int i = 0; i < 3; ++i) {
    auto stranger = net::connect_tcp(*endpoint, deadline);
    ASSERT_TRUE(stranger.ok());
    std::array<std::byte, 100> noise{};
    noise.fill(static_cast<std::byte>(i));
    ASSERT_TRUE(net::send_all(stranger->get(), noise, deadline).ok());
    if (i == 0) {
      stranger->reset();
    } else {
      strangers.push_back(*std::move(stranger));
    }
  }
  options.rank = 0;
  const Formed first = Transport::form(store, options);
  EXPECT_TRUE(first.ok()) << text(first.status());
  EXPECT_TRUE(second.get().ok());
}

TEST(TransportTest, GroupsOfOneStoreDoNotMix) {
  const auto store = std::make_shared<HashStore>();
  std::vector<std::future<Formed>> formed;
  for (const auto& [name, generation] : {std::pair("a", 0), std::pair("a", 1), std::pair("b", 0)}) {
    for (int rank = 0; rank < 2; ++rank) {
      TransportOptions options = options_for(rank, 2);
      options.group_name = name;
      options.generation = static_cast<std::uint64_t>(generation);
      formed.push_back(form_later(store, options));
    }
  }
  std::vector<std::unique_ptr<Transport>> transports;
  for (auto& one : formed) {
    Formed result = one.get();
    ASSERT_TRUE(result.ok()) << text(result.status());
    transports.push_back(*std::move(result));
  }
  transports[0]->fail(base::internal("only this one"));
  EXPECT_EQ(transports[0]->failure().code(), base::StatusCode::kInternal);
  EXPECT_FALSE(transports[2]->failed());
  EXPECT_FALSE(transports[5]->failed());
}

TEST(TransportTest, TellsWhatPeersDoAndWhoTheyAre) {
  const auto store = std::make_shared<HashStore>();
  auto other = form_later(store, options_for(1, 2));
  Formed first = Transport::form(store, options_for(0, 2));
  ASSERT_TRUE(first.ok());
  Formed second = other.get();
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE((*first)->shares_memory());
  EXPECT_EQ((*first)->peer(1).pid, ::getpid());
  EXPECT_THAT((*first)->describe(1), HasSubstr("rank 1 (host "));
  (*second)->set_reporter([] { return std::string("is counting sheep"); });
  const auto reports = (*first)->query({1}, std::chrono::seconds(10));
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(reports.at(1), "is counting sheep");
  // Announced segments are the same memory.
  const auto segment = (*second)->allocate_segment(5000);
  ASSERT_TRUE(segment.ok());
  const auto seen =
      (*first)->peer_segment(1, segment->number, base::deadline_after(std::chrono::seconds(10)));
  ASSERT_TRUE(seen.ok());
  segment->segment->data()[100] = std::byte{9};
  EXPECT_EQ((*seen)->data()[100], std::byte{9});
  EXPECT_EQ((*first)->peer_segment(1, 999, base::deadline_after(milliseconds(10))).status().code(),
            base::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace gamelan::dist
