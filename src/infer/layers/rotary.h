#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/arena.h"
#include "infer/model/step_plan.h"
#include "io/model_config.h"
#include "kernels/cpu/rotary.h"

namespace gamelan::infer {

/// The angles of rotary position embeddings, for every scaling of io::RopeConfig.
///
/// Where the frequencies depend on the length of a text (dynamic, longrope), the rows of a step
/// have those of the length that their sequence reaches in it, and keys that lie in the cache keep
/// theirs: what transformers does.
class RotaryTables {
 public:
  explicit RotaryTables(const io::ModelConfig& config);

  /// What kernels::cpu::rotate takes for the rows of one step.
  struct Rows {
    kernels::cpu::RotaryTable table;
    std::span<const std::int32_t> positions;
  };
  /// Valid until `arena` is reset and this is called again.
  Rows rows_of(const StepPlan& plan, device::Arena& arena);
  /// What rows_of() takes of the arena.
  std::size_t rows_bytes(std::int64_t rows) const;

  std::int64_t rotary_dim() const { return 2 * pairs_; }

 private:
  bool depends_on_length() const;
  const io::RopeFrequencies& frequencies(std::int64_t length);
  void grow(std::int64_t positions);
  void fill_row(const io::RopeFrequencies& frequencies, std::int64_t position, float* cosine,
                float* sine) const;

  io::RopeConfig rope_;
  std::int64_t max_positions_ = 0;
  std::int64_t pairs_ = 0;
  io::RopeFrequencies frequencies_;
  std::int64_t frequencies_length_ = 0;  // that frequencies_ are for
  // [positions, pairs] each; empty when the angles depend on the length.
  std::vector<float> cosine_;
  std::vector<float> sine_;
  std::int64_t positions_ = 0;
};

}  // namespace gamelan::infer
