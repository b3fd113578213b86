#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <ranges>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace gamelan::train {

/// Calls `visit(tensor)` for every at::Tensor inside `value`: a tensor, a tuple, pair or array, any
/// range (vector, map, OrderedDict, …), an optional or pointer (when it holds something), nested as
/// they come. Numbers, enums and strings hold none.
///
/// For a struct of your own put an overload beside it; it is found by argument-dependent lookup:
///
///   template <class Visitor>
///   void visit_tensors(const MyOutput& output, Visitor&& visit) {
///     visit(output.logits);
///     visit(output.loss);
///   }
template <class T, class Visitor>
void visit_tensors(const T& value, Visitor&& visit) {
  if constexpr (std::derived_from<T, at::TensorBase>) {
    visit(value);
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T> ||
                       std::convertible_to<const T&, std::string_view>) {
    // No tensor in here.
  } else if constexpr (std::ranges::input_range<const T>) {
    for (const auto& element : value) {
      visit_tensors(element, visit);
    }
  } else if constexpr (requires { std::tuple_size<T>::value; }) {
    std::apply([&visit](const auto&... element) { (visit_tensors(element, visit), ...); }, value);
  } else if constexpr (requires {
                         value.key();
                         value.value();
                       }) {
    visit_tensors(value.value(), visit);  // an item of an OrderedDict
  } else if constexpr (requires {
                         static_cast<bool>(value);
                         *value;
                       }) {
    if (static_cast<bool>(value)) {
      visit_tensors(*value, visit);
    }
  } else {
    static_assert(
        sizeof(T) == 0,
        "no tensors can be found in this type: put an overload of visit_tensors(const T&, "
        "Visitor&&) beside it (see train/ddp/visit_tensors.h)");
  }
}

}  // namespace gamelan::train
