#include "net/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gamelan::net {
namespace {

using std::chrono::milliseconds;

std::vector<std::string> addresses_of(const AddressList& list) {
  std::vector<std::string> addresses;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    EXPECT_EQ(::getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof(text), nullptr, 0,
                            NI_NUMERICHOST),
              0);
    addresses.emplace_back(text);
  }
  return addresses;
}

TEST(ResolveTest, LocalhostIsThisMachineWithoutAskingAnybody) {
  for (const bool to_listen : {false, true}) {
    const auto list =
        resolve({"localhost", 1}, {.to_listen = to_listen, .deadline = base::Clock::now()});
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_THAT(addresses_of(*list), testing::ElementsAre("127.0.0.1"));
  }
}

TEST(ResolveTest, NumbersAreTheirOwnAnswer) {
  for (const char* host : {"127.0.0.9", "::1", "10.1.2.3"}) {
    const auto list = resolve({host, 1}, {.deadline = base::Clock::now()});
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_THAT(addresses_of(*list), testing::ElementsAre(host));
  }
}

TEST(ResolveTest, AnUnknownNameIsAnErrorBeforeTheDeadlineOrAtIt) {
  const auto start = base::Clock::now();
  const auto list =
      resolve({"no-such-host.invalid", 1}, {.deadline = base::deadline_after(milliseconds(1))});
  EXPECT_EQ(list.status().code(), base::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(base::message(list.status())),
              testing::HasSubstr("no-such-host.invalid"));
  // The resolver's own time-outs would add up to tens of seconds on a machine without network.
  EXPECT_LT(base::Clock::now() - start, std::chrono::seconds(3));
}

}  // namespace
}  // namespace gamelan::net
