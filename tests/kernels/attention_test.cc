#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/alibi.h"
#include "kernels/reference/attention.h"
#include "tests/kernels/random_numbers.h"

namespace gamelan::kernels::cpu {
namespace {

using tensor::DType;
using Matrix = tensor::MatrixView<const float>;

struct Shape {
  std::int64_t heads = 4;
  std::int64_t kv_heads = 4;
  std::int64_t head_dim = 64;
  std::int64_t tokens = 100;
  std::int64_t block_tokens = 16;
  std::int64_t window = 0;
  bool alibi = false;
  DType dtype = DType::kF32;
};

/// One sequence whose blocks lie in reverse order in a cache of bytes that are no numbers.
class Sequence {
 public:
  Sequence(const Shape& shape, int threads)
      : shape_(shape),
        pool_({.threads = threads}),
        queries(random_numbers(shape.tokens * shape.heads * shape.head_dim, 1)),
        keys(random_numbers(shape.tokens * shape.kv_heads * shape.head_dim, 2)),
        values(random_numbers(shape.tokens * shape.kv_heads * shape.head_dim, 3)),
        out(queries.size(), NAN) {
    cache_.layout = {shape.dtype, shape.kv_heads, shape.head_dim, shape.block_tokens};
    const std::int64_t blocks = (shape.tokens + shape.block_tokens - 1) / shape.block_tokens;
    bytes_.resize(blocks * cache_.layout.block_bytes() / sizeof(float), NAN);
    cache_.data = reinterpret_cast<std::byte*>(bytes_.data());
    for (std::int64_t block = 0; block < blocks; ++block) {
      table_.push_back(static_cast<std::int32_t>(blocks - 1 - block));
    }
    if (shape.alibi) {
      slopes_ = alibi_slopes(shape.heads);
    }
  }

  float scale() const { return 1.0F / std::sqrt(static_cast<float>(shape_.head_dim)); }

  /// One step over the tokens begin … end - 1.
  void step(std::int64_t begin, std::int64_t end) {
    const std::int64_t columns = shape_.heads * shape_.head_dim;
    const std::int64_t kv_columns = shape_.kv_heads * shape_.head_dim;
    const Context context{.threads = &pool_, .workspace = &arena_};
    const SequenceRows rows{0, end - begin, begin, table_};
    append_kv(context, Matrix(keys.data() + begin * kv_columns, end - begin, kv_columns),
              Matrix(values.data() + begin * kv_columns, end - begin, kv_columns), {&rows, 1},
              cache_);
    const AttentionOptions options{shape_.heads, scale(), slopes_, shape_.window};
    attention(context, Matrix(queries.data() + begin * columns, end - begin, columns), {&rows, 1},
              cache_, options, {out.data() + begin * columns, end - begin, columns});
  }

  std::vector<double> reference() const {
    reference::AttentionProblem problem;
    problem.queries = Matrix(queries.data(), shape_.tokens, shape_.heads * shape_.head_dim);
    problem.keys = Matrix(keys.data(), shape_.tokens, shape_.kv_heads * shape_.head_dim);
    problem.values = Matrix(values.data(), shape_.tokens, shape_.kv_heads * shape_.head_dim);
    problem.heads = shape_.heads;
    problem.kv_heads = shape_.kv_heads;
    problem.scale = scale();
    problem.alibi_slopes = slopes_;
    problem.window = shape_.window;
    return reference::attention(problem);
  }

 private:
  Shape shape_;
  device::ThreadPool pool_;
  device::Arena arena_;
  std::vector<float> bytes_;
  std::vector<std::int32_t> table_;
  std::vector<float> slopes_;
  KvBlocks cache_;

 public:
  std::vector<float> queries;
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<float> out;
};

double largest_difference(const std::vector<float>& got, const std::vector<double>& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::fabs(got[i] - expected[i]);
    largest = difference <= largest ? largest : difference;  // NaN becomes the largest
  }
  return largest;
}

/// Numbers are normal: values up to about 4, and a score errs by about eps * |q||k| / sqrt(d), some
/// 4 eps, which changes a weighted mean of values by as much again. eps is of the cache's type.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 8 * 4 * std::ldexp(1.0, -9);
    case DType::kF16:
      return 8 * 4 * std::ldexp(1.0, -12);
    case DType::kI8:
      return 8 * 4 / 254.0;
    default:
      return 16 * 4 * std::ldexp(1.0, -24);
  }
}

class AttentionOfShape : public testing::TestWithParam<Shape> {};

TEST_P(AttentionOfShape, EqualsTheDefinitionAndIsTheSameHoweverItIsCut) {
  const Shape shape = GetParam();
  Sequence whole(shape, 2);
  whole.step(0, shape.tokens);
  EXPECT_LE(largest_difference(whole.out, whole.reference()), tolerance(shape.dtype));

  Sequence cut(shape, 1);
  std::int64_t begin = 0;
  for (std::int64_t length = 1; begin < shape.tokens; length = length * 3 % 41) {
    const std::int64_t end = std::min(shape.tokens, begin + length);
    cut.step(begin, end);
    begin = end;
  }
  EXPECT_EQ(cut.out, whole.out);

  Sequence decoded(shape, 3);
  decoded.step(0, shape.tokens - 5);
  for (std::int64_t token = shape.tokens - 5; token < shape.tokens; ++token) {
    decoded.step(token, token + 1);
  }
  EXPECT_EQ(decoded.out, whole.out);
}

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8}) {
    for (const std::int64_t head_dim : {48, 64, 80, 96, 100, 128, 256}) {
      all.push_back({.head_dim = head_dim, .dtype = dtype});
    }
    all.push_back({.heads = 12, .kv_heads = 12, .tokens = 77, .alibi = true, .dtype = dtype});
    all.push_back({.heads = 8, .kv_heads = 2, .tokens = 131, .dtype = dtype});
    all.push_back({.heads = 6, .kv_heads = 2, .tokens = 190, .window = 37, .dtype = dtype});
    all.push_back({.heads = 3, .kv_heads = 1, .head_dim = 7, .block_tokens = 5, .dtype = dtype});
    all.push_back({.heads = 2,
                   .kv_heads = 1,
                   .head_dim = 33,
                   .tokens = 90,
                   .block_tokens = 40,
                   .window = 50,
                   .dtype = dtype});
    all.push_back({.heads = 2, .kv_heads = 2, .head_dim = 16, .tokens = 1100, .dtype = dtype});
    all.push_back({.heads = 56, .kv_heads = 1, .head_dim = 8, .tokens = 20, .dtype = dtype});
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, AttentionOfShape, testing::ValuesIn(shapes()));

TEST(AttentionPacked, EqualsTheDefinitionForEverySequence) {
  const std::int64_t heads = 3;
  const std::int64_t head_dim = 32;
  const std::int64_t columns = heads * head_dim;
  const std::vector<std::int64_t> offsets = {0, 1, 1, 18, 90};
  const std::int64_t rows = offsets.back();
  const std::vector<float> q = random_numbers(rows * columns, 4);
  const std::vector<float> k = random_numbers(rows * columns, 5);
  const std::vector<float> v = random_numbers(rows * columns, 6);
  std::vector<float> out(rows * columns, NAN);
  device::ThreadPool pool({.threads = 2});
  device::Arena arena;
  attention_packed({.threads = &pool, .workspace = &arena}, Matrix(q.data(), rows, columns),
                   Matrix(k.data(), rows, columns), Matrix(v.data(), rows, columns), offsets, heads,
                   0.2F, {out.data(), rows, columns});
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const std::int64_t count = offsets[i + 1] - offsets[i];
    const std::int64_t at = offsets[i] * columns;
    reference::AttentionProblem problem;
    problem.queries = Matrix(q.data() + at, count, columns);
    problem.keys = Matrix(k.data() + at, count, columns);
    problem.values = Matrix(v.data() + at, count, columns);
    problem.heads = problem.kv_heads = heads;
    problem.scale = 0.2F;
    problem.causal = false;
    const std::vector<float> got(out.begin() + at, out.begin() + at + count * columns);
    EXPECT_LE(largest_difference(got, reference::attention(problem)), tolerance(DType::kF32));
  }
}

TEST(Attention, TakesAStepWithoutSequences) {
  device::ThreadPool pool({.threads = 2});
  device::Arena arena;
  const Context context{.threads = &pool, .workspace = &arena};
  KvBlocks cache{{DType::kF32, 2, 8, 16}, nullptr};
  append_kv(context, Matrix(nullptr, 0, 16), Matrix(nullptr, 0, 16), {}, cache);
  AttentionOptions options;
  options.heads = 2;
  attention(context, Matrix(nullptr, 0, 16), {}, cache, options, {nullptr, 0, 16});
  const std::vector<std::int64_t> offsets = {0};
  attention_packed(context, Matrix(nullptr, 0, 16), Matrix(nullptr, 0, 16), Matrix(nullptr, 0, 16),
                   offsets, 2, 1.0F, {nullptr, 0, 16});
}

TEST(Attention, BlockOfEightBitNumbersIsLittleMoreThanHalf) {
  const KvLayout wide{DType::kBF16, 16, 64, 16};
  const KvLayout narrow{DType::kI8, 16, 64, 16};
  EXPECT_EQ(wide.block_bytes(), 2U * 16 * 64 * 16 * 2);
  EXPECT_EQ(narrow.block_bytes(), 2U * 16 * 64 * 16 + 2U * 16 * 16 * 4);
}

TEST(Alibi, SlopesOfPowersOfTwoAndOthers) {
  EXPECT_EQ(alibi_slopes(8)[0], 0.5F);
  EXPECT_EQ(alibi_slopes(8)[7], 1.0F / 256);
  const std::vector<float> twelve = alibi_slopes(12);
  ASSERT_EQ(twelve.size(), 12U);
  EXPECT_FLOAT_EQ(twelve[8], std::exp2(-0.5F));
  EXPECT_FLOAT_EQ(twelve[11], std::exp2(-3.5F));
  EXPECT_TRUE(alibi_slopes(0).empty());
}

}  // namespace
}  // namespace gamelan::kernels::cpu
