#include "base/function_ref.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace gamelan::base {
namespace {

int call_twice(FunctionRef<int(int)> function) {
  return function(1) + function(10);
}

TEST(FunctionRef, CallsWhatTheCallerKeeps) {
  int sum = 0;
  EXPECT_EQ(call_twice([&](int value) { return sum += value; }), 12);
  EXPECT_EQ(sum, 11);
  auto counter = [count = 0](int) mutable { return ++count; };
  EXPECT_EQ(call_twice(counter), 3);
  EXPECT_EQ(counter(0), 3);
  const auto doubled = [](int value) { return 2 * value; };
  const FunctionRef<int(int)> reference = doubled;
  EXPECT_EQ(call_twice(reference), 22);
}

TEST(FunctionRef, PassesArgumentsOn) {
  const auto length = [](std::unique_ptr<std::string> text) { return text->size(); };
  const FunctionRef<std::size_t(std::unique_ptr<std::string>)> reference = length;
  EXPECT_EQ(reference(std::make_unique<std::string>("four")), 4U);
}

}  // namespace
}  // namespace gamelan::base
