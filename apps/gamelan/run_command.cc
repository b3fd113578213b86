#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>

#include "base/log.h"
#include "cli/arguments.h"
#include "device/cpu.h"
#include "gamelan/commands.h"
#include "launch/agent.h"
#include "launch/options.h"
#include "launch/spawn.h"

namespace gamelan::apps {
namespace {

using launch::LaunchOptions;

/// The options as text; converted by `convert`, so that each message can name its option.
struct RunArguments {
  std::string nnodes = "1";
  int node_rank = -1;
  std::string nproc_per_node = "1";
  std::string rdzv_endpoint;
  std::string rdzv_id = "none";
  std::string rdzv_backend = "static";
  std::string rdzv_conf;
  double rdzv_timeout = 0;
  bool standalone = false;
  int max_restarts = 0;
  double monitor_interval = 0.1;
  std::string start_method;
  std::string role = "default";
  std::string master_addr;
  int master_port = 0;
  std::string local_addr;
  std::string log_dir;
  std::string redirects = "0";
  std::string tee = "0";
  std::string local_ranks_filter;
  double shutdown_timeout = 30;
  std::string signals_to_handle;
  std::string token_file;
  bool no_token = false;
  bool module = false;
  bool no_python = false;
};

void add_job_options(CLI::App& app, RunArguments& a) {
  app.add_flag("--standalone", a.standalone, "One node, nothing to agree on; a random --rdzv-id")
      ->envname("PET_STANDALONE");
  app.add_option("--nproc-per-node", a.nproc_per_node,
                 "Processes on this node: a number, cpu, gpu or auto; nodes may differ")
      ->envname("PET_NPROC_PER_NODE")
      ->capture_default_str();
  app.add_option("--nnodes", a.nnodes, "Nodes of the job; run the same command on each")
      ->envname("PET_NNODES")
      ->capture_default_str();
  app.add_option("--node-rank", a.node_rank,
                 "This node's rank; unset: 0 is the one that can listen at the endpoint")
      ->envname("PET_NODE_RANK")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--rdzv-endpoint", a.rdzv_endpoint,
                 "host:port where node 0's agent listens (default port 29400)")
      ->envname("PET_RDZV_ENDPOINT");
  app.add_option("--rdzv-id", a.rdzv_id, "Name of the job; agents with another one are refused")
      ->envname("PET_RDZV_ID")
      ->capture_default_str();
  app.add_option("--rdzv-backend", a.rdzv_backend, "Accepted: static, c10d (they mean the same)")
      ->envname("PET_RDZV_BACKEND");
  app.add_option("--rdzv-conf", a.rdzv_conf,
                 "join_timeout=600,keep_alive_interval=5,keep_alive_max_attempt=3 (seconds)")
      ->envname("PET_RDZV_CONF");
  app.add_option("--rdzv-timeout", a.rdzv_timeout, "The same as --rdzv-conf join_timeout=")
      ->envname("PET_RDZV_TIMEOUT")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-restarts", a.max_restarts,
                 "How often all workers are started again after a failure")
      ->envname("PET_MAX_RESTARTS")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--master-addr", a.master_addr,
                 "MASTER_ADDR; with several nodes and no endpoint, its host")
      ->envname("PET_MASTER_ADDR");
  app.add_option("--master-port", a.master_port,
                 "MASTER_PORT (default: a free one for each attempt); with several nodes and no "
                 "endpoint, its port")
      ->envname("PET_MASTER_PORT")
      ->check(CLI::Range(0, 65535));
  app.add_option("--local-addr", a.local_addr,
                 "On node 0: the address that other nodes and their workers reach it at")
      ->envname("PET_LOCAL_ADDR");
}

void add_worker_options(CLI::App& app, RunArguments& a) {
  app.add_option("--role", a.role, "ROLE_NAME of the workers")
      ->envname("PET_ROLE")
      ->capture_default_str();
  app.add_option("--log-dir", a.log_dir, "Folder for log files and error files")
      ->envname("PET_LOG_DIR");
  app.add_option(
         "-r,--redirects", a.redirects,
         "Streams written to files only: 0 none, 1 out, 2 err, 3 both, or 0:1,1:2 by local rank")
      ->envname("PET_REDIRECTS");
  app.add_option("-t,--tee", a.tee, "Streams written to files and to the console, with a prefix")
      ->envname("PET_TEE");
  app.add_option("--local-ranks-filter", a.local_ranks_filter,
                 "Local ranks whose output is shown, such as 0,1 (default: all)")
      ->envname("PET_LOCAL_RANKS_FILTER");
  app.add_option("--shutdown-timeout", a.shutdown_timeout,
                 "Seconds from SIGTERM to SIGKILL when workers are ended")
      ->envname("PET_SHUTDOWN_TIMEOUT")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--signals-to-handle", a.signals_to_handle,
                 "Signals that end the job (default SIGTERM,SIGINT,SIGHUP,SIGQUIT)")
      ->envname("PET_SIGNALS_TO_HANDLE");
  app.add_option("--token-file", a.token_file,
                 "File whose first line is the secret of the job (default: GAMELAN_TOKEN)")
      ->envname("PET_TOKEN_FILE");
  app.add_flag("--no-token", a.no_token, "Lets a job of several nodes run without a secret")
      ->envname("PET_NO_TOKEN");
  app.add_flag("-m,--module", a.module, "The program is a Python module")->envname("PET_MODULE");
  app.add_flag("--no-python", a.no_python, "Do not start *.py files through Python")
      ->envname("PET_NO_PYTHON");
  app.add_option(
         "--monitor-interval", a.monitor_interval,
         "Accepted and ignored: the agent is told of deaths by the kernel, it does not poll")
      ->envname("PET_MONITOR_INTERVAL");
  app.add_option("--start-method", a.start_method, "Accepted and ignored")
      ->envname("PET_START_METHOD")
      ->check(CLI::IsMember({"spawn", "fork", "forkserver"}));
}

/// `status` of an option's value, with the option's name in front.
template <class T>
base::Status assign(const char* option, base::StatusOr<T> value, T& out) {
  if (!value.ok()) {
    return base::annotate(value.status(), option);
  }
  out = *std::move(value);
  return base::OkStatus();
}

base::Status convert_streams(const RunArguments& a, LaunchOptions& options) {
  GAMELAN_RETURN_IF_ERROR(
      assign("--redirects", launch::StreamSpec::parse(a.redirects), options.redirects));
  GAMELAN_RETURN_IF_ERROR(assign("--tee", launch::StreamSpec::parse(a.tee), options.tee));
  if (!a.local_ranks_filter.empty()) {
    GAMELAN_RETURN_IF_ERROR(assign("--local-ranks-filter",
                                   launch::parse_int_list(a.local_ranks_filter, "local ranks"),
                                   options.local_ranks_filter));
  }
  return base::OkStatus();
}

base::Status convert_rendezvous(const RunArguments& a, LaunchOptions& options) {
  GAMELAN_RETURN_IF_ERROR(assign("--nnodes", launch::parse_nnodes(a.nnodes), options.nnodes));
  if (a.rdzv_backend != "static" && a.rdzv_backend != "c10d") {
    return base::invalid_argument("--rdzv-backend: expected static or c10d, got '{}'",
                                  a.rdzv_backend);
  }
  options.node_rank = a.node_rank;
  options.rdzv_endpoint = a.rdzv_endpoint;
  options.run_id = a.rdzv_id;
  options.master_addr = a.master_addr;
  options.master_port = a.master_port;
  options.local_addr = a.local_addr;
  if (a.standalone) {
    if (options.nnodes != 1) {
      return base::invalid_argument("--standalone means one node, got --nnodes {}", options.nnodes);
    }
    options.run_id = net::Token::random().secret().substr(0, 16);
  } else if (options.nnodes > 1 && options.rdzv_endpoint.empty() && !a.master_addr.empty()) {
    // torchrun's older way: the address says where the agents meet, and the workers get a port of
    // their own.
    options.rdzv_endpoint =
        fmt::format("{}:{}", a.master_addr, a.master_port == 0 ? 29500 : a.master_port);
    options.master_port = 0;
  }
  if (a.rdzv_timeout > 0) {
    options.join_timeout = std::chrono::milliseconds(static_cast<long>(a.rdzv_timeout * 1000));
  }
  return base::annotate(launch::apply_rdzv_conf(a.rdzv_conf, options), "--rdzv-conf");
}

base::Status convert_token(const RunArguments& a, LaunchOptions& options) {
  if (!a.token_file.empty()) {
    GAMELAN_RETURN_IF_ERROR(
        assign("--token-file", net::Token::from_file(a.token_file), options.token));
  } else if (const auto token = net::Token::from_environment()) {
    options.token = *token;
  }
  if (!options.token.empty()) {
    return base::OkStatus();
  }
  if (options.nnodes == 1) {
    options.token = net::Token::random();
  } else if (!a.no_token) {
    return base::invalid_argument(
        "a job of several nodes needs a secret that strangers do not know: set GAMELAN_TOKEN or "
        "--token-file on every node, or say --no-token on a network that you trust");
  }
  return base::OkStatus();
}

/// The executable and its arguments: Python for *.py and modules, programs of this installation by
/// their bare name, everything else as a shell finds it.
base::StatusOr<std::vector<std::string>> resolve(const RunArguments& a,
                                                 std::vector<std::string> command) {
  if (command.empty()) {
    return base::invalid_argument("expected a program to run");
  }
  const std::string& name = command.front();
  const bool script = name.size() > 3 && name.substr(name.size() - 3) == ".py";
  if (a.module && a.no_python) {
    return base::invalid_argument("--module and --no-python exclude each other");
  }
  if (a.module || (script && !a.no_python)) {
    const char* python = std::getenv("PYTHON_EXEC");
    std::vector<std::string> front{python != nullptr ? python : "python3", "-u"};
    if (a.module) {
      front.push_back("-m");
    }
    command.insert(command.begin(), front.begin(), front.end());
  }
  auto path = launch::find_program(command.front());
  if (!path.ok() && (name == "gamelan" || name == "gamelan-train")) {
    const std::string sibling = sibling_program(name);
    if (!sibling.empty()) {
      path = sibling;
    }
  }
  GAMELAN_RETURN_IF_ERROR(path.status());
  command.front() = *path;
  return command;
}

base::StatusOr<LaunchOptions> convert(const RunArguments& a, std::vector<std::string> command) {
  LaunchOptions options;
  options.cpus = device::usable_cpu_count();
  GAMELAN_RETURN_IF_ERROR(assign("--nproc-per-node",
                                 launch::parse_nproc(a.nproc_per_node, options.cpus),
                                 options.nproc_per_node));
  GAMELAN_RETURN_IF_ERROR(convert_rendezvous(a, options));
  GAMELAN_RETURN_IF_ERROR(convert_streams(a, options));
  GAMELAN_RETURN_IF_ERROR(convert_token(a, options));
  options.max_restarts = a.max_restarts;
  options.role = a.role;
  options.log_dir = a.log_dir;
  options.shutdown_timeout =
      std::chrono::milliseconds(static_cast<long>(a.shutdown_timeout * 1000));
  if (!a.signals_to_handle.empty()) {
    GAMELAN_RETURN_IF_ERROR(assign("--signals-to-handle",
                                   launch::parse_signals(a.signals_to_handle),
                                   options.signals_to_handle));
  }
  GAMELAN_ASSIGN_OR_RETURN(options.command, resolve(a, std::move(command)));
  GAMELAN_RETURN_IF_ERROR(launch::validate(options));
  return options;
}

}  // namespace

int run_command(const std::vector<std::string>& arguments) {
  RunArguments run_arguments;
  if (const char* seconds = std::getenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT")) {
    run_arguments.shutdown_timeout = std::max(0.0, std::strtod(seconds, nullptr));
  }
  CLI::App app("", "gamelan run");
  cli::describe(
      app, "gamelan run --standalone --nproc-per-node 2 gamelan train --help",
      "Starts a program on several processes, of one machine or many, restarts all of them when "
      "one fails, and leaves none behind. Options and environment are torchrun's; every option "
      "can be given as PET_<NAME> in the environment too.");
  std::vector<std::string> command;
  app.add_option("program", command,
                 "What to start, and its arguments: any executable, or a *.py file");
  add_job_options(app, run_arguments);
  add_worker_options(app, run_arguments);
  if (const auto code = cli::parse(app, arguments, &command)) {
    return *code;
  }
  const auto options = convert(run_arguments, std::move(command));
  if (!options.ok()) {
    return cli::usage_error(app, base::message(options.status()));
  }
  return launch::run_job(*options);
}

}  // namespace gamelan::apps
