#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace gamelan::base {

template <class Signature>
class FunctionRef;

/// Something to call that the caller keeps: for parameters that are called before the function
/// returns. Two pointers, so that, unlike a std::function, it never allocates, whatever a lambda
/// captures. Copying copies the reference.
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
           std::is_object_v<std::remove_reference_t<F>> &&
           std::is_invocable_r_v<Result, F&, Arguments...>)
      FunctionRef(F&& callable)  // NOLINT: a lambda is passed as it is
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Arguments... arguments) -> Result {
          auto& function = *static_cast<std::remove_reference_t<F>*>(object);
          if constexpr (std::is_void_v<Result>) {
            function(std::forward<Arguments>(arguments)...);
          } else {
            return function(std::forward<Arguments>(arguments)...);
          }
        }) {}

  Result operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

}  // namespace gamelan::base
