#include "gamelan/int4_coding.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/cpu/packed_int4.h"

namespace gamelan::apps {
namespace {

namespace cpu = kernels::cpu;

/// Output `column` of a panel: its scales and codes, from where packed_int4.h says that they lie.
void take_column(const std::byte* panel, std::int64_t columns, std::int64_t group,
                 std::int64_t column, std::uint8_t* codes, tensor::Float16* scales) {
  constexpr std::int64_t kWordInputs = 8;
  const auto group_bytes = static_cast<std::int64_t>(cpu::int4_group_bytes(group));
  for (std::int64_t k = 0; k < columns; ++k) {
    const std::byte* from = panel + k / group * group_bytes;
    if (k % group == 0) {
      std::memcpy(&scales[k / group], from + column * 2, sizeof(tensor::Float16));
    }
    std::uint32_t word = 0;
    std::memcpy(&word,
                from + cpu::kPanel * 2 + (k % group / kWordInputs * cpu::kPanel + column) * 4,
                sizeof(word));
    codes[k] = static_cast<std::uint8_t>(word >> (k % kWordInputs / 2 * 4 + k % 2 * 16) & 15U);
  }
}

bool encode(std::int64_t group, std::int64_t rows, std::int64_t columns,
            std::span<const float> numbers, std::span<std::uint8_t> codes,
            std::span<tensor::Float16> scales) {
  const std::int64_t groups = columns / group;
  std::vector<std::byte> panel(static_cast<std::size_t>(groups) * cpu::int4_group_bytes(group));
  for (std::int64_t first = 0; first < rows; first += cpu::kPanel) {
    std::fill(panel.begin(), panel.end(), std::byte{0});
    for (std::int64_t i = 0; i < std::min(cpu::kPanel, rows - first); ++i) {
      const std::int64_t row = first + i;
      if (!cpu::pack_int4(numbers.data() + row * columns, columns, group, i, panel.data())) {
        return false;
      }
      take_column(panel.data(), columns, group, i, codes.data() + row * columns,
                  scales.data() + row * groups);
    }
  }
  return true;
}

}  // namespace

io::Int4Coding int4_coding(std::int64_t group_size) {
  io::Int4Coding coding;
  coding.group_size = group_size;
  for (std::size_t i = 0; i < coding.levels.size(); ++i) {
    coding.levels[i] = static_cast<float>(cpu::kInt4Levels[i]) * cpu::kInt4Unit;
  }
  coding.encode = [group_size](std::int64_t rows, std::int64_t columns,
                               std::span<const float> numbers, std::span<std::uint8_t> codes,
                               std::span<tensor::Float16> scales) {
    return encode(group_size, rows, columns, numbers, codes, scales);
  };
  return coding;
}

}  // namespace gamelan::apps
