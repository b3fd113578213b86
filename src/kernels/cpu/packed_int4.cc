#include "kernels/cpu/packed_int4.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/linear_kernels.h"
#include "tensor/dtype.h"

namespace gamelan::kernels::cpu {
namespace {

constexpr std::int64_t kWordInputs = 8;
constexpr std::size_t kScaleBytes = kPanel * sizeof(std::uint16_t);

/// The code of the level nearest to `value`, which is rounded to a whole number first.
class NearestLevel {
 public:
  NearestLevel() {
    for (int value = -kLimit; value <= kLimit; ++value) {
      std::uint8_t best = 0;
      for (std::uint8_t code = 1; code < 16; ++code) {
        if (std::abs(kInt4Levels[code] - value) < std::abs(kInt4Levels[best] - value)) {
          best = code;
        }
      }
      codes_[static_cast<std::size_t>(value + kLimit)] = best;
    }
  }
  std::uint8_t operator()(float value) const {
    const float clamped = std::clamp(value, -float{kLimit}, float{kLimit});
    return codes_[static_cast<std::size_t>(static_cast<int>(clamped + (kLimit + 0.5F)))];
  }

 private:
  static constexpr int kLimit = 128;
  std::array<std::uint8_t, 2 * kLimit + 1> codes_ = {};
};

// Scales that clip the largest number, or leave the outermost level unused, are tried too: beyond
// these none is ever best for a bell-shaped group.
constexpr std::array<float, 8> kScaleFactors = {0.76F, 0.82F, 0.87F, 0.92F,
                                                0.96F, 1.0F,  1.05F, 1.1F};

/// The scale for these numbers (of a level, not of level / 128).
float best_scale(const float* numbers, std::int64_t count, const NearestLevel& nearest) {
  const float largest = *std::max_element(
      numbers, numbers + count, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  float best = 0.0F;
  float most = -1.0F;
  for (const float factor : kScaleFactors) {
    for (const float sign : {1.0F, -1.0F}) {
      const float inverse = sign * kInt4Levels[0] / (largest * factor);
      float product = 0.0F;
      float square = 0.0F;
      for (std::int64_t i = 0; i < count; ++i) {
        const float level = kInt4Levels[nearest(numbers[i] * inverse)];
        product += level * numbers[i];
        square += level * level;
      }
      // With the best scale for these codes, product / square, the error is the numbers' own
      // square less this.
      const float explained = product * product / square;
      if (explained > most) {
        most = explained;
        best = product / square;
      }
    }
  }
  return best;
}

std::byte* group_at(std::byte* panel, std::int64_t group, std::int64_t k) {
  return panel + static_cast<std::size_t>(k / group) * int4_group_bytes(group);
}

/// Where the word of input k lies in its group, and how far its code is shifted.
std::size_t word_at(std::int64_t group, std::int64_t k, std::int64_t column) {
  return kScaleBytes + static_cast<std::size_t>((k % group / kWordInputs * kPanel + column) * 4);
}
int shift_of(std::int64_t k) {
  const auto inner = static_cast<int>(k % kWordInputs);
  return inner / 2 * 4 + inner % 2 * 16;
}

}  // namespace

std::size_t int4_group_bytes(std::int64_t group) {
  return kScaleBytes + static_cast<std::size_t>(group / kWordInputs * kPanel * 4);
}

bool pack_int4(const float* row, std::int64_t in, std::int64_t group, std::int64_t column,
               std::byte* panel) {
  static const NearestLevel nearest;
  for (std::int64_t first = 0; first < in; first += group) {
    const std::int64_t count = std::min(group, in - first);
    const auto fits = [](float x) { return std::fabs(x) <= 65'504.0F; };
    if (!std::all_of(row + first, row + first + count, fits)) {
      return false;
    }
    const bool zeros = std::all_of(row + first, row + first + count,
                                   [](float x) { return std::fabs(x) < 0x1p-100F; });
    const float wished = zeros ? 0.0F : best_scale(row + first, count, nearest) / kInt4Unit;
    const tensor::Float16 scale = tensor::to_float16(std::clamp(wished, -65'504.0F, 65'504.0F));
    std::byte* const to = group_at(panel, group, first);
    std::memcpy(to + static_cast<std::size_t>(column) * sizeof(scale), &scale, sizeof(scale));
    const float kept = tensor::to_float(scale) * kInt4Unit;
    const float inverse = kept == 0.0F ? 0.0F : 1.0F / kept;
    for (std::int64_t k = first; k < first + count; ++k) {
      std::byte* const at = to + word_at(group, k, column);
      std::uint32_t word = 0;
      std::memcpy(&word, at, sizeof word);
      word |= std::uint32_t{nearest(row[k] * inverse)} << shift_of(k);
      std::memcpy(at, &word, sizeof word);
    }
  }
  return true;
}

float read_int4(const std::byte* panel, std::int64_t group, std::int64_t k, std::int64_t column) {
  const std::byte* const from =
      panel + static_cast<std::size_t>(k / group) * int4_group_bytes(group);
  tensor::Float16 scale;
  std::memcpy(&scale, from + static_cast<std::size_t>(column) * sizeof(scale), sizeof(scale));
  std::uint32_t word = 0;
  std::memcpy(&word, from + word_at(group, k, column), sizeof word);
  return tensor::to_float(scale) * (kInt4Unit * kInt4Levels[word >> shift_of(k) & 15U]);
}

}  // namespace gamelan::kernels::cpu
