#pragma once

// What ranks tell each other around snapshots. Every function is called by all ranks together; a
// null group means one process. They throw c10::Error when a peer is lost.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "train/checkpoint/snapshot.h"

namespace gamelan::dist {
class ProcessGroup;
}

namespace gamelan::train {

int rank_of(const dist::ProcessGroup* group);
int size_of(const dist::ProcessGroup* group);

/// Rank 0's text on every rank.
std::string broadcast_text(dist::ProcessGroup* group, const std::string& text);
/// Rank 0's status on every rank.
base::Status broadcast_status(dist::ProcessGroup* group, const base::Status& status);

/// The texts of all ranks in rank order on rank 0; empty elsewhere.
std::vector<std::string> gather_texts(dist::ProcessGroup* group, const std::string& text);
/// The same for rank states.
std::vector<RankState> gather_rank_states(dist::ProcessGroup* group, const RankState& state);

/// Rank 0's snapshot on every rank; what the others pass is ignored.
Snapshot broadcast_snapshot(dist::ProcessGroup* group, const Snapshot& snapshot);

/// The sum over all ranks, on every rank.
std::vector<double> sum_over_ranks(dist::ProcessGroup* group, std::vector<double> values);
/// Whether `value` is true on any rank.
bool any_rank(dist::ProcessGroup* group, bool value);

}  // namespace gamelan::train
