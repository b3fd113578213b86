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

enum class Layout { kOutputsFirst, kInputsFirst };

/// The bytes are [out, groups], whatever the layout of the matrix.
class Int4Decoder : public WeightDecoder {
 public:
  Int4Decoder(std::array<float, 16> levels, Layout layout) : levels_(levels), layout_(layout) {}

  std::string_view name() const override { return kInt4StorageName; }

  std::int64_t group_size(const WeightView& view) const {
    const std::int64_t inputs = view.shape[turned() ? 0 : 1];
    return inputs / ((row_bytes(view) - inputs / 2) / kScaleBytes);
  }

  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override {
    const std::int64_t size = group_size(view);
    const auto [first_output, outputs, first_input, inputs] =
        turned() ? WeightBlock{block.first_column, block.columns, block.first_row, block.rows}
                 : block;
    const std::int64_t output_step = turned() ? 1 : inputs;
    const std::int64_t input_step = turned() ? outputs : 1;
    for (std::int64_t o = 0; o < outputs; ++o) {
      const std::byte* row = view.bytes.data() + (first_output + o) * row_bytes(view);
      float* to = out.data() + o * output_step;
      for (std::int64_t i = first_input; i < first_input + inputs; ++i, to += input_step) {
        const std::byte* group = row + i / size * (kScaleBytes + size / 2);
        tensor::Float16 scale;
        std::memcpy(&scale, group, sizeof(scale));
        const std::int64_t within = i % size;
        const auto pair = static_cast<unsigned>(group[kScaleBytes + within / 2]);
        *to = tensor::to_float(scale) * levels_[within % 2 == 0 ? pair & 15U : pair >> 4];
      }
    }
  }

 private:
  bool turned() const { return layout_ == Layout::kInputsFirst; }
  /// Half of the inputs and the scales.
  std::int64_t row_bytes(const WeightView& view) const {
    return static_cast<std::int64_t>(view.bytes.size()) / view.shape[turned() ? 1 : 0];
  }

  std::array<float, 16> levels_;
  Layout layout_;
};

struct Decoders {
  Int4Decoder outputs_first;
  Int4Decoder inputs_first;
};

base::StatusOr<std::shared_ptr<const Decoders>> make_decoders(const WeightView& levels) {
  GAMELAN_RETURN_IF_ERROR(check_weight(levels, {16}));
  std::array<float, 16> values = {};
  read_row(levels, 0, values);
  return std::make_shared<const Decoders>(
      Decoders{{values, Layout::kOutputsFirst}, {values, Layout::kInputsFirst}});
}

/// [out, groups, bytes] becomes [out, in] or [in, out].
base::Status turn(WeightView& view, Layout layout, const Decoders& decoders) {
  const bool fits = view.plain() && view.dtype == tensor::DType::kU8 && view.shape.size() == 3 &&
                    view.shape[2] > kScaleBytes && view.shape[2] <= kMaxGroup &&
                    !view.bytes.empty();
  if (!fits) {
    return base::invalid_argument(
        "{}: tensor '{}': expected bytes [out, groups, 2 + group / 2], got {} {}", view.file,
        view.name, tensor::name_of(view.dtype), tensor::to_string(view.shape));
  }
  view.name.resize(view.name.rfind(kInt4Suffix));
  view.shape = {view.shape[0], view.shape[1] * (view.shape[2] - kScaleBytes) * 2};
  view.dtype = tensor::DType::kF32;
  view.decoder = &decoders.outputs_first;
  if (layout == Layout::kInputsFirst) {
    std::swap(view.shape[0], view.shape[1]);
    view.decoder = &decoders.inputs_first;
  }
  return base::OkStatus();
}

/// nullopt when `name` is not that of a matrix's groups.
std::optional<Layout> layout_of(std::string_view name) {
  const std::size_t weight = name.rfind(".weight");
  const std::string_view suffix =
      weight == name.npos ? "" : name.substr(weight + std::string_view(".weight").size());
  if (suffix == kInt4Suffix) {
    return Layout::kOutputsFirst;
  }
  return suffix == kInt4TransposedSuffix ? std::optional(Layout::kInputsFirst) : std::nullopt;
}

}  // namespace

std::optional<std::int64_t> int4_group_size(const WeightView& view) {
  const auto* const decoder = dynamic_cast<const Int4Decoder*>(view.decoder);
  return decoder == nullptr ? std::nullopt : std::optional(decoder->group_size(view));
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
  std::shared_ptr<const Decoders> decoders;
  for (Weights::Part& part : parts) {
    const auto levels = std::find_if(part.tensors.begin(), part.tensors.end(),
                                     [](const WeightView& v) { return v.name == kInt4Levels; });
    if (levels != part.tensors.end()) {
      GAMELAN_ASSIGN_OR_RETURN(decoders, make_decoders(*levels));
      part.tensors.erase(levels);
    }
  }
  for (Weights::Part& part : parts) {
    for (WeightView& view : part.tensors) {
      const std::optional<Layout> layout = layout_of(view.name);
      if (!layout) {
        continue;
      }
      if (decoders == nullptr) {
        return base::invalid_argument("{}: tensor '{}' needs the levels '{}', found none",
                                      view.file, view.name, kInt4Levels);
      }
      GAMELAN_RETURN_IF_ERROR(turn(view, *layout, *decoders));
    }
  }
  if (decoders != nullptr) {
    parts.push_back({{}, decoders});
  }
  return base::OkStatus();
}

}  // namespace gamelan::io
