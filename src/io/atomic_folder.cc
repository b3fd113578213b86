#include "io/atomic_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>
#include <utility>

#include "io/atomic_file.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporarySuffix = ".gamelan-tmp";
/// What was moved aside, on file systems that cannot exchange two folders.
constexpr std::string_view kOldSuffix = ".gamelan-old";

fs::path hidden_name(const fs::path& target, std::string_view suffix) {
  return target.parent_path() /
         fmt::format(".{}.{}{}", target.filename().string(), static_cast<long>(::getpid()), suffix);
}

/// The absolute path without links and trailing slashes: what rename(2) must be given.
fs::path resolve(std::string_view name) {
  std::error_code error;
  fs::path path = fs::weakly_canonical(fs::absolute(fs::path(name), error), error);
  while (path.has_relative_path() && path.filename().empty()) {
    path = path.parent_path();
  }
  return path;
}

base::Status check_target(const fs::path& target, std::string_view name,
                          AtomicFolder::IfThere if_there) {
  if (name.empty() || target.filename().empty()) {
    return base::invalid_argument("write folder '{}': expected the path of a folder", name);
  }
  std::error_code error;
  const fs::file_status status = fs::status(target, error);
  if (!fs::exists(status)) {
    return base::OkStatus();
  }
  if (!fs::is_directory(status)) {
    return base::invalid_argument("write folder {}: expected a folder, found a file", name);
  }
  if (if_there == AtomicFolder::IfThere::kRefuse && !fs::is_empty(target, error)) {
    return base::failed_precondition("{}: is there already; expected a new folder (or --overwrite)",
                                     name);
  }
  return base::OkStatus();
}

/// The process in ".NAME.PID.SUFFIX"; 0 when `name` is none of these.
long writer_of(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) {
    return 0;
  }
  long pid = 0;
  const char* const end = name.data() + name.size() - suffix.size();
  const auto [stop, failure] = std::from_chars(name.data() + prefix.size(), end, pid);
  return failure == std::errc() && stop == end ? pid : 0;
}

bool is_dead(long pid) {
  return pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

}  // namespace

base::StatusOr<AtomicFolder> AtomicFolder::create(std::string_view target, IfThere if_there) {
  AtomicFolder folder;
  folder.name_ = std::string(target);
  folder.if_there_ = if_there;
  folder.target_ = resolve(target);
  folder.remove_abandoned();
  GAMELAN_RETURN_IF_ERROR(check_target(folder.target_, target, if_there));
  const fs::path parent = folder.target_.parent_path();
  std::error_code error;
  folder.made_parent_ = !fs::exists(parent, error);
  GAMELAN_RETURN_IF_ERROR(make_folders(parent.string()));
  folder.path_ = hidden_name(folder.target_, kTemporarySuffix);
  fs::remove_all(folder.path_, error);  // of a killed process that had our pid
  if (!fs::create_directory(folder.path_, error)) {
    return base::errno_status(error.value(), "write folder {}: cannot create a folder in {}",
                              target, parent.string());
  }
  return folder;
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!path_.empty()) {
    fs::remove_all(path_, ignored);
    if (made_parent_) {
      fs::remove(target_.parent_path(), ignored);  // fails when it is not empty
    }
  }
}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : target_(std::move(other.target_)),
      path_(std::exchange(other.path_, {})),
      name_(std::move(other.name_)),
      if_there_(other.if_there_),
      made_parent_(other.made_parent_) {}

void AtomicFolder::remove_abandoned() const {
  const std::string prefix = fmt::format(".{}.", target_.filename().string());
  std::error_code error;
  for (fs::directory_iterator it(target_.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (is_dead(writer_of(name, prefix, kTemporarySuffix))) {
      fs::remove_all(it->path(), ignored);
    } else if (is_dead(writer_of(name, prefix, kOldSuffix))) {
      fs::rename(it->path(), target_, ignored);  // fails when the new folder is in place
      fs::remove_all(it->path(), ignored);
    }
  }
}

base::Status AtomicFolder::replace() const {
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) {
    return base::OkStatus();  // the old one goes with the hidden name
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return base::errno_status(errno, "exchange {} for {}", name_, path_.string());
  }
  const fs::path old = hidden_name(target_, kOldSuffix);
  if (std::rename(target_.c_str(), old.c_str()) != 0) {
    return base::errno_status(errno, "rename {} to {}", name_, old.string());
  }
  if (std::rename(path_.c_str(), target_.c_str()) != 0) {
    const base::Status status = base::errno_status(errno, "rename {} to {}", path_.string(), name_);
    static_cast<void>(std::rename(old.c_str(), target_.c_str()));
    return status;
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
  return base::OkStatus();
}

base::Status AtomicFolder::publish() {
  GAMELAN_RETURN_IF_ERROR(sync_folder(path_.string()));
  std::error_code error;
  // rename(2) replaces an empty folder and refuses another one.
  if (if_there_ == IfThere::kReplace && fs::exists(target_, error) &&
      !fs::is_empty(target_, error)) {
    GAMELAN_RETURN_IF_ERROR(replace());
  } else if (std::rename(path_.c_str(), target_.c_str()) != 0) {
    return base::errno_status(errno, "rename {} to {}", path_.string(), name_);
  }
  fs::remove_all(path_, error);
  path_.clear();
  return sync_folder(target_.parent_path().string());
}

}  // namespace gamelan::io
