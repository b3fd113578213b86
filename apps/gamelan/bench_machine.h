#pragma once

// What the machine gives, to be measured beside what a model takes of it.

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "io/model_config.h"
#include "kernels/context.h"
#include "kernels/cpu/linear.h"
#include "kernels/weight_scheme.h"

namespace gamelan::apps {

double median(std::vector<double> values);

/// What this process has in memory, bytes: of its own, and pages of mapped files. Zeros where the
/// system does not say.
struct ResidentMemory {
  double anonymous = 0;
  double file = 0;
};
ResidentMemory resident_memory();

/// Bytes a second that all threads together read from memory in pages of 4 KiB: the median of 7.
/// kResourceExhausted when there is no memory to read.
base::StatusOr<double> read_bandwidth(device::ThreadPool& threads);

/// The matrix products of a prompt of `rows` tokens and nothing else: packed matrices of the
/// model's shapes with random numbers, the head for the last row alone.
class ModelProducts {
 public:
  static base::StatusOr<ModelProducts> create(const kernels::Context& context,
                                              const io::ModelConfig& config,
                                              const kernels::WeightScheme& scheme,
                                              std::int64_t rows);

  /// Computes all of them once; the seconds that it took.
  double run();
  /// Multiplications and additions of one run.
  double operations() const { return operations_; }

 private:
  struct Layer {
    kernels::cpu::PackedLinear qkv, attention_output, up, down;
  };
  explicit ModelProducts(const kernels::Context& context) : context_(context) {}
  void multiply(const kernels::cpu::PackedLinear& weight, std::int64_t rows);

  kernels::Context context_;
  std::int64_t rows_ = 0;
  std::int64_t num_layers_ = 0;
  std::vector<Layer> layers_;
  kernels::cpu::PackedLinear head_;
  std::vector<float> input_;
  std::vector<float> output_;
  double operations_ = 0;
};

}  // namespace gamelan::apps
