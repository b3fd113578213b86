#include "infer/cache/cache_dtype.h"

#include "kernels/weight_scheme.h"

namespace gamelan::infer {

std::optional<tensor::DType> cache_dtype_from_name(std::string_view name) {
  const std::optional<kernels::WeightScheme> scheme = kernels::scheme_from_name(name);
  if (!scheme) {
    return std::nullopt;
  }
  switch (*scheme) {
    case kernels::WeightScheme::kF32:
      return tensor::DType::kF32;
    case kernels::WeightScheme::kBF16:
      return tensor::DType::kBF16;
    case kernels::WeightScheme::kF16:
      return tensor::DType::kF16;
    case kernels::WeightScheme::kInt8:
      return tensor::DType::kI8;
    default:
      return std::nullopt;
  }
}

}  // namespace gamelan::infer
