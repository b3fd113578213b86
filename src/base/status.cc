#include "base/status.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace gamelan::base {
namespace {

StatusCode code_of_errno(int error_number) {
  switch (error_number) {
    case ENOENT:
      return StatusCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return StatusCode::kResourceExhausted;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
      return StatusCode::kInvalidArgument;
    case ETIMEDOUT:
      return StatusCode::kDeadlineExceeded;
    default:
      return StatusCode::kUnavailable;
  }
}

}  // namespace

Status errno_status(int error_number, std::string_view what) {
  return Status(code_of_errno(error_number),
                fmt::format("{}: {}", what, std::generic_category().message(error_number)));
}

Status annotate(const Status& status, std::string_view context) {
  if (status.ok()) {
    return status;
  }
  Status result(status.code(), fmt::format("{}: {}", context, message(status)));
  return result;
}

namespace internal_status {

void check_failed(const char* file, int line, const char* condition, const std::string& text) {
  std::fprintf(stderr, "%s:%d: this is a bug in Gamelan: invariant `%s` does not hold: %s\n", file,
               line, condition, text.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace internal_status
}  // namespace gamelan::base
