#include "kernels/weight_scheme.h"

#include <array>
#include <utility>

namespace gamelan::kernels {
namespace {

// The first name of a scheme is the one that is printed.
constexpr std::array<std::pair<std::string_view, WeightScheme>, 11> kNames = {{
    {"f32", WeightScheme::kF32},
    {"bf16", WeightScheme::kBF16},
    {"f16", WeightScheme::kF16},
    {"int8", WeightScheme::kInt8},
    {"int8-dynamic", WeightScheme::kInt8Dynamic},
    {"int4", WeightScheme::kInt4},
    {"fp32", WeightScheme::kF32},
    {"float32", WeightScheme::kF32},
    {"fp16", WeightScheme::kF16},
    {"float16", WeightScheme::kF16},
    {"bfloat16", WeightScheme::kBF16},
}};

}  // namespace

std::string_view name_of(WeightScheme scheme) {
  for (const auto& [name, value] : kNames) {
    if (value == scheme) {
      return name;
    }
  }
  return "unknown";
}

std::optional<WeightScheme> scheme_from_name(std::string_view name) {
  for (const auto& [known, value] : kNames) {
    if (known == name) {
      return value;
    }
  }
  return std::nullopt;
}

std::string scheme_names() {
  std::string names;
  for (const auto& [name, value] : kNames) {
    if (name_of(value) == name) {
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
  }
  return names;
}

}  // namespace gamelan::kernels
