#include "train/torch_view.h"

#include <c10/util/Exception.h>

#include <array>
#include <utility>

namespace gamelan::train {
namespace {

constexpr std::array<std::pair<at::ScalarType, tensor::DType>, tensor::kDTypeCount> kTypes = {{
    {at::kFloat, tensor::DType::kF32},
    {at::kDouble, tensor::DType::kF64},
    {at::kHalf, tensor::DType::kF16},
    {at::kBFloat16, tensor::DType::kBF16},
    {at::kLong, tensor::DType::kI64},
    {at::kInt, tensor::DType::kI32},
    {at::kShort, tensor::DType::kI16},
    {at::kChar, tensor::DType::kI8},
    {at::kByte, tensor::DType::kU8},
    {at::kBool, tensor::DType::kBool},
}};

}  // namespace

tensor::DType dtype_of(at::ScalarType type) {
  for (const auto& [scalar_type, dtype] : kTypes) {
    if (scalar_type == type) {
      return dtype;
    }
  }
  TORCH_CHECK_TYPE(false, "expected a real or boolean element type, got ", type);
}

at::ScalarType scalar_type_of(tensor::DType dtype) {
  return kTypes[static_cast<std::size_t>(dtype)].first;
}

tensor::BufferView view_of(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cpu(), "expected a tensor on the CPU, got one on ", tensor.device());
  TORCH_CHECK(tensor.is_non_overlapping_and_dense(),
              "expected a dense tensor without overlaps, got sizes ", tensor.sizes(),
              " with strides ", tensor.strides());
  return {tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
          dtype_of(tensor.scalar_type()), {}};
}

void throw_if_error(const base::Status& status) {
  TORCH_CHECK(status.ok(), std::string(base::message(status)));
}

}  // namespace gamelan::train
