#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "train/checkpoint/snapshot.h"
#include "train/checkpoint/snapshot_folder.h"
#include "train/trainer/training_arguments.h"

namespace gamelan::dist {
class ProcessGroup;
}

namespace gamelan::train {

/// The output folder of a job as all ranks see it: rank 0 reads and writes, everybody learns the
/// outcome. Without an output_dir nothing is found and nothing written.
///
/// Methods are called by all ranks together and throw the same c10::Error on each. Not thread-safe.
class JobOutput {
 public:
  JobOutput(const TrainingArguments& arguments, dist::ProcessGroup* group);

  struct Opened {
    /// The job has been finished as far as the arguments ask for.
    bool finished = false;
    /// Where it stands; nullopt = at the beginning. On every rank.
    std::optional<Snapshot> snapshot;
    /// The folder of that snapshot.
    std::string path;
    /// Results of evaluations so far: {"<epoch>": {"step", "metrics"}}.
    nlohmann::json evaluations = nlohmann::json::object();
  };
  /// Begins anew with overwrite_output_dir, except in a restart of the run that already did (agents
  /// repeat the command). Reports damaged snapshots.
  Opened open();

  /// Gathers the ranks' states and lets rank 0 write `job` with them. A failure is reported and
  /// counted, or thrown, as arguments.save_failure says. Returns
  /// the folder that was written, on rank 0; empty otherwise.
  std::string save(Snapshot job, const RankState& mine);

  /// Remembers the result of an evaluation, so that a job that continues need not repeat it.
  void add_evaluation(const Progress& progress, const nlohmann::json& metrics);
  /// Marks the job as finished at that point.
  void finish(const Progress& progress);

  /// Snapshots that could not be written.
  std::int64_t failed_saves();

 private:
  base::Status open_on_root(Opened& opened);
  base::Status begin_anew();
  void write_job(const Progress& progress, bool finished);

  const TrainingArguments& arguments_;
  dist::ProcessGroup* const group_;
  const bool writes_;
  /// Of the launcher, the same in every attempt of a run; empty when started by hand.
  const std::string run_id_;
  SnapshotFolder folder_;
  nlohmann::json evaluations_ = nlohmann::json::object();
  std::int64_t failed_saves_ = 0;
};

}  // namespace gamelan::train
