// What every store does, whatever is behind it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "dist/store/hash_store.h"
#include "dist/store/prefix_store.h"
#include "dist/store/store.h"
#include "dist/store/store_table.h"
#include "tests/dist/store_fixtures.h"

namespace gamelan::dist {
namespace {

using base::StatusCode;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::text_of;

std::shared_ptr<Store> make_tcp_store() {
  TcpStoreOptions options;
  options.endpoint = {"127.0.0.1", 0};
  options.is_server = true;
  options.token = net::Token::random();
  options.timeout = testing::kPatience;
  auto store = TcpStore::create(std::move(options));
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

std::shared_ptr<Store> make_store(const std::string& kind) {
  if (kind == "Hash") {
    return std::make_shared<HashStore>(testing::kPatience);
  }
  if (kind == "PrefixHash") {
    return std::make_shared<PrefixStore>("job", std::make_shared<HashStore>(testing::kPatience));
  }
  if (kind == "Tcp") {
    return make_tcp_store();
  }
  return std::make_shared<PrefixStore>("job", std::make_shared<PrefixStore>("2", make_tcp_store()));
}

class StoreConformanceTest : public ::testing::TestWithParam<const char*> {
 protected:
  const std::shared_ptr<Store> store_ = make_store(GetParam());
};

TEST_P(StoreConformanceTest, SetThenGet) {
  ASSERT_TRUE(store_->set("key", "one").ok());
  EXPECT_EQ(*store_->get("key"), "one");
  ASSERT_TRUE(store_->set("key", "two").ok());
  EXPECT_EQ(*store_->get("key"), "two");
}

TEST_P(StoreConformanceTest, ValuesAreBytes) {
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
  }
  ASSERT_TRUE(store_->set(all, all).ok());
  EXPECT_EQ(*store_->get(all), all);
  ASSERT_TRUE(store_->set("empty", "").ok());
  EXPECT_EQ(*store_->get("empty"), "");
  ASSERT_TRUE(store_->set("", "value of the empty key").ok());
  EXPECT_EQ(*store_->get(""), "value of the empty key");
}

TEST_P(StoreConformanceTest, LargeValues) {
  const std::string large(5 << 20, 'v');
  ASSERT_TRUE(store_->set("large", large).ok());
  EXPECT_TRUE(*store_->get("large") == large);
  EXPECT_EQ(*store_->add("small", 1), 1);
}

TEST_P(StoreConformanceTest, AddKeepsDecimalText) {
  EXPECT_EQ(*store_->add("n", 1), 1);
  EXPECT_EQ(*store_->add("n", 2), 3);
  EXPECT_EQ(*store_->add("n", 3), 6);
  EXPECT_EQ(*store_->get("n"), "6");
  EXPECT_EQ(*store_->add("n", -10), -4);
  EXPECT_EQ(*store_->get("n"), "-4");
  ASSERT_TRUE(store_->set("n", "100").ok());
  EXPECT_EQ(*store_->add("n", 0), 100);
}

TEST_P(StoreConformanceTest, AddRefusesTextAndOverflow) {
  ASSERT_TRUE(store_->set("word", "abc").ok());
  const auto word = store_->add("word", 1);
  EXPECT_EQ(word.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(text_of(word.status()), HasSubstr("got 'abc'"));
  EXPECT_EQ(*store_->get("word"), "abc");
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(*store_->add("most", kMost), kMost);
  EXPECT_EQ(store_->add("most", 1).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*store_->get("most"), std::to_string(kMost));
}

TEST_P(StoreConformanceTest, CompareSet) {
  // A missing key: stored only when nothing was expected.
  EXPECT_EQ(*store_->compare_set("k", "expected", "desired"), "expected");
  EXPECT_FALSE(*store_->check({"k"}));
  EXPECT_EQ(*store_->compare_set("k", "", "first"), "first");
  // A wrong expectation gives what is there, the right one stores.
  EXPECT_EQ(*store_->compare_set("k", "wrong", "second"), "first");
  EXPECT_EQ(*store_->compare_set("k", "", "second"), "first");
  EXPECT_EQ(*store_->get("k"), "first");
  EXPECT_EQ(*store_->compare_set("k", "first", "second"), "second");
  EXPECT_EQ(*store_->get("k"), "second");
}

TEST_P(StoreConformanceTest, CheckDoesNotBlock) {
  EXPECT_FALSE(*store_->check({"a"}));
  ASSERT_TRUE(store_->set("a", "1").ok());
  EXPECT_TRUE(*store_->check({"a"}));
  EXPECT_FALSE(*store_->check({"a", "b"}));
  EXPECT_TRUE(*store_->check({}));
}

TEST_P(StoreConformanceTest, DeleteAndNumKeys) {
  EXPECT_EQ(*store_->num_keys(), 0);
  ASSERT_TRUE(store_->set("a", "1").ok());
  ASSERT_TRUE(store_->set("b", "2").ok());
  EXPECT_EQ(*store_->num_keys(), 2);
  EXPECT_TRUE(*store_->delete_key("a"));
  EXPECT_FALSE(*store_->delete_key("a"));
  EXPECT_EQ(*store_->num_keys(), 1);
  EXPECT_FALSE(*store_->check({"a"}));
  EXPECT_EQ(*store_->add("a", 5), 5);
}

TEST_P(StoreConformanceTest, Append) {
  ASSERT_TRUE(store_->append("log", "one,").ok());
  ASSERT_TRUE(store_->append("log", "").ok());
  ASSERT_TRUE(store_->append("log", "two").ok());
  EXPECT_EQ(*store_->get("log"), "one,two");
}

TEST_P(StoreConformanceTest, MultiGetAndMultiSet) {
  ASSERT_TRUE(store_->multi_set({"a", "b", "c"}, {"1", "2", "3"}).ok());
  EXPECT_THAT(*store_->multi_get({"c", "a", "a"}), ElementsAre("3", "1", "1"));
  EXPECT_THAT(*store_->multi_get({}), ElementsAre());
  EXPECT_TRUE(store_->multi_set({}, {}).ok());
  EXPECT_EQ(store_->multi_set({"a"}, {"1", "2"}).code(), StatusCode::kInvalidArgument);
}

TEST_P(StoreConformanceTest, TimedOutCallsNameTheKeysAndLeaveTheStoreUsable) {
  const std::string prefix = std::string(GetParam()) == "PrefixTcp"    ? "/2/job/"
                             : std::string(GetParam()) == "PrefixHash" ? "/job/"
                                                                       : "/";
  const auto got = store_->get("the_key", milliseconds(100));
  EXPECT_EQ(got.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(text_of(got.status()), "wait timeout after 100ms, keys: " + prefix + "the_key");
  const base::Status waited = store_->wait({"a", "b"}, milliseconds(20));
  EXPECT_EQ(text_of(waited), fmt::format("wait timeout after 20ms, keys: {0}a, {0}b", prefix));
  EXPECT_EQ(store_->multi_get({"a"}, milliseconds(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(store_->set("the_key", "now").ok());
  EXPECT_EQ(*store_->get("the_key", milliseconds(100)), "now");
}

TEST_P(StoreConformanceTest, NegativeTimeoutsAndLongKeysAreRefused) {
  EXPECT_EQ(store_->get("k", milliseconds(-1)).status().code(), StatusCode::kInvalidArgument);
  const std::string long_key(kMaxStoreKeyBytes + 1, 'k');
  EXPECT_EQ(store_->set(long_key, "v").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*store_->num_keys(), 0);
}

TEST_P(StoreConformanceTest, GetBlocksUntilAnotherThreadStores) {
  const std::vector<std::pair<const char*, void (*)(Store&)>> ways = {
      {"1", [](Store& store) { EXPECT_EQ(*store.add("k", 1), 1); }},
      {"set", [](Store& store) { EXPECT_TRUE(store.set("k", "set").ok()); }},
      {"app", [](Store& store) { EXPECT_TRUE(store.append("k", "app").ok()); }},
      {"cas", [](Store& store) { EXPECT_TRUE(store.compare_set("k", "", "cas").ok()); }},
      {"mul", [](Store& store) {
         EXPECT_TRUE(store.multi_set({"x", "k"}, {"", "mul"}).ok());
       }}};
  for (const auto& [expected, store_it] : ways) {
    std::thread getter([&] { EXPECT_EQ(*store_->get("k"), expected); });
    store_it(*store_);
    getter.join();
    EXPECT_TRUE(*store_->delete_key("k"));
  }
}

TEST_P(StoreConformanceTest, WaitNeedsAllKeys) {
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    EXPECT_TRUE(store_->wait({"a", "b", "c"}).ok());
    done = true;
  });
  for (const char* key : {"c", "a"}) {
    ASSERT_TRUE(store_->set(key, "1").ok());
  }
  EXPECT_FALSE(done);
  ASSERT_TRUE(store_->set("b", "1").ok());
  waiter.join();
}

TEST_P(StoreConformanceTest, AWaitingThreadHindersNoOther) {
  std::thread waiter([&] { EXPECT_TRUE(store_->wait({"late"}).ok()); });
  for (int i = 1; i <= 100; ++i) {
    EXPECT_EQ(*store_->add("n", 1), i);
  }
  ASSERT_TRUE(store_->set("late", "").ok());
  waiter.join();
}

TEST_P(StoreConformanceTest, AddsOfManyThreadsAreAllCounted) {
  constexpr int kThreads = 8;
  constexpr int kAdds = 200;
  std::vector<std::vector<std::int64_t>> sums(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kAdds; ++i) {
        sums[t].push_back(*store_->add("n", 1));
      }
    });
  }
  std::vector<std::int64_t> all;
  for (int t = 0; t < kThreads; ++t) {
    threads[t].join();
    EXPECT_TRUE(std::is_sorted(sums[t].begin(), sums[t].end()));
    all.insert(all.end(), sums[t].begin(), sums[t].end());
  }
  std::sort(all.begin(), all.end());
  for (int i = 0; i < kThreads * kAdds; ++i) {
    ASSERT_EQ(all[i], i + 1);
  }
}

TEST_P(StoreConformanceTest, CompareSetElectsOne) {
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const std::string name = std::to_string(t);
      winners += *store_->compare_set("leader", "", name) == name ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(winners, 1);
}

TEST_P(StoreConformanceTest, ABarrierOfManyThreads) {
  constexpr int kThreads = 16;
  for (int round = 0; round < 5; ++round) {
    const std::string arrived = fmt::format("arrived/{}", round);
    const std::string go = fmt::format("go/{}", round);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        if (*store_->add(arrived, 1) == kThreads) {
          EXPECT_TRUE(store_->set(go, "").ok());
        }
        EXPECT_TRUE(store_->wait({go}).ok());
        EXPECT_EQ(*store_->get(arrived), std::to_string(kThreads));
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
}

TEST_P(StoreConformanceTest, SignalsDoNotEndAWait) {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: system calls return EINTR
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    EXPECT_EQ(*store_->get("k"), "v");
    done = true;
  });
  for (int i = 0; i < 200; ++i) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    EXPECT_EQ(*store_->add("n", 1), i + 1);
  }
  EXPECT_FALSE(done);
  ASSERT_TRUE(store_->set("k", "v").ok());
  waiter.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreConformanceTest,
                         ::testing::Values("Hash", "PrefixHash", "Tcp", "PrefixTcp"),
                         [](const auto& info) { return std::string(info.param); });

TEST(PrefixStoreTest, PrefixesKeepKeysApartAndNest) {
  const auto below = std::make_shared<HashStore>();
  const auto one = std::make_shared<PrefixStore>("one", below);
  PrefixStore two("two", below);
  PrefixStore nested("inner", one);
  ASSERT_TRUE(one->set("k", "1").ok());
  ASSERT_TRUE(two.set("k", "2").ok());
  ASSERT_TRUE(nested.set("k", "3").ok());
  EXPECT_EQ(*below->get("one/k"), "1");
  EXPECT_EQ(*below->get("two/k"), "2");
  EXPECT_EQ(*below->get("one/inner/k"), "3");
  EXPECT_EQ(*one->num_keys(), 3);
  EXPECT_EQ(nested.underlying(), one);
  EXPECT_EQ(nested.innermost(), below);
}

}  // namespace
}  // namespace gamelan::dist
