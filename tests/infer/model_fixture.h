#pragma once

// Tiny models with random weights and their outputs (make_golden.py), and a thread pool to run
// them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/arena.h"
#include "device/thread_pool.h"
#include "infer/model/causal_model.h"
#include "infer/model/load_model.h"
#include "kernels/context.h"

namespace gamelan::infer::testing {

/// tests/infer/data/NAME.
std::string model_folder(const std::string& name);
/// The folders of all decoders there.
std::vector<std::string> decoder_names();

/// A matrix of f32.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(std::int64_t row_count, std::int64_t column_count)
      : rows(row_count),
        columns(column_count),
        values(static_cast<std::size_t>(row_count * column_count)) {}
  tensor::MatrixView<float> view() { return {values.data(), rows, columns}; }
  const float* row(std::int64_t r) const { return values.data() + r * columns; }
};

/// Reads a NumPy file of f32 with one or two dimensions; fails the test when it is not one.
Matrix read_npy(const std::string& path);
/// The largest difference of two matrices of one shape; infinite when the shapes differ.
double max_difference(const Matrix& a, const Matrix& b);

/// The square of the difference as part of the square of `exact`, summed over all numbers; infinite
/// when the shapes differ.
double relative_square_error(const Matrix& values, const Matrix& exact);
/// What it may be where weights or cache have 8 bits or 16: rounding errors are of 2^-8 of the
/// logits' size at each of some ten roundings in a row.
inline constexpr double kNarrowTolerance = 0.005;

struct Expected {
  std::vector<text::TokenId> input_ids;
  std::vector<text::TokenId> greedy;
  // Encoders:
  std::vector<text::TokenId> types;
  std::vector<float> classes;
};
Expected read_expected(const std::string& name);

/// A context whose pool and workspace live as long as it does.
class TestContext {
 public:
  explicit TestContext(int threads = 2);
  const kernels::Context& operator*() const { return context_; }

 private:
  device::ThreadPool pool_;
  device::Arena arena_;
  kernels::Context context_;
};

/// Loads a model as f32 with a cache of f32 in 20 blocks of 4 tokens; null (and a failure) when
/// something is wrong.
std::unique_ptr<CausalModel> load_for_test(const std::string& name, const TestContext& context,
                                           const LoadOptions& options = {});

/// The first blocks of a cache, in an order that only a model that heeds the table gets right.
std::vector<std::int32_t> scattered_blocks(std::int64_t count);

/// Runs one sequence through `model` in steps of `sizes` tokens, all tokens with logits; what
/// remains after them in one last step. [ids.size(), vocabulary].
Matrix run_in_chunks(CausalModel& model, const std::vector<text::TokenId>& ids,
                     const std::vector<std::int32_t>& sizes);

/// Continues `ids` greedily by `count` tokens.
std::vector<text::TokenId> continue_greedily(CausalModel& model, std::vector<text::TokenId> ids,
                                             std::size_t count);

}  // namespace gamelan::infer::testing
