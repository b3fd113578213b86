#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

/// HuggingFace's rope_type.
enum class RopeKind { kDefault, kLinear, kDynamic, kYarn, kLongRope, kLlama3 };

/// Rotary position embedding with its scaling, as transformers computes it: the names are those of
/// config.json's `rope_parameters` (5.x) or `rope_scaling` (4.x).
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  /// Dimensions of a head that are rotated, the first ones: int(head_dim * partial_rotary_factor).
  std::int64_t rotary_dim = 0;
  /// Scaling of every kind but the default one. Unset (yarn, longrope) = max_positions /
  /// original_max_positions.
  std::optional<double> factor;
  /// Factor of cos and sin (yarn, longrope); unset = the kind's own formula.
  std::optional<double> attention_factor;
  /// Positions that the model was trained on before it was scaled (yarn, longrope, llama3).
  std::int64_t original_max_positions = 0;
  // yarn
  double beta_fast = 32;
  double beta_slow = 1;
  std::optional<double> mscale;
  std::optional<double> mscale_all_dim;
  bool truncate = true;
  // llama3
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  // longrope: rotary_dim / 2 numbers each
  std::vector<double> short_factor;
  std::vector<double> long_factor;

  bool operator==(const RopeConfig&) const = default;
};

/// The inverse frequencies of the rotation, rotary_dim / 2 of them, and the factor of cos and sin.
struct RopeFrequencies {
  std::vector<double> inverse;
  double attention_factor = 1.0;
};

/// What transformers' ROPE_INIT_FUNCTIONS give, in double. `length` is the length of the sequence
/// so far: it matters for kDynamic beyond `max_positions`, and for kLongRope, which takes the long
/// factors beyond original_max_positions.
RopeFrequencies rope_frequencies(const RopeConfig& rope, std::int64_t max_positions,
                                 std::int64_t length);

/// "default", "linear", … as in config.json.
std::string_view name_of(RopeKind kind);

}  // namespace gamelan::io
