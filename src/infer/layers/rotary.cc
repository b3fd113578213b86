#include "infer/layers/rotary.h"

#include <algorithm>
#include <cmath>

namespace gamelan::infer {
namespace {

// The tables begin with this many positions and double: 2 * 1024 * 64 numbers are half a megabyte.
constexpr std::int64_t kFirstPositions = 1024;

}  // namespace

RotaryTables::RotaryTables(const io::ModelConfig& config)
    : rope_(config.rope),
      max_positions_(config.max_positions),
      pairs_(config.positions == io::Positions::kRope ? config.rope.rotary_dim / 2 : 0) {
  if (pairs_ > 0) {
    frequencies_length_ = 1;
    frequencies_ = io::rope_frequencies(rope_, max_positions_, 1);
  }
}

bool RotaryTables::depends_on_length() const {
  return rope_.kind == io::RopeKind::kDynamic || rope_.kind == io::RopeKind::kLongRope;
}

const io::RopeFrequencies& RotaryTables::frequencies(std::int64_t length) {
  // Lengths that have the same frequencies count as the same length.
  if (rope_.kind == io::RopeKind::kDynamic) {
    length = std::max(length, max_positions_);
  } else {
    length = length > rope_.original_max_positions ? rope_.original_max_positions + 1 : 1;
  }
  if (length != frequencies_length_) {
    frequencies_ = io::rope_frequencies(rope_, max_positions_, length);
    frequencies_length_ = length;
  }
  return frequencies_;
}

void RotaryTables::fill_row(const io::RopeFrequencies& frequencies, std::int64_t position,
                            float* cosine, float* sine) const {
  for (std::int64_t i = 0; i < pairs_; ++i) {
    // The angle is rounded to f32 before its cosine is taken, as in the models' training.
    const float inverse = static_cast<float>(frequencies.inverse[static_cast<std::size_t>(i)]);
    const double angle = static_cast<float>(position) * inverse;
    cosine[i] = static_cast<float>(std::cos(angle) * frequencies.attention_factor);
    sine[i] = static_cast<float>(std::sin(angle) * frequencies.attention_factor);
  }
}

void RotaryTables::grow(std::int64_t positions) {
  if (positions <= positions_) {
    return;
  }
  const std::int64_t old = positions_;
  positions_ = std::max({positions, 2 * positions_, kFirstPositions});
  cosine_.resize(static_cast<std::size_t>(positions_ * pairs_));
  sine_.resize(cosine_.size());
  for (std::int64_t position = old; position < positions_; ++position) {
    fill_row(frequencies_, position, cosine_.data() + position * pairs_,
             sine_.data() + position * pairs_);
  }
}

std::size_t RotaryTables::rows_bytes(std::int64_t rows) const {
  const auto count = static_cast<std::size_t>(rows);
  const std::size_t angles =
      device::Arena::rounded(count * static_cast<std::size_t>(pairs_) * sizeof(float));
  return device::Arena::rounded(count * sizeof(std::int32_t)) +
         (depends_on_length() ? 2 * angles : 0);
}

RotaryTables::Rows RotaryTables::rows_of(const StepPlan& plan, device::Arena& arena) {
  const auto rows = static_cast<std::int64_t>(plan.tokens.size());
  auto* const positions = arena.take<std::int32_t>(rows);
  std::int64_t row = 0;
  std::int64_t longest = 0;
  for (const StepSequence& sequence : plan.sequences) {
    for (std::int32_t i = 0; i < sequence.tokens; ++i) {
      positions[row++] = sequence.position + i;
    }
    longest = std::max<std::int64_t>(longest, sequence.position + sequence.tokens);
  }
  if (!depends_on_length()) {
    grow(longest);
    return {{{cosine_.data(), positions_, pairs_}, {sine_.data(), positions_, pairs_}},
            {positions, plan.tokens.size()}};
  }
  auto* const cosine = arena.take<float>(rows * pairs_);
  auto* const sine = arena.take<float>(rows * pairs_);
  row = 0;
  for (const StepSequence& sequence : plan.sequences) {
    const io::RopeFrequencies& of_length = frequencies(sequence.position + sequence.tokens);
    for (std::int32_t i = 0; i < sequence.tokens; ++i, ++row) {
      fill_row(of_length, sequence.position + i, cosine + row * pairs_, sine + row * pairs_);
      positions[row] = static_cast<std::int32_t>(row);
    }
  }
  return {{{cosine, rows, pairs_}, {sine, rows, pairs_}}, {positions, plan.tokens.size()}};
}

}  // namespace gamelan::infer
