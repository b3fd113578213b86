#include "train/trainer/job_output.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "train/checkpoint/exchange.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "gamelan-training";
constexpr int kVersion = 1;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::int64_t integer(const json& object, const char* name) {
  const json value = object.value(name, json());
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

/// Whether a job that was marked as finished has done all that `arguments` ask for.
bool covers(const json& job, const TrainingArguments& arguments) {
  const json finished = job.value("finished", json());
  if (!finished.is_boolean() || !finished.get<bool>()) {
    return false;
  }
  return arguments.max_steps > 0 ? integer(job, "step") >= arguments.max_steps
                                 : integer(job, "epoch") >= arguments.num_train_epochs;
}

}  // namespace

JobOutput::JobOutput(const TrainingArguments& arguments, dist::ProcessGroup* group)
    : arguments_(arguments),
      group_(group),
      writes_(!arguments.output_dir.empty() && rank_of(group) == 0),
      run_id_(environment("TORCHELASTIC_RUN_ID")),
      folder_(arguments.output_dir, {arguments.save_total_limit}) {}

JobOutput::Opened JobOutput::open() {
  Opened opened;
  throw_if_error(broadcast_status(group_, writes_ ? open_on_root(opened) : base::OkStatus()));
  json summary = {{"finished", opened.finished},
                  {"continues", opened.snapshot.has_value()},
                  {"path", opened.path},
                  {"evaluations", opened.evaluations}};
  summary = json::parse(broadcast_text(group_, summary.dump()));
  opened.finished = summary.at("finished").get<bool>();
  opened.path = summary.at("path").get<std::string>();
  opened.evaluations = summary.at("evaluations");
  if (summary.at("continues").get<bool>()) {
    opened.snapshot =
        broadcast_snapshot(group_, opened.snapshot ? *std::move(opened.snapshot) : Snapshot());
  }
  evaluations_ = opened.evaluations;
  return opened;
}

base::Status JobOutput::begin_anew() {
  const base::StatusOr<std::optional<json>> job = folder_.read_job();
  const bool restarted = std::atoll(environment("TORCHELASTIC_RESTART_COUNT").c_str()) > 0;
  const bool same_run = restarted && !run_id_.empty() && job.ok() && job->has_value() &&
                        (*job)->value("run_id", json()) == run_id_;
  return same_run ? base::OkStatus() : folder_.remove_job();
}

base::Status JobOutput::open_on_root(Opened& opened) {
  if (arguments_.overwrite_output_dir) {
    GAMELAN_RETURN_IF_ERROR(begin_anew());
  }
  GAMELAN_RETURN_IF_ERROR(folder_.open(arguments_.overwrite_output_dir));
  base::StatusOr<std::optional<json>> job = folder_.read_job();
  if (!job.ok()) {
    base::log().warn("{}; going by the snapshots alone", base::message(job.status()));
  } else if (job->has_value()) {
    const json evaluations = (*job)->value("evaluations", json());
    if (evaluations.is_object()) {
      opened.evaluations = evaluations;
    }
    if (covers(**job, arguments_)) {
      opened.finished = true;
      return base::OkStatus();
    }
  }
  GAMELAN_ASSIGN_OR_RETURN(SnapshotFolder::Loaded loaded, folder_.load_newest());
  for (const base::Status& damaged : loaded.damaged) {
    base::log().warn("damaged snapshot set aside: {}", base::message(damaged));
  }
  if (!loaded.snapshot) {
    opened.evaluations = json::object();
    const json begun = {{"format", kFormat}, {"version", kVersion}, {"run_id", run_id_},
                        {"finished", false}, {"epoch", 0},          {"step", 0}};
    return base::annotate(folder_.write_job(begun), "output_dir cannot be written");
  }
  opened.snapshot = std::move(loaded.snapshot);
  opened.path = std::move(loaded.path);
  return base::OkStatus();
}

std::string JobOutput::save(Snapshot job, const RankState& mine) {
  if (arguments_.output_dir.empty()) {
    return "";
  }
  job.ranks = gather_rank_states(group_, mine);
  const base::Status written = writes_ ? folder_.write(job) : base::OkStatus();
  if (!written.ok()) {
    ++failed_saves_;
    base::log().error(
        "{}; earlier snapshots are untouched{}", base::message(written),
        arguments_.save_failure == SaveFailure::kContinue ? ", training goes on" : "");
  }
  if (arguments_.save_failure == SaveFailure::kStop) {
    throw_if_error(broadcast_status(group_, written));
  }
  return writes_ && written.ok() ? folder_.snapshot_path(job.progress.step) : "";
}

void JobOutput::add_evaluation(const Progress& progress, const json& metrics) {
  evaluations_[std::to_string(progress.epoch)] = {{"step", progress.step}, {"metrics", metrics}};
  write_job(progress, false);
}

void JobOutput::finish(const Progress& progress) {
  write_job(progress, true);
}

void JobOutput::write_job(const Progress& progress, bool finished) {
  if (!writes_) {
    return;
  }
  const json job = {{"format", kFormat},          {"version", kVersion},
                    {"run_id", run_id_},          {"finished", finished},
                    {"epoch", progress.epoch},    {"step", progress.step},
                    {"evaluations", evaluations_}};
  if (const base::Status written = folder_.write_job(job); !written.ok()) {
    base::log().error("{}", base::message(written));
  }
}

std::int64_t JobOutput::failed_saves() {
  return static_cast<std::int64_t>(
      sum_over_ranks(group_, {static_cast<double>(failed_saves_)}).front());
}

}  // namespace gamelan::train
