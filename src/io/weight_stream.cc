#include "io/weight_stream.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

// A transposed source is read line by line through all of its file for every band: at 16 MiB of
// f32 a band of 4096 columns is a thousand rows, so the lines are read in kilobytes.
constexpr std::int64_t kBandNumbers = std::int64_t{4} << 20;
// Plain bytes go straight from the map to the file.
constexpr std::size_t kCopyBytes = std::size_t{8} << 20;
// Halfway between the largest f16 and what would be the next one: this rounds to infinity.
constexpr float kBeyondF16 = 65520.0F;

base::Status append_bytes(const WeightView& view, SafetensorsWriter& file) {
  std::span<const std::byte> rest = view.bytes;
  do {  // once for a tensor without numbers
    const std::span<const std::byte> part = rest.first(std::min(rest.size(), kCopyBytes));
    GAMELAN_RETURN_IF_ERROR(file.append_part(view.name, part));
    rest = rest.subspan(part.size());
    release_pages(view);
  } while (!rest.empty());
  return base::OkStatus();
}

base::Status check_range(const WeightView& view, std::span<const float> numbers) {
  const auto bad = std::find_if(numbers.begin(), numbers.end(), [](float value) {
    return std::isfinite(value) && std::fabs(value) >= kBeyondF16;
  });
  if (bad != numbers.end()) {
    return base::invalid_argument(
        "{}: tensor '{}': expected numbers within the range of f16 (65504), got {}; bf16 and f32 "
        "hold it",
        view.file, view.name, *bad);
  }
  return base::OkStatus();
}

}  // namespace

base::Status for_each_band(const WeightView& view, const UseBlock& use) {
  const std::int64_t rows = rows_of(view);
  const std::int64_t columns = columns_of(view);
  if (rows == 0 || columns == 0) {
    return base::OkStatus();
  }
  const std::int64_t width = std::min(columns, kBandNumbers);
  const std::int64_t height = std::clamp<std::int64_t>(kBandNumbers / width, 1, rows);
  std::vector<float> numbers;
  for (std::int64_t row = 0; row < rows; row += height) {
    for (std::int64_t column = 0; column < columns; column += width) {
      const WeightBlock block = {row, std::min(height, rows - row), column,
                                 std::min(width, columns - column)};
      numbers.resize(static_cast<std::size_t>(block.rows * block.columns));
      read_block(view, block, numbers);
      release_pages(view);
      GAMELAN_RETURN_IF_ERROR(use(block, numbers));
    }
  }
  return base::OkStatus();
}

base::Status append_weight(const WeightView& view, tensor::DType dtype, SafetensorsWriter& file) {
  if (view.plain() && view.dtype == dtype) {
    return append_bytes(view, file);
  }
  if (rows_of(view) == 0 || columns_of(view) == 0) {
    return file.append_part(view.name, {});
  }
  std::vector<std::byte> bytes;
  return for_each_band(view, [&](const WeightBlock&, std::span<const float> numbers) {
    if (dtype == tensor::DType::kF16 && view.dtype != tensor::DType::kF16) {
      GAMELAN_RETURN_IF_ERROR(check_range(view, numbers));
    }
    bytes.resize(numbers.size() * tensor::size_of(dtype));
    narrow(dtype, numbers, bytes);
    return file.append_part(view.name, bytes);
  });
}

}  // namespace gamelan::io
