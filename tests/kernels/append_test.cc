// What append_kv writes into a cache, number by number.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/reference/kv_cache.h"
#include "tests/kernels/random_numbers.h"

namespace gamelan::kernels::cpu {
namespace {

using tensor::DType;
using Matrix = tensor::MatrixView<const float>;

constexpr std::int64_t kHeads = 3;
constexpr std::int64_t kTokens = 53;

/// How far a number of a vector whose largest magnitude is `largest` may be from what is kept of
/// it: half a unit in the last place (f16 below 2^-14: of its smallest step, 2^-24). Eight bits:
/// half a step of largest / 127; the step, its inverse and their products with the number are
/// rounded to f32, four times 2^-24 of at most 127 steps.
double tolerance(DType dtype, double number, double largest) {
  switch (dtype) {
    case DType::kBF16:
      return std::ldexp(std::fabs(number), -8);
    case DType::kF16:
      return std::ldexp(std::fabs(number), -11) + std::ldexp(1.0, -25);
    case DType::kI8:
      return largest / 127 * (0.5 + 4 * 127 * std::ldexp(1.0, -24));
    default:
      return 0.0;
  }
}

class Append : public testing::TestWithParam<DType> {
 protected:
  void check(std::int64_t head_dim, std::int64_t block_tokens, std::int64_t first_step);
  /// Of one head's vector at `from`, by `kept`, whose padding ends at `padded`.
  template <class Kept>
  static void check_vector(const float* from, std::int64_t head_dim, std::int64_t padded,
                           Kept&& kept) {
    double largest = 0.0;
    for (std::int64_t i = 0; i < head_dim; ++i) {
      largest = std::max(largest, std::fabs(double{from[i]}));
    }
    for (std::int64_t i = 0; i < head_dim; ++i) {
      ASSERT_NEAR(kept(i), from[i], tolerance(GetParam(), from[i], largest)) << "number " << i;
    }
    for (std::int64_t i = head_dim; i < padded; ++i) {
      ASSERT_EQ(kept(i), 0.0) << "padding " << i;
    }
  }

  device::ThreadPool pool_{{.threads = 2}};
  device::Arena arena_;
};

void Append::check(std::int64_t head_dim, std::int64_t block_tokens, std::int64_t first_step) {
  const std::int64_t columns = kHeads * head_dim;
  const std::vector<float> keys = random_numbers(kTokens * columns, 1);
  const std::vector<float> values = random_numbers(kTokens * columns, 2);
  KvBlocks cache{{GetParam(), kHeads, head_dim, block_tokens}, nullptr};
  const std::int64_t blocks = (kTokens + block_tokens - 1) / block_tokens;
  std::vector<float> bytes(static_cast<std::size_t>(blocks) * cache.layout.block_bytes() / 4, NAN);
  cache.data = reinterpret_cast<std::byte*>(bytes.data());
  std::vector<std::int32_t> table;
  for (std::int64_t block = blocks; block-- > 0;) {
    table.push_back(static_cast<std::int32_t>(block));
  }
  // Steps of several lengths, which begin and end within blocks, subtiles and pairs of tokens.
  std::int64_t length = first_step;
  for (std::int64_t begin = 0; begin < kTokens; length = length * 3 % 23) {
    const std::int64_t rows = std::min(length, kTokens - begin);
    const SequenceRows step{0, rows, begin, table};
    append_kv({.threads = &pool_, .workspace = &arena_},
              Matrix(keys.data() + begin * columns, rows, columns),
              Matrix(values.data() + begin * columns, rows, columns), {&step, 1}, cache);
    begin += rows;
  }
  const reference::CachedSequence kept(cache, table);
  for (std::int64_t position = 0; position < kTokens; ++position) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      SCOPED_TRACE(testing::Message() << "position " << position << ", head " << head);
      const std::int64_t at = position * columns + head * head_dim;
      check_vector(keys.data() + at, head_dim, (head_dim + 1) / 2 * 2,
                   [&](std::int64_t i) { return kept.key(position, head, i); });
      check_vector(values.data() + at, head_dim, (head_dim + 15) / 16 * 16,
                   [&](std::int64_t i) { return kept.value(position, head, i); });
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST_P(Append, KeepsEveryNumberToItsTypesPrecision) {
  for (const std::int64_t head_dim : {1, 3, 7, 16, 33, 64, 65, 80, 129, 257}) {
    for (const std::int64_t block_tokens : {5, 16, 40}) {
      for (const std::int64_t first_step : {1, 2, 22}) {
        SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << ", blocks of " << block_tokens
                                        << ", first step " << first_step);
        check(head_dim, block_tokens, first_step);
        if (HasFatalFailure()) {
          return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Append,
                         testing::Values(DType::kF32, DType::kBF16, DType::kF16, DType::kI8),
                         [](const auto& test) { return std::string(tensor::name_of(test.param)); });

}  // namespace
}  // namespace gamelan::kernels::cpu
