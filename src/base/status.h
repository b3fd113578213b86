#pragma once

// Errors as values. docs/errors.md explains the three kinds; the constructors below are grouped by them.
// Every message states what was expected, what came, and where.

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace gamelan::base {

using absl::OkStatus;
using absl::Status;
using absl::StatusCode;
template <class T>
using StatusOr = absl::StatusOr<T>;

/// `fmt::format` into a Status of the given code.
template <class... Args>
Status make_status(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

// ---- The caller's mistake: fix the call, do not retry ----

/// An argument, option or file content that can never be right.
template <class... Args>
Status invalid_argument(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}
/// A named thing (file, key, tensor) does not exist.
template <class... Args>
Status not_found(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kNotFound, format, std::forward<Args>(args)...);
}
/// Right call, wrong moment: closed object, finished job, folder already in use.
template <class... Args>
Status failed_precondition(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kFailedPrecondition, format, std::forward<Args>(args)...);
}
/// The capability exists nowhere in this build or for these types.
template <class... Args>
Status unimplemented(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kUnimplemented, format, std::forward<Args>(args)...);
}

// ---- The environment or a peer: the code says what helps ----

/// Retry: nobody listens yet, a peer has gone and may come back.
template <class... Args>
Status unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kUnavailable, format, std::forward<Args>(args)...);
}
/// Reconnect: the group was aborted; form the next generation.
template <class... Args>
Status aborted(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kAborted, format, std::forward<Args>(args)...);
}
/// The deadline passed; the message names who has not arrived at what.
template <class... Args>
Status deadline_exceeded(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kDeadlineExceeded, format, std::forward<Args>(args)...);
}
/// Give up: bytes on disk or from a peer are damaged.
template <class... Args>
Status data_loss(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kDataLoss, format, std::forward<Args>(args)...);
}
/// Give up: out of memory, disk, descriptors.
template <class... Args>
Status resource_exhausted(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kResourceExhausted, format, std::forward<Args>(args)...);
}
/// Give up: the peer or the file system refuses (wrong token, no permission).
template <class... Args>
Status permission_denied(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kPermissionDenied, format, std::forward<Args>(args)...);
}

// ---- Our bug ----

/// An invariant of Gamelan itself does not hold.
template <class... Args>
Status internal(fmt::format_string<Args...> format, Args&&... args) {
  return make_status(StatusCode::kInternal, format, std::forward<Args>(args)...);
}

/// A failed system call: maps `error_number` to one of the codes above and appends its text.
/// Example: `errno_status(errno, "open {}", path)` gives "open /x: No such file or directory".
Status errno_status(int error_number, std::string_view what);
template <class... Args>
Status errno_status(int error_number, fmt::format_string<Args...> format, Args&&... args) {
  return errno_status(error_number,
                      std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

/// The same error with `context` and ": " in front of its message; OK stays OK.
Status annotate(const Status& status, std::string_view context);

/// The message as a std::string_view (absl::string_view is a type of its own here).
inline std::string_view message(const Status& status) {
  return {status.message().data(), status.message().size()};
}

namespace internal_status {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& text);
}  // namespace internal_status

}  // namespace gamelan::base

/// Our bug: aborts the process with the condition and a message naming the invariant. Never used for
/// bytes from disk or network, nor for a caller's argument.
#define GAMELAN_CHECK(condition, ...)                                                     \
  do {                                                                                    \
    if (!(condition)) [[unlikely]] {                                                      \
      ::gamelan::base::internal_status::check_failed(__FILE__, __LINE__, #condition,      \
                                                     ::fmt::format(__VA_ARGS__));         \
    }                                                                                     \
  } while (false)

#define GAMELAN_CONCAT_INNER(a, b) a##b
#define GAMELAN_CONCAT(a, b) GAMELAN_CONCAT_INNER(a, b)

/// Returns from the enclosing function when `expression` is an error Status.
#define GAMELAN_RETURN_IF_ERROR(expression)                              \
  do {                                                                   \
    if (::gamelan::base::Status status_macro_value = (expression);       \
        !status_macro_value.ok()) [[unlikely]] {                         \
      return status_macro_value;                                         \
    }                                                                    \
  } while (false)

/// `GAMELAN_ASSIGN_OR_RETURN(auto x, f());` declares x from a StatusOr or returns its error.
#define GAMELAN_ASSIGN_OR_RETURN(declaration, expression) \
  GAMELAN_ASSIGN_OR_RETURN_INNER(GAMELAN_CONCAT(status_or_, __LINE__), declaration, expression)
#define GAMELAN_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                           \
  if (!temporary.ok()) [[unlikely]] {                                      \
    return std::move(temporary).status();                                  \
  }                                                                        \
  declaration = *std::move(temporary)
