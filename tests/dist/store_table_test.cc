#include "dist/store/store_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "tests/dist/store_fixtures.h"

namespace gamelan::dist {
namespace {

using base::StatusCode;
using ::testing::ElementsAre;
using testing::text_of;

StoreRequest request_of(StoreOp op, std::vector<std::string> keys,
                        std::vector<std::string> values = {}) {
  StoreRequest request;
  request.op = op;
  request.keys = std::move(keys);
  request.values = std::move(values);
  return request;
}

class StoreTableTest : public ::testing::Test {
 protected:
  StoreTable::WaiterId park(std::vector<std::string> keys, StoreOp op = StoreOp::kMultiGet) {
    StoreRequest request = request_of(op, std::move(keys));
    EXPECT_FALSE(table_.execute(request).has_value());
    return table_.park(std::move(request),
                       [this](StoreTable::WaiterId id, base::StatusOr<StoreReply> reply) {
                         finished_.push_back(id);
                         replies_.push_back(std::move(reply));
                         if (on_finish_) {
                           on_finish_(id);
                         }
                       });
  }
  void set(const std::string& key, const std::string& value) {
    EXPECT_TRUE(table_.execute(request_of(StoreOp::kSet, {key}, {value}))->ok());
  }

  StoreTable table_;
  std::vector<StoreTable::WaiterId> finished_;
  std::vector<base::StatusOr<StoreReply>> replies_;
  std::function<void(StoreTable::WaiterId)> on_finish_;
};

TEST_F(StoreTableTest, WaitersFinishInTheOrderTheyCameWhenTheirLastKeyComes) {
  const auto first = park({"a", "b"});
  const auto second = park({"b"});
  const auto third = park({"b", "c"});
  set("a", "1");
  EXPECT_THAT(finished_, ElementsAre());
  set("b", "2");
  EXPECT_THAT(finished_, ElementsAre(first, second));
  EXPECT_THAT(replies_[0]->values, ElementsAre("1", "2"));
  set("c", "3");
  EXPECT_THAT(finished_, ElementsAre(first, second, third));
  EXPECT_EQ(table_.parked(), 0u);
}

TEST_F(StoreTableTest, AllKeysHaveToExistAtOneMoment) {
  park({"a", "b"});
  set("a", "1");
  EXPECT_EQ(table_.execute(request_of(StoreOp::kDelete, {"a"}))->value().number, 1);
  set("b", "2");
  EXPECT_THAT(finished_, ElementsAre());
  set("a", "3");
  ASSERT_EQ(finished_.size(), 1u);
  EXPECT_THAT(replies_[0]->values, ElementsAre("3", "2"));
}

TEST_F(StoreTableTest, MultiSetIsSeenAsAWhole) {
  park({"b", "a"});
  EXPECT_TRUE(
      table_.execute(request_of(StoreOp::kMultiSet, {"a", "b", "a"}, {"1", "2", "3"}))->ok());
  ASSERT_EQ(replies_.size(), 1u);
  EXPECT_THAT(replies_[0]->values, ElementsAre("2", "3"));
}

TEST_F(StoreTableTest, CancelEndsAWaiterOnce) {
  const auto one = park({"a"});
  const auto two = park({"a"});
  table_.cancel(one, base::unavailable("gone"));
  table_.cancel(one, base::unavailable("gone"));
  EXPECT_THAT(finished_, ElementsAre(one));
  EXPECT_EQ(text_of(replies_[0].status()), "gone");
  set("a", "1");
  EXPECT_THAT(finished_, ElementsAre(one, two));
  table_.cancel(two, base::unavailable("gone"));
  EXPECT_EQ(finished_.size(), 2u);
}

TEST_F(StoreTableTest, CallbacksMayCancelOtherWaiters) {
  const auto one = park({"a"});
  const auto two = park({"a"});
  const auto three = park({"b"});
  on_finish_ = [&](StoreTable::WaiterId) {
    for (const auto id : {one, two, three}) {
      table_.cancel(id, base::unavailable("gone"));
    }
  };
  set("a", "1");
  EXPECT_THAT(finished_, ::testing::UnorderedElementsAre(one, two, three));
  EXPECT_EQ(table_.parked(), 0u);
}

TEST_F(StoreTableTest, CancelAllEndsEveryWaiter) {
  park({"a"});
  park({"b", "a"});
  table_.cancel_all(base::unavailable("shut down"));
  EXPECT_EQ(finished_.size(), 2u);
  EXPECT_EQ(table_.parked(), 0u);
}

TEST_F(StoreTableTest, WrongShapesAreRefused) {
  const std::vector<StoreRequest> wrong = {
      request_of(StoreOp::kSet, {"a"}),
      request_of(StoreOp::kSet, {}, {"v"}),
      request_of(StoreOp::kGet, {"a", "b"}),
      request_of(StoreOp::kGet, {"a"}, {"v"}),
      request_of(StoreOp::kAdd, {}),
      request_of(StoreOp::kCompareSet, {"a"}, {"v"}),
      request_of(StoreOp::kMultiSet, {"a"}, {"v", "w"}),
      request_of(StoreOp::kNumKeys, {"a"}),
  };
  for (const StoreRequest& request : wrong) {
    EXPECT_EQ(table_.execute(request)->status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(table_.execute(request_of(static_cast<StoreOp>(77), {}))->status().code(),
            StatusCode::kUnimplemented);
  EXPECT_EQ(
      table_.execute(request_of(StoreOp::kWait, std::vector<std::string>(kMaxStoreKeys + 1, "k")))
          ->status()
          .code(),
      StatusCode::kInvalidArgument);
}

TEST_F(StoreTableTest, MessagesAndAppendedValuesStayWithinTheLimit) {
  const std::string half(kMaxStoreMessageBytes / 2, 'h');
  EXPECT_EQ(
      table_.execute(request_of(StoreOp::kMultiSet, {"a", "b"}, {half, half}))->status().code(),
      StatusCode::kResourceExhausted);
  set("a", half);
  set("b", half);
  EXPECT_EQ(table_.execute(request_of(StoreOp::kMultiGet, {"a", "b"}))->status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(table_.execute(request_of(StoreOp::kAppend, {"a"}, {half}))->status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(table_.execute(request_of(StoreOp::kGet, {"a"}))->value().values[0] == half);
}

/// Random requests against a model: a map, and a list of waiters checked after each change.
TEST_F(StoreTableTest, RandomRequestsMatchAModel) {
  std::mt19937 random(7);
  std::map<std::string, std::string> model;
  std::map<StoreTable::WaiterId, std::vector<std::string>> waiting;
  const auto key = [&] { return std::string(1, static_cast<char>('a' + random() % 6)); };
  for (int step = 0; step < 20'000; ++step) {
    switch (random() % 4) {
      case 0: {
        const std::string k = key();
        model[k] = std::to_string(step);
        set(k, model[k]);
        break;
      }
      case 1: {
        const std::string k = key();
        EXPECT_EQ(table_.execute(request_of(StoreOp::kDelete, {k}))->value().number,
                  static_cast<std::int64_t>(model.erase(k)));
        break;
      }
      case 2: {
        const std::vector<std::string> keys = {key(), key(), key()};
        const bool there =
            std::all_of(keys.begin(), keys.end(), [&](const auto& k) { return model.contains(k); });
        if (there) {
          EXPECT_EQ(table_.execute(request_of(StoreOp::kMultiGet, keys))->value().values,
                    (std::vector{model[keys[0]], model[keys[1]], model[keys[2]]}));
        } else {
          waiting[park(keys)] = keys;
        }
        break;
      }
      default:
        if (!waiting.empty() && random() % 2 == 0) {
          table_.cancel(waiting.begin()->first, base::unavailable("cancelled"));
          waiting.erase(waiting.begin());
          finished_.clear();
        }
    }
    std::set<StoreTable::WaiterId> expected;
    for (auto entry = waiting.begin(); entry != waiting.end();) {
      const bool there = std::all_of(entry->second.begin(), entry->second.end(),
                                     [&](const auto& k) { return model.contains(k); });
      if (there) {
        expected.insert(entry->first);
        entry = waiting.erase(entry);
      } else {
        ++entry;
      }
    }
    ASSERT_EQ(std::set(finished_.begin(), finished_.end()), expected) << "step " << step;
    finished_.clear();
    ASSERT_EQ(table_.parked(), waiting.size());
  }
}

TEST(WaitTimeoutTest, NamesTheKeysButNotThousandsOfThem) {
  EXPECT_EQ(text_of(wait_timeout({"the_key"}, 100)), "wait timeout after 100ms, keys: /the_key");
  EXPECT_EQ(text_of(wait_timeout({"a", "b"}, 1)), "wait timeout after 1ms, keys: /a, /b");
  EXPECT_LT(text_of(wait_timeout(std::vector<std::string>(50'000, "k"), 1)).size(), 1000u);
}

}  // namespace
}  // namespace gamelan::dist
