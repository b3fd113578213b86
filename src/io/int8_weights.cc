#include "io/int8_weights.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "io/weight_rows.h"
#include "io/weight_stream.h"

namespace gamelan::io {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kZeroPoint = ".weight_zero_point";

/// Scales [rows or 1, groups of columns].
class Int8Decoder : public WeightDecoder {
 public:
  Int8Decoder(std::vector<float> scales, bool by_row, std::int64_t groups)
      : scales_(std::move(scales)), by_row_(by_row), groups_(groups) {}

  std::string_view name() const override { return kInt8StorageName; }

  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override {
    const std::int64_t columns = columns_of(view);
    const std::int64_t width = columns / groups_;
    float* to = out.data();
    for (std::int64_t r = block.first_row; r < block.first_row + block.rows; ++r) {
      const auto* from = reinterpret_cast<const std::int8_t*>(view.bytes.data()) + r * columns;
      const float* scales = scales_.data() + (by_row_ ? r * groups_ : 0);
      for (std::int64_t c = block.first_column; c < block.first_column + block.columns; ++c) {
        *to++ = static_cast<float>(from[c]) * scales[c / width];
      }
    }
  }

 private:
  std::vector<float> scales_;
  bool by_row_;
  std::int64_t groups_;
};

/// Where a tensor is among the parts.
struct Place {
  std::size_t part = 0;
  std::size_t index = 0;
};

bool is_int8_matrix(const WeightView& view) {
  return view.plain() && view.dtype == tensor::DType::kI8 && view.shape.size() == 2 &&
         view.name.ends_with(kWeight);
}

base::StatusOr<std::shared_ptr<Int8Decoder>> make_decoder(const WeightView& view,
                                                          const WeightView& scale) {
  const std::int64_t rows = scale.shape.empty() ? 1 : scale.shape.front();
  const std::int64_t groups = scale.shape.size() < 2 ? 1 : scale.shape.back();
  const bool fits = scale.shape.size() <= 2 && (rows == 1 || rows == view.shape[0]) && groups > 0 &&
                    view.shape[1] % groups == 0;
  GAMELAN_RETURN_IF_ERROR(check_weight(scale, scale.shape));
  if (!fits) {
    return base::invalid_argument(
        "{}: tensor '{}' has shape {}; the scales of '{}' {} are [rows or 1, a divisor of the "
        "columns]",
        scale.file, scale.name, tensor::to_string(scale.shape), view.name,
        tensor::to_string(view.shape));
  }
  std::vector<float> scales(static_cast<std::size_t>(rows * groups));
  read_rows(scale, 0, rows_of(scale), scales);
  return std::make_shared<Int8Decoder>(std::move(scales), rows > 1, groups);
}

}  // namespace

base::StatusOr<std::vector<float>> int8_scales(const WeightView& view, ScaleAxis axis) {
  const bool by_row = axis == ScaleAxis::kRows;
  std::vector<float> scales(static_cast<std::size_t>(view.shape[by_row ? 0 : 1]));
  bool finite = true;
  GAMELAN_RETURN_IF_ERROR(
      for_each_band(view, [&](const WeightBlock& block, std::span<const float> numbers) {
        for (std::size_t i = 0; i < numbers.size(); ++i) {
          const auto at = static_cast<std::int64_t>(i);
          float& largest =
              scales[static_cast<std::size_t>(by_row ? block.first_row + at / block.columns
                                                     : block.first_column + at % block.columns)];
          finite = finite && std::isfinite(numbers[i]);
          largest = std::max(largest, std::fabs(numbers[i]));
        }
        return finite ? base::OkStatus()
                      : base::invalid_argument(
                            "{}: tensor '{}': expected finite numbers for int8, found others",
                            view.file, view.name);
      }));
  for (float& scale : scales) {
    scale /= 127.0F;
  }
  return scales;
}

void quantise_int8(const WeightBlock& block, std::span<const float> numbers, ScaleAxis axis,
                   std::span<const float> scales, std::span<std::int8_t> out) {
  for (std::int64_t i = 0; i < block.rows; ++i) {
    for (std::int64_t k = 0; k < block.columns; ++k) {
      const auto at = static_cast<std::size_t>(i * block.columns + k);
      const float scale = scales[static_cast<std::size_t>(
          axis == ScaleAxis::kRows ? block.first_row + i : block.first_column + k)];
      out[at] = static_cast<std::int8_t>(
          scale > 0.0F ? std::nearbyint(std::clamp(numbers[at] / scale, -127.0F, 127.0F)) : 0.0F);
    }
  }
}

base::Status join_int8_weights(std::vector<Weights::Part>& parts) {
  std::unordered_map<std::string, Place> places;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    for (std::size_t i = 0; i < parts[p].tensors.size(); ++i) {
      const std::string& name = parts[p].tensors[i].name;
      if (name.ends_with(kScaleSuffix) || name.ends_with(kZeroPoint)) {
        places.emplace(name, Place{p, i});
      }
    }
  }
  std::vector<std::vector<std::size_t>> used(parts.size());  // indices of scales
  std::vector<Weights::Part> owners;
  for (Weights::Part& part : parts) {
    for (WeightView& view : part.tensors) {
      const auto scale = places.find(view.name + std::string(kScaleSuffix));
      if (scale == places.end() || !is_int8_matrix(view)) {
        continue;
      }
      const std::string stem = view.name.substr(0, view.name.size() - kWeight.size());
      if (places.contains(stem + std::string(kZeroPoint))) {
        return base::unimplemented("{}: tensor '{}': zero points of int8 weights are not supported",
                                   view.file, stem + std::string(kZeroPoint));
      }
      const Place place = scale->second;
      GAMELAN_ASSIGN_OR_RETURN(const auto decoder,
                               make_decoder(view, parts[place.part].tensors[place.index]));
      view.decoder = decoder.get();
      view.dtype = tensor::DType::kF32;
      owners.push_back({{}, decoder});
      used[place.part].push_back(place.index);
    }
  }
  for (std::size_t p = 0; p < parts.size(); ++p) {
    std::sort(used[p].rbegin(), used[p].rend());
    for (const std::size_t index : used[p]) {
      parts[p].tensors.erase(parts[p].tensors.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  std::move(owners.begin(), owners.end(), std::back_inserter(parts));
  return base::OkStatus();
}

}  // namespace gamelan::io
