#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace gamelan::tensor {

/// Element types. The numbers go over the wire and into files: append only.
enum class DType : std::uint8_t {
  kF32 = 0,
  kF64 = 1,
  kF16 = 2,
  kBF16 = 3,
  kI64 = 4,
  kI32 = 5,
  kI16 = 6,
  kI8 = 7,
  kU8 = 8,
  kBool = 9,
};
inline constexpr int kDTypeCount = 10;

/// Bytes of one element.
std::size_t size_of(DType dtype);
/// "f32", "bf16", "i64", …
std::string_view name_of(DType dtype);
/// The inverse of name_of; nullopt for an unknown name.
std::optional<DType> dtype_from_name(std::string_view name);

/// Storage of a bfloat16: the upper half of an IEEE f32. Conversions round to nearest even.
struct BFloat16 {
  std::uint16_t bits = 0;
};
/// Storage of an IEEE binary16.
struct Float16 {
  std::uint16_t bits = 0;
};

float to_float(BFloat16 value);
float to_float(Float16 value);
BFloat16 to_bfloat16(float value);
Float16 to_float16(float value);

template <class T>
struct TypeTag {
  using type = T;
};

/// The one place that fans out over element types: calls `f(TypeTag<T>{})` with the C++ type of `dtype`
/// (float, double, Float16, BFloat16, std::int64_t … std::uint8_t, bool).
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(TypeTag<float>{});
    case DType::kF64:
      return f(TypeTag<double>{});
    case DType::kF16:
      return f(TypeTag<Float16>{});
    case DType::kBF16:
      return f(TypeTag<BFloat16>{});
    case DType::kI64:
      return f(TypeTag<std::int64_t>{});
    case DType::kI32:
      return f(TypeTag<std::int32_t>{});
    case DType::kI16:
      return f(TypeTag<std::int16_t>{});
    case DType::kI8:
      return f(TypeTag<std::int8_t>{});
    case DType::kU8:
      return f(TypeTag<std::uint8_t>{});
    case DType::kBool:
      break;
  }
  return f(TypeTag<bool>{});
}

}  // namespace gamelan::tensor
