#include "io/rope_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gamelan::io {
namespace {

std::size_t pairs_of(const RopeConfig& rope) {
  return static_cast<std::size_t>(rope.rotary_dim / 2);
}

/// theta^(-2i/dim).
std::vector<double> plain_frequencies(const RopeConfig& rope, double theta) {
  std::vector<double> inverse(pairs_of(rope));
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim));
  }
  return inverse;
}

/// Beyond the trained length the base grows with the sequence (NTK-aware scaling).
RopeFrequencies dynamic(const RopeConfig& rope, std::int64_t max_positions, std::int64_t length) {
  const double factor = rope.factor.value_or(1.0);
  const auto trained = static_cast<double>(max_positions);
  const auto now = static_cast<double>(std::max(length, max_positions));
  const auto dim = static_cast<double>(rope.rotary_dim);
  const double growth = factor * now / trained - (factor - 1.0);
  return {plain_frequencies(rope, rope.theta * std::pow(growth, dim / (dim - 2.0))), 1.0};
}

double yarn_mscale(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

/// The dimension whose wave turns `rotations` times over the trained length.
double yarn_dimension(const RopeConfig& rope, double rotations) {
  return static_cast<double>(rope.rotary_dim) *
         std::log(static_cast<double>(rope.original_max_positions) /
                  (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.theta));
}

/// YaRN (arXiv 2309.00071): fast waves stay, slow ones are interpolated, a ramp lies between.
RopeFrequencies yarn(const RopeConfig& rope, std::int64_t max_positions) {
  const double factor = rope.factor.value_or(static_cast<double>(max_positions) /
                                             static_cast<double>(rope.original_max_positions));
  double low = yarn_dimension(rope, rope.beta_fast);
  double high = yarn_dimension(rope, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rope.rotary_dim - 1));
  if (low == high) {
    high += 0.001;
  }
  RopeFrequencies result{plain_frequencies(rope, rope.theta), 1.0};
  for (std::size_t i = 0; i < result.inverse.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    result.inverse[i] *= (1.0 - ramp) + ramp / factor;
  }
  if (rope.attention_factor) {
    result.attention_factor = *rope.attention_factor;
  } else if (rope.mscale.value_or(0) != 0 && rope.mscale_all_dim.value_or(0) != 0) {
    result.attention_factor =
        yarn_mscale(factor, *rope.mscale) / yarn_mscale(factor, *rope.mscale_all_dim);
  } else {
    result.attention_factor = yarn_mscale(factor, 1.0);
  }
  return result;
}

/// LongRoPE (arXiv 2402.13753): a factor for each wave, one set for short and one for long texts.
RopeFrequencies long_rope(const RopeConfig& rope, std::int64_t max_positions, std::int64_t length) {
  const auto original = static_cast<double>(rope.original_max_positions);
  const double factor = rope.factor.value_or(static_cast<double>(max_positions) / original);
  const std::vector<double>& factors =
      length > rope.original_max_positions ? rope.long_factor : rope.short_factor;
  RopeFrequencies result{plain_frequencies(rope, rope.theta), 1.0};
  for (std::size_t i = 0; i < result.inverse.size(); ++i) {
    result.inverse[i] /= factors[i];
  }
  if (rope.attention_factor) {
    result.attention_factor = *rope.attention_factor;
  } else if (factor > 1.0) {
    result.attention_factor = std::sqrt(1.0 + std::log(factor) / std::log(original));
  }
  return result;
}

/// Llama 3.1: slow waves are divided by the factor, fast ones stay, those between are mixed.
RopeFrequencies llama3(const RopeConfig& rope) {
  const double factor = rope.factor.value_or(1.0);
  const auto original = static_cast<double>(rope.original_max_positions);
  RopeFrequencies result{plain_frequencies(rope, rope.theta), 1.0};
  for (double& inverse : result.inverse) {
    const double wave_length = 2.0 * std::numbers::pi / inverse;
    if (wave_length > original / rope.low_freq_factor) {
      inverse /= factor;
    } else if (wave_length >= original / rope.high_freq_factor) {
      const double smooth = (original / wave_length - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      inverse = (1.0 - smooth) * inverse / factor + smooth * inverse;
    }
  }
  return result;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& rope, std::int64_t max_positions,
                                 std::int64_t length) {
  switch (rope.kind) {
    case RopeKind::kDefault:
      break;
    case RopeKind::kLinear: {
      RopeFrequencies result{plain_frequencies(rope, rope.theta), 1.0};
      for (double& inverse : result.inverse) {
        inverse /= rope.factor.value_or(1.0);
      }
      return result;
    }
    case RopeKind::kDynamic:
      return dynamic(rope, max_positions, length);
    case RopeKind::kYarn:
      return yarn(rope, max_positions);
    case RopeKind::kLongRope:
      return long_rope(rope, max_positions, length);
    case RopeKind::kLlama3:
      return llama3(rope);
  }
  return {plain_frequencies(rope, rope.theta), 1.0};
}

std::string_view name_of(RopeKind kind) {
  switch (kind) {
    case RopeKind::kDefault:
      break;
    case RopeKind::kLinear:
      return "linear";
    case RopeKind::kDynamic:
      return "dynamic";
    case RopeKind::kYarn:
      return "yarn";
    case RopeKind::kLongRope:
      return "longrope";
    case RopeKind::kLlama3:
      return "llama3";
  }
  return "default";
}

}  // namespace gamelan::io
