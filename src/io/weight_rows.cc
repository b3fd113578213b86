#include "io/weight_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <vector>

#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

/// tensor::to_float(Float16) without branches, so that loops over it become SIMD instructions. The
/// product rescales the exponent and is exact for subnormals too.
inline float widen_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const float scaled =
      std::bit_cast<float>(static_cast<std::uint32_t>(bits & 0x7fffU) << 13) * 0x1p112F;
  const std::uint32_t special = (bits & 0x7c00U) == 0x7c00U ? 0x7f800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | sign);
}

template <class T>
inline float widen_one(T value) {
  if constexpr (std::is_same_v<T, tensor::BFloat16>) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
  } else if constexpr (std::is_same_v<T, tensor::Float16>) {
    return widen_f16(value.bits);
  } else {
    return static_cast<float>(value);
  }
}

template <class T>
void widen_all(const std::byte* bytes, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    // A file's byte may hold anything: a bool made of it would be undefined.
    using Stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;
    Stored value;
    std::memcpy(&value, bytes + i * sizeof(Stored), sizeof(Stored));
    out[i] = widen_one(value);
  }
}

void check_block(const WeightView& view, const WeightBlock& block, std::size_t out) {
  GAMELAN_CHECK(block.first_row >= 0 && block.rows >= 0 && block.first_column >= 0 &&
                    block.columns >= 0 && block.first_row + block.rows <= rows_of(view) &&
                    block.first_column + block.columns <= columns_of(view),
                "rows {}+{} and columns {}+{} lie in tensor '{}' {}", block.first_row, block.rows,
                block.first_column, block.columns, view.name, tensor::to_string(view.shape));
  GAMELAN_CHECK(out == static_cast<std::size_t>(block.rows * block.columns),
                "the block of tensor '{}' has {} numbers, the output {}", view.name,
                block.rows * block.columns, out);
}

}  // namespace

std::int64_t rows_of(const WeightView& view) {
  return view.shape.size() < 2 ? 1 : view.shape.front();
}

std::int64_t columns_of(const WeightView& view) {
  std::int64_t columns = 1;
  for (std::size_t i = view.shape.size() < 2 ? 0 : 1; i < view.shape.size(); ++i) {
    if (__builtin_mul_overflow(columns, view.shape[i], &columns)) {
      return 0;  // possible only beside a dimension of 0: there are no numbers
    }
  }
  return columns;
}

void widen(tensor::DType dtype, const std::byte* bytes, std::size_t count, float* out) {
  if (count == 0) {
    return;
  }
  if (dtype == tensor::DType::kF32) {
    std::memcpy(out, bytes, count * sizeof(float));
    return;
  }
  tensor::visit_dtype(
      dtype, [&]<class T>(tensor::TypeTag<T> /*tag*/) { widen_all<T>(bytes, count, out); });
}

void narrow(tensor::DType dtype, std::span<const float> numbers, std::span<std::byte> out) {
  GAMELAN_CHECK(out.size() == numbers.size() * tensor::size_of(dtype),
                "{} numbers of {} fill {} bytes", numbers.size(), tensor::name_of(dtype),
                out.size());
  if (dtype == tensor::DType::kF32) {
    std::memcpy(out.data(), numbers.data(), out.size());
    return;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::uint16_t bits = dtype == tensor::DType::kF16 ? tensor::to_float16(numbers[i]).bits
                                                            : tensor::to_bfloat16(numbers[i]).bits;
    std::memcpy(out.data() + i * sizeof(bits), &bits, sizeof(bits));
  }
}

void WeightDecoder::release_pages(const WeightView& view) const {
  if (view.mapped) {
    io::release_pages(view.bytes);
  }
}

void release_pages(const WeightView& view) {
  if (view.decoder != nullptr) {
    view.decoder->release_pages(view);
  } else if (view.mapped) {
    release_pages(view.bytes);
  }
}

void read_block(const WeightView& view, const WeightBlock& block, std::span<float> out) {
  check_block(view, block, out.size());
  if (out.empty()) {
    return;
  }
  if (view.decoder != nullptr) {
    view.decoder->read(view, block, out);
    return;
  }
  const auto size = static_cast<std::int64_t>(tensor::size_of(view.dtype));
  const std::int64_t columns = columns_of(view);
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const std::int64_t first = (block.first_row + row) * columns + block.first_column;
    widen(view.dtype, view.bytes.data() + first * size, static_cast<std::size_t>(block.columns),
          out.data() + row * block.columns);
  }
}

void read_rows(const WeightView& view, std::int64_t first, std::int64_t count,
               std::span<float> out) {
  read_block(view, {first, count, 0, columns_of(view)}, out);
}

void read_row(const WeightView& view, std::int64_t n, std::span<float> out) {
  read_rows(view, n, 1, out);
}

void read_block_transposed(const WeightView& view, const WeightBlock& block, std::span<float> out) {
  check_block(view, block, out.size());
  // Tiles of 16 x 256 f32 stay in the first-level cache beside the lines that they are written to.
  constexpr std::int64_t kRows = 16;
  constexpr std::int64_t kColumns = 256;
  std::vector<float> tile(static_cast<std::size_t>(kRows * kColumns));
  for (std::int64_t row = 0; row < block.rows; row += kRows) {
    const std::int64_t rows = std::min(kRows, block.rows - row);
    for (std::int64_t column = 0; column < block.columns; column += kColumns) {
      const std::int64_t columns = std::min(kColumns, block.columns - column);
      read_block(view, {block.first_row + row, rows, block.first_column + column, columns},
                 std::span(tile).first(static_cast<std::size_t>(rows * columns)));
      for (std::int64_t c = 0; c < columns; ++c) {
        for (std::int64_t r = 0; r < rows; ++r) {
          out[static_cast<std::size_t>((column + c) * block.rows + row + r)] =
              tile[static_cast<std::size_t>(r * columns + c)];
        }
      }
    }
  }
}

}  // namespace gamelan::io
