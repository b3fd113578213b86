#include "io/lfs_pointer.h"

namespace gamelan::io {

base::Status check_no_lfs_pointer(std::string_view text, std::string_view file) {
  if (!text.starts_with("version https://git-lfs.github.com/spec/")) {
    return base::OkStatus();
  }
  return base::failed_precondition(
      "{}: this is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder it "
      "came from",
      file);
}

}  // namespace gamelan::io
