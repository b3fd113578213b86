#include "launch/worker_logs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/log.h"
#include "launch/log_relay.h"

namespace gamelan::launch {
namespace {

namespace fs = std::filesystem;

base::StatusOr<std::string> make_folder(const std::string& parent, const std::string& prefix) {
  std::error_code error;
  fs::create_directories(parent, error);
  if (error) {
    return base::errno_status(error.value(), "create the log folder {}", parent);
  }
  std::string path = parent + "/" + prefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return base::errno_status(errno, "create a folder in {}", parent);
  }
  return path;
}

std::string file_name_of(std::string text) {
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

}  // namespace

WorkerLogs::WorkerLogs(const LaunchOptions& options, std::string root, bool kept)
    : options_(options), root_(std::move(root)), kept_(kept) {}

base::StatusOr<std::unique_ptr<WorkerLogs>> WorkerLogs::create(const LaunchOptions& options) {
  const bool kept = !options.log_dir.empty() || options.redirects.any() || options.tee.any();
  std::string root;
  if (!options.log_dir.empty()) {
    GAMELAN_ASSIGN_OR_RETURN(root,
                             make_folder(options.log_dir, file_name_of(options.run_id) + "_"));
  } else {
    std::error_code error;
    const fs::path parent = fs::temp_directory_path(error);
    GAMELAN_ASSIGN_OR_RETURN(root, make_folder(error ? "/tmp" : parent.string(), "gamelan_run_"));
  }
  if (kept) {
    base::log().info("log folder: {}", root);
  }
  return std::unique_ptr<WorkerLogs>(new WorkerLogs(options, std::move(root), kept));
}

WorkerLogs::~WorkerLogs() {
  if (!kept_) {
    std::error_code error;
    fs::remove_all(root_, error);
  }
}

bool WorkerLogs::on_console(int local_rank) const {
  const auto& filter = options_.local_ranks_filter;
  return filter.empty() || std::find(filter.begin(), filter.end(), local_rank) != filter.end();
}

base::StatusOr<base::Fd> WorkerLogs::open_stream(int number, const std::string& folder,
                                                 int local_rank, LogRelay* relay) const {
  const auto applies = [&](const StreamSpec& spec) {
    const Streams streams = spec.of(local_rank);
    return number == 1 ? has_out(streams) : has_err(streams);
  };
  const bool tee = applies(options_.tee);
  if (!tee && !applies(options_.redirects)) {
    if (on_console(local_rank)) {
      return base::Fd();
    }
    base::Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    return null;
  }
  const std::string path = folder + (number == 1 ? "/stdout.log" : "/stderr.log");
  base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) {
    return base::errno_status(errno, "create {}", path);
  }
  if (!tee) {
    return file;
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return base::errno_status(errno, "pipe2");
  }
  relay->add({.source = base::Fd(pipe_fds[0]),
              .file = std::move(file),
              .console_fd = on_console(local_rank) ? number : -1,
              .prefix = fmt::format("[{}{}]:", options_.role, local_rank)});
  return base::Fd(pipe_fds[1]);
}

base::StatusOr<WorkerStreams> WorkerLogs::open(int attempt, int local_rank, LogRelay* relay) const {
  WorkerStreams streams;
  streams.folder = fmt::format("{}/attempt_{}/{}", root_, attempt, local_rank);
  std::error_code error;
  fs::create_directories(streams.folder, error);
  if (error) {
    return base::errno_status(error.value(), "create the log folder {}", streams.folder);
  }
  streams.error_file = streams.folder + "/error.json";
  GAMELAN_ASSIGN_OR_RETURN(streams.out, open_stream(1, streams.folder, local_rank, relay));
  GAMELAN_ASSIGN_OR_RETURN(streams.err, open_stream(2, streams.folder, local_rank, relay));
  return streams;
}

}  // namespace gamelan::launch
