#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gamelan::io {

/// Writes a folder that appears whole or not at all, whatever happens in between (a crash, `kill
/// -9`, a full disk): its files go to a hidden folder beside it, ".NAME.PID.gamelan-tmp", and
/// `publish` renames that. A folder that is replaced is exchanged in one step (renameat2); where
/// the file system cannot, it is moved aside first, and the next writer brings it back should this
/// one be killed before the new one is in place.
///
/// Not thread-safe; the files in it may be written from any thread. Destroyed without a successful
/// `publish` it leaves what was there untouched. What killed writers of the same folder left goes
/// at the next `create` on the same machine.
class AtomicFolder {
 public:
  enum class IfThere { kRefuse, kReplace };

  /// Makes the hidden folder, and the parents of `target` where they are missing. An empty folder
  /// at `target` counts as none. kFailedPrecondition when there is one and it must not be replaced,
  /// kInvalidArgument when something else is in its place.
  static base::StatusOr<AtomicFolder> create(std::string_view target, IfThere if_there);

  ~AtomicFolder();
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;

  /// Where the files are written to.
  const std::filesystem::path& path() const { return path_; }

  /// Makes the folder visible. Its files must be on disk already (AtomicFile syncs them).
  base::Status publish();

 private:
  AtomicFolder() = default;
  void remove_abandoned() const;
  base::Status replace() const;

  std::filesystem::path target_;
  std::filesystem::path path_;  // empty once published
  std::string name_;            // the target as the caller spelled it, for messages
  IfThere if_there_ = IfThere::kRefuse;
  bool made_parent_ = false;
};

}  // namespace gamelan::io
