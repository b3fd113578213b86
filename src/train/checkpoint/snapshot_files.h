#pragma once

// The files of one snapshot folder, byte for byte in docs/formats/snapshot.md.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "train/checkpoint/snapshot.h"

namespace gamelan::train {

/// The version of the format that is written; others are refused with kFailedPrecondition.
inline constexpr int kSnapshotVersion = 1;

/// Writes the files of `snapshot` into the existing, empty `folder` and syncs them; the manifest
/// comes last. Tensors must be on the CPU. Errors name the file; what was written stays behind.
base::Status write_snapshot_files(const std::string& folder, const Snapshot& snapshot);

/// Reads a folder, checking every byte against the manifest before it is used. kDataLoss: a file is
/// missing, truncated or changed, or its content contradicts itself; kFailedPrecondition: a version
/// this build does not know; other codes: the file system's.
base::StatusOr<Snapshot> read_snapshot_files(const std::string& folder);

/// The step in the manifest of `folder`, without reading the rest.
base::StatusOr<std::int64_t> read_snapshot_step(const std::string& folder);

/// Everything of a snapshot but its tensors, and the inverse, which leaves the tensors out. `where`
/// stands in messages. Snapshots travel between ranks in this form, too.
nlohmann::json snapshot_to_json(const Snapshot& snapshot);
base::StatusOr<Snapshot> snapshot_from_json(const nlohmann::json& state, std::string_view where);

/// Parses JSON from disk or a peer: kDataLoss for anything malformed or nested deeper than 64.
base::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view where);

}  // namespace gamelan::train
