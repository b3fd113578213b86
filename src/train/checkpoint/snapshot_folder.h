#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "train/checkpoint/snapshot.h"

namespace gamelan::train {

/// The snapshots of one job in its output folder: `snapshot-<step>`, each of which appears whole or
/// not at all, and `training.json`, which says what the job is. See docs/formats/snapshot.md.
///
/// One process writes: global rank 0. A writer that is killed at any moment leaves the earlier
/// snapshots as they were; its leftovers (`.tmp-*`) are removed by the next one. Not thread-safe.
class SnapshotFolder {
 public:
  struct Options {
    /// How many snapshots are kept; 0 = all.
    std::int64_t keep = 2;
  };

  explicit SnapshotFolder(std::string path) : SnapshotFolder(std::move(path), Options()) {}
  SnapshotFolder(std::string path, Options options);

  const std::string& path() const { return path_; }

  /// Makes the folder ready: creates it when missing and removes leftovers. kFailedPrecondition
  /// when it holds other things but no job, unless `allow_foreign`; kPermissionDenied or
  /// kResourceExhausted when it cannot be written.
  base::Status open(bool allow_foreign = false);
  /// Removes the snapshots and training.json, so that open() finds a folder without a job. Leaves
  /// everything else alone.
  base::Status remove_job();

  /// training.json: an object that the caller defines, written atomically. nullopt when there is
  /// none.
  base::StatusOr<std::optional<nlohmann::json>> read_job() const;
  base::Status write_job(const nlohmann::json& job);

  /// Writes `snapshot-<step>` atomically, replacing one of that step, and then removes the oldest
  /// beyond `keep`. On failure nothing has changed but for leftovers.
  base::Status write(const Snapshot& snapshot);

  struct Loaded {
    /// nullopt: there is no usable snapshot.
    std::optional<Snapshot> snapshot;
    std::string path;
    /// What was wrong with each newer one. They have been renamed to `damaged-snapshot-<step>`.
    std::vector<base::Status> damaged;
  };
  /// The newest snapshot that is whole. An error when a snapshot may be whole but cannot be read:
  /// another version of the format, no permission.
  base::StatusOr<Loaded> load_newest();

  /// Steps of the snapshots present, newest first; whole or not.
  base::StatusOr<std::vector<std::int64_t>> steps() const;
  std::string snapshot_path(std::int64_t step) const;

 private:
  base::Status set_aside(const std::string& path);
  base::Status remove_oldest();
  base::Status remove_folder(const std::string& path);
  base::Status remove_leftovers();

  std::string path_;
  Options options_;
};

}  // namespace gamelan::train
