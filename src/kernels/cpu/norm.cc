#include "kernels/cpu/norm.h"

#include <cmath>

#include "base/status.h"

namespace gamelan::kernels::cpu {
namespace {

// So many partial sums, each over every 16th column, joined in one fixed order: the compiler keeps
// them in vectors, and a row's bits depend on nothing but the row.
constexpr std::int64_t kLanes = 16;
// Rows a thread takes at least: a row of 1024 columns costs about 0.3 us, waking threads about 2
// us.
constexpr std::int64_t kGrain = 4;

template <class F>
float sum_of(std::int64_t count, F&& term) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += term(i + lane);
    }
  }
  for (std::int64_t lane = 0; i + lane < count; ++lane) {
    lanes[lane] += term(i + lane);
  }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) {
      lanes[lane] += lanes[lane + half];
    }
  }
  return lanes[0];
}

/// y = (x - shift) * factor * weight + bias.
void apply(const float* x, float shift, float factor, const NormParameters& parameters,
           std::int64_t columns, float* y) {
  const float* const weight = parameters.weight;
  const float* const bias = parameters.bias;
  if (weight != nullptr && bias != nullptr) {
    for (std::int64_t i = 0; i < columns; ++i) {
      y[i] = (x[i] - shift) * factor * weight[i] + bias[i];
    }
    return;
  }
  for (std::int64_t i = 0; i < columns; ++i) {
    y[i] = (x[i] - shift) * factor * (weight != nullptr ? weight[i] : 1.0F) +
           (bias != nullptr ? bias[i] : 0.0F);
  }
}

void check_shapes(const tensor::MatrixView<const float>& x, const tensor::MatrixView<float>& y) {
  GAMELAN_CHECK(x.rows == y.rows && x.columns == y.columns, "x and y have one shape");
}

}  // namespace

void layer_norm(const Context& context, tensor::MatrixView<const float> x,
                const NormParameters& parameters, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  const auto columns = static_cast<float>(x.columns);
  context.threads->parallel_for(x.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const from = x.row(row);
      const float mean = sum_of(x.columns, [&](std::int64_t i) { return from[i]; }) / columns;
      const float variance =
          sum_of(x.columns, [&](std::int64_t i) { return (from[i] - mean) * (from[i] - mean); }) /
          columns;
      apply(from, mean, 1.0F / std::sqrt(variance + parameters.epsilon), parameters, x.columns,
            y.row(row));
    }
  });
}

void rms_norm(const Context& context, tensor::MatrixView<const float> x,
              const NormParameters& parameters, tensor::MatrixView<float> y) {
  check_shapes(x, y);
  GAMELAN_CHECK(parameters.bias == nullptr, "rms_norm has no bias");
  const auto columns = static_cast<float>(x.columns);
  context.threads->parallel_for(x.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const from = x.row(row);
      const float square =
          sum_of(x.columns, [&](std::int64_t i) { return from[i] * from[i]; }) / columns;
      apply(from, 0.0F, 1.0F / std::sqrt(square + parameters.epsilon), parameters, x.columns,
            y.row(row));
    }
  });
}

}  // namespace gamelan::kernels::cpu
