#include "train/checkpoint/snapshot_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"
#include "train/checkpoint/snapshot_files.h"

namespace gamelan::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "snapshot-";
constexpr std::string_view kTemporary = ".tmp-";
constexpr std::string_view kDamaged = "damaged-";
constexpr const char* kJob = "training.json";

/// The step in "snapshot-120"; nullopt for any other name, "snapshot-0120" included.
std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || std::to_string(step) != name) {
    return std::nullopt;
  }
  return step;
}

base::StatusOr<std::vector<std::string>> names_in(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) {
    return base::errno_status(error.value(), "list {}", folder);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Puts folder `from` in the place of `to`, which may exist: at every moment one of the two is
/// there.
base::Status rename_over(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    return base::OkStatus();
  }
  if (errno == ENOENT) {
    return ::rename(from.c_str(), to.c_str()) == 0
               ? base::OkStatus()
               : base::errno_status(errno, "rename {} to {}", from, to);
  }
  // A file system without the exchange: step aside first.
  const std::string aside = from + ".old";
  if (::rename(to.c_str(), aside.c_str()) != 0 || ::rename(from.c_str(), to.c_str()) != 0) {
    return base::errno_status(errno, "rename {} to {}", from, to);
  }
  return base::OkStatus();
}

}  // namespace

SnapshotFolder::SnapshotFolder(std::string path, Options options)
    : path_(std::move(path)), options_(options) {}

std::string SnapshotFolder::snapshot_path(std::int64_t step) const {
  return fmt::format("{}/{}{}", path_, kPrefix, step);
}

base::Status SnapshotFolder::open(bool allow_foreign) {
  if (const base::Status made = io::make_folders(path_); !made.ok()) {
    return base::annotate(made, "output_dir cannot be created");
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(path_));
  bool ours = false;
  std::string foreign;
  for (const std::string& name : names) {
    ours = ours || name == kJob || step_of(name);
    if (!name.starts_with(kTemporary) && !name.starts_with(std::string(".") + kJob)) {
      foreign = name;
    }
  }
  if (!ours && !allow_foreign && !foreign.empty()) {
    return base::failed_precondition(
        "output_dir {}: expected an empty folder or one of a training job, got one that holds '{}' "
        "and "
        "no snapshot; name another folder or pass --overwrite-output-dir",
        path_, foreign);
  }
  GAMELAN_RETURN_IF_ERROR(io::remove_abandoned_files(path_));
  return remove_leftovers();
}

base::Status SnapshotFolder::remove_job() {
  std::error_code error;
  if (!fs::exists(path_, error)) {
    return base::OkStatus();
  }
  // The job's description goes last: a removal that is interrupted is still a job's folder.
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::int64_t> found, steps());
  for (auto step = found.rbegin(); step != found.rend(); ++step) {
    GAMELAN_RETURN_IF_ERROR(remove_folder(snapshot_path(*step)));
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(path_));
  for (const std::string& name : names) {
    if (name.starts_with(kDamaged) && step_of(name.substr(kDamaged.size()))) {
      GAMELAN_RETURN_IF_ERROR(remove_folder(path_ + "/" + name));
    }
  }
  const std::string job = path_ + "/" + kJob;
  if (::unlink(job.c_str()) != 0 && errno != ENOENT) {
    return base::errno_status(errno, "remove {}", job);
  }
  return io::sync_folder(path_);
}

base::StatusOr<std::optional<nlohmann::json>> SnapshotFolder::read_job() const {
  const std::string path = path_ + "/" + kJob;
  const base::StatusOr<io::MappedFile> file = io::MappedFile::open(path);
  if (absl::IsNotFound(file.status())) {
    return std::optional<nlohmann::json>();
  }
  GAMELAN_RETURN_IF_ERROR(file.status());
  GAMELAN_ASSIGN_OR_RETURN(nlohmann::json job, parse_json(file->text(), path));
  if (!job.is_object()) {
    return base::data_loss("{}: expected an object, got {}", path, job.type_name());
  }
  return std::optional<nlohmann::json>(std::move(job));
}

base::Status SnapshotFolder::write_job(const nlohmann::json& job) {
  return io::write_file(path_ + "/" + kJob, job.dump(1) + "\n");
}

base::Status SnapshotFolder::write(const Snapshot& snapshot) {
  GAMELAN_RETURN_IF_ERROR(remove_leftovers());
  const std::string target = snapshot_path(snapshot.progress.step);
  const std::string temporary =
      fmt::format("{}/{}{}{}", path_, kTemporary, kPrefix, snapshot.progress.step);
  base::Status written = io::make_folders(temporary);
  if (written.ok()) {
    written = write_snapshot_files(temporary, snapshot);
  }
  if (written.ok()) {
    written = io::sync_folder(temporary);
  }
  if (written.ok()) {
    written = rename_over(temporary, target);
  }
  if (!written.ok()) {
    if (const base::Status removed = remove_leftovers(); !removed.ok()) {
      base::log().warn("{}", base::message(removed));
    }
    return base::annotate(written, fmt::format("snapshot of step {}", snapshot.progress.step));
  }
  GAMELAN_RETURN_IF_ERROR(io::sync_folder(path_));
  GAMELAN_RETURN_IF_ERROR(remove_leftovers());
  return remove_oldest();
}

base::StatusOr<SnapshotFolder::Loaded> SnapshotFolder::load_newest() {
  Loaded loaded;
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::int64_t> found, steps());
  for (const std::int64_t step : found) {
    const std::string path = snapshot_path(step);
    base::StatusOr<Snapshot> snapshot = read_snapshot_files(path);
    if (snapshot.ok() && snapshot->progress.step != step) {
      snapshot = base::data_loss("{}: expected a snapshot of step {}, got one of step {}", path,
                                 step, snapshot->progress.step);
    }
    if (snapshot.ok()) {
      loaded.snapshot = *std::move(snapshot);
      loaded.path = path;
      return loaded;
    }
    if (!absl::IsDataLoss(snapshot.status())) {
      return snapshot.status();
    }
    loaded.damaged.push_back(snapshot.status());
    GAMELAN_RETURN_IF_ERROR(set_aside(path));
  }
  return loaded;
}

base::StatusOr<std::vector<std::int64_t>> SnapshotFolder::steps() const {
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(path_));
  std::vector<std::int64_t> found;
  for (const std::string& name : names) {
    if (const std::optional<std::int64_t> step = step_of(name)) {
      found.push_back(*step);
    }
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

/// Renames a damaged snapshot, so that it neither counts as one nor is lost to whoever wants to
/// look.
base::Status SnapshotFolder::set_aside(const std::string& path) {
  const std::string aside =
      fmt::format("{}/{}{}", path_, kDamaged, fs::path(path).filename().string());
  std::error_code error;
  fs::remove_all(aside, error);
  if (error) {
    return base::errno_status(error.value(), "remove {}", aside);
  }
  if (::rename(path.c_str(), aside.c_str()) != 0) {
    return base::errno_status(errno, "rename {} to {}", path, aside);
  }
  return io::sync_folder(path_);
}

base::Status SnapshotFolder::remove_oldest() {
  if (options_.keep <= 0) {
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::int64_t> found, steps());
  for (std::size_t i = static_cast<std::size_t>(options_.keep); i < found.size(); ++i) {
    GAMELAN_RETURN_IF_ERROR(remove_folder(snapshot_path(found[i])));
  }
  return base::OkStatus();
}

/// Gives the folder a temporary name first: a removal that is interrupted leaves no half snapshot.
base::Status SnapshotFolder::remove_folder(const std::string& path) {
  const std::string doomed =
      fmt::format("{}/{}old-{}", path_, kTemporary, fs::path(path).filename().string());
  std::error_code error;
  fs::remove_all(doomed, error);
  if (::rename(path.c_str(), doomed.c_str()) != 0) {
    return base::errno_status(errno, "rename {} to {}", path, doomed);
  }
  fs::remove_all(doomed, error);
  return error ? base::errno_status(error.value(), "remove {}", doomed) : base::OkStatus();
}

base::Status SnapshotFolder::remove_leftovers() {
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(path_));
  for (const std::string& name : names) {
    if (name.starts_with(kTemporary)) {
      std::error_code error;
      fs::remove_all(path_ + "/" + name, error);
      if (error) {
        return base::errno_status(error.value(), "remove {}/{}", path_, name);
      }
    }
  }
  return base::OkStatus();
}

}  // namespace gamelan::train
