#include "infer/layers/embedding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/dtype.h"

namespace gamelan::infer {
namespace {

using tensor::DType;

/// `count` numbers of type T, and what they are in double.
template <class T, class Round>
void fill(std::int64_t count, Round&& round, std::vector<std::byte>& bytes,
          std::vector<double>& reference) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T number = round(static_cast<float>(std::sin(0.9 * static_cast<double>(i))));
    const auto* const first = reinterpret_cast<const std::byte*>(&number);
    bytes.insert(bytes.end(), first, first + sizeof(T));
    if constexpr (std::is_same_v<T, float>) {
      reference.push_back(number);
    } else {
      reference.push_back(tensor::to_float(number));
    }
  }
}

class EmbeddingOfType : public testing::TestWithParam<DType> {};

// Looking up changes nothing: every type's numbers are numbers of f32. Adding is rounded once, and
// double holds the sum of two f32 with bits to spare.
TEST_P(EmbeddingOfType, EqualsTheTableForOddSizes) {
  constexpr std::int64_t kRows = 13;
  const std::vector<std::int32_t> ids = {12, 0, 5, 5, 11, 1,  7, 3,  2, 12,
                                         0,  9, 4, 6, 8,  10, 5, 12, 0};
  const auto count = static_cast<std::int64_t>(ids.size());
  device::ThreadPool pool({.threads = 3});
  device::Arena arena;
  const kernels::Context context{.threads = &pool, .workspace = &arena};
  for (const std::int64_t columns : {1, 3, 7, 16, 33, 255, 257}) {
    SCOPED_TRACE(columns);
    std::vector<std::byte> bytes;
    std::vector<double> table;
    if (GetParam() == DType::kF32) {
      fill<float>(
          kRows * columns, [](float x) { return x; }, bytes, table);
    } else if (GetParam() == DType::kF16) {
      fill<tensor::Float16>(
          kRows * columns, [](float x) { return tensor::to_float16(x); }, bytes, table);
    } else {
      fill<tensor::BFloat16>(
          kRows * columns, [](float x) { return tensor::to_bfloat16(x); }, bytes, table);
    }
    io::WeightView view;
    view.dtype = GetParam();
    view.shape = {kRows, columns};
    view.bytes = bytes;
    const Embedding embedding(view);
    std::vector<float> y(static_cast<std::size_t>(count * columns), NAN);
    const tensor::MatrixView<float> out(y.data(), count, columns);
    embedding.look_up(context, ids, out);
    const std::vector<float> found = y;
    embedding.add(context, ids, out);
    for (std::int64_t i = 0; i < count * columns; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double expected = table[static_cast<std::size_t>(
          ids[static_cast<std::size_t>(i / columns)] * columns + i % columns)];
      ASSERT_EQ(found[at], expected) << i;
      ASSERT_EQ(y[at], static_cast<float>(found[at] + expected)) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EmbeddingOfType,
                         testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                         [](const auto& test) { return std::string(tensor::name_of(test.param)); });

}  // namespace
}  // namespace gamelan::infer
