#include "io/int4_weights.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

constexpr std::int64_t kScaleBytes = sizeof(tensor::Float16);
constexpr std::int64_t kMaxGroup = 65'536;

class Int4Decoder : public WeightDecoder {
 public:
  explicit Int4Decoder(std::array<float, 16> levels) : levels_(levels) {}

  std::string_view name() const override { return kInt4StorageName; }

  /// A row's bytes are half of its columns and the scales.
  static std::int64_t group_size(const WeightView& view) {
    const std::int64_t columns = columns_of(view);
    const std::int64_t row_bytes = static_cast<std::int64_t>(view.bytes.size()) / view.shape[0];
    return columns / ((row_bytes - columns / 2) / kScaleBytes);
  }

  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override {
    const std::int64_t row_bytes = static_cast<std::int64_t>(view.bytes.size()) / view.shape[0];
    const std::int64_t size = group_size(view);
    float* to = out.data();
    for (std::int64_t r = block.first_row; r < block.first_row + block.rows; ++r) {
      const std::byte* row = view.bytes.data() + r * row_bytes;
      for (std::int64_t c = block.first_column; c < block.first_column + block.columns; ++c) {
        const std::byte* group = row + c / size * (kScaleBytes + size / 2);
        tensor::Float16 scale;
        std::memcpy(&scale, group, sizeof(scale));
        const std::int64_t within = c % size;
        const auto pair = static_cast<unsigned>(group[kScaleBytes + within / 2]);
        *to++ = tensor::to_float(scale) * levels_[within % 2 == 0 ? pair & 15U : pair >> 4];
      }
    }
  }

 private:
  std::array<float, 16> levels_;
};

base::StatusOr<std::shared_ptr<const Int4Decoder>> make_decoder(const WeightView& levels) {
  GAMELAN_RETURN_IF_ERROR(check_weight(levels, {16}));
  std::array<float, 16> values = {};
  read_row(levels, 0, values);
  return std::make_shared<const Int4Decoder>(values);
}

/// [out, groups, bytes] becomes [out, in].
base::Status turn(WeightView& view, const WeightDecoder& decoder) {
  const bool fits = view.plain() && view.dtype == tensor::DType::kU8 && view.shape.size() == 3 &&
                    view.shape[2] > kScaleBytes && view.shape[2] <= kMaxGroup &&
                    !view.bytes.empty();
  if (!fits) {
    return base::invalid_argument(
        "{}: tensor '{}': expected bytes [out, groups, 2 + group / 2], got {} {}", view.file,
        view.name, tensor::name_of(view.dtype), tensor::to_string(view.shape));
  }
  view.name.resize(view.name.size() - kInt4Suffix.size());
  view.shape = {view.shape[0], view.shape[1] * (view.shape[2] - kScaleBytes) * 2};
  view.dtype = tensor::DType::kF32;
  view.decoder = &decoder;
  return base::OkStatus();
}

}  // namespace

std::optional<std::int64_t> int4_group_size(const WeightView& view) {
  return dynamic_cast<const Int4Decoder*>(view.decoder) == nullptr
             ? std::nullopt
             : std::optional(Int4Decoder::group_size(view));
}

tensor::Shape int4_shape(const tensor::Shape& matrix, std::int64_t group_size) {
  return {matrix[0], matrix[1] / group_size, kScaleBytes + group_size / 2};
}

bool pack_int4_groups(const Int4Coding& coding, std::int64_t rows, std::int64_t columns,
                      std::span<const float> numbers, std::vector<std::byte>& out) {
  std::vector<std::uint8_t> codes(numbers.size());
  std::vector<tensor::Float16> scales(numbers.size() / static_cast<std::size_t>(coding.group_size));
  if (!coding.encode(rows, columns, numbers, codes, scales)) {
    return false;
  }
  out.clear();
  const std::uint8_t* code = codes.data();
  for (const tensor::Float16 scale : scales) {
    out.push_back(static_cast<std::byte>(scale.bits & 255U));
    out.push_back(static_cast<std::byte>(scale.bits >> 8));
    for (std::int64_t i = 0; i < coding.group_size; i += 2, code += 2) {
      out.push_back(static_cast<std::byte>(code[0] | code[1] << 4));
    }
  }
  return true;
}

base::Status join_int4_weights(std::vector<Weights::Part>& parts) {
  std::shared_ptr<const Int4Decoder> decoder;
  for (Weights::Part& part : parts) {
    const auto levels = std::find_if(part.tensors.begin(), part.tensors.end(),
                                     [](const WeightView& v) { return v.name == kInt4Levels; });
    if (levels != part.tensors.end()) {
      GAMELAN_ASSIGN_OR_RETURN(decoder, make_decoder(*levels));
      part.tensors.erase(levels);
    }
  }
  for (Weights::Part& part : parts) {
    for (WeightView& view : part.tensors) {
      if (!view.name.ends_with(std::string(".weight") + std::string(kInt4Suffix))) {
        continue;
      }
      if (decoder == nullptr) {
        return base::invalid_argument("{}: tensor '{}' needs the levels '{}', found none",
                                      view.file, view.name, kInt4Levels);
      }
      GAMELAN_RETURN_IF_ERROR(turn(view, *decoder));
    }
  }
  if (decoder != nullptr) {
    parts.push_back({{}, decoder});
  }
  return base::OkStatus();
}

}  // namespace gamelan::io
