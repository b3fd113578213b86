#include "io/ft_writer.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "io/atomic_file.h"
#include "io/atomic_folder.h"
#include "io/ft_config.h"
#include "io/ft_layout.h"
#include "io/ft_tensor_writer.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHead = "lm_head.weight";

struct Task {
  FtTensor tensor;
  WeightView view;
};

struct Plan {
  FtConfig config;
  FtGeometry geometry;
  /// Each is taken by one worker at a time.
  std::vector<std::vector<Task>> units;
};

/// A BloomForCausalLM's tensors have a prefix that a BloomModel's have not.
base::StatusOr<WeightView> find_tensor(const Weights& weights, const FtTensor& tensor) {
  const std::string prefixed = "transformer." + tensor.name;
  return weights.get(weights.find(tensor.name) != nullptr ? tensor.name : prefixed, tensor.source);
}

base::Status check_split(const FtTensor& tensor, const FtGeometry& geometry) {
  if (tensor.split != FtSplit::kNone && geometry.heads % geometry.ranks != 0) {
    return base::invalid_argument(
        "tensor '{}' {}: its {} heads cannot be split evenly into {} parts (tensor_para_size)",
        tensor.name, tensor::to_string(tensor.source), geometry.heads, geometry.ranks);
  }
  return base::OkStatus();
}

base::StatusOr<Plan> make_plan(const ModelConfig& model, const Weights& weights,
                               const FtWriterOptions& options) {
  if (options.tensor_para_size < 1 || options.workers < 1) {
    return base::invalid_argument("tensor_para_size and processes: expected 1 or more, got {}, {}",
                                  options.tensor_para_size, options.workers);
  }
  if (options.weight_type != tensor::DType::kF32 && options.weight_type != tensor::DType::kF16) {
    return base::invalid_argument("weight type: expected f32 or f16, got {}",
                                  tensor::name_of(options.weight_type));
  }
  Plan plan;
  GAMELAN_ASSIGN_OR_RETURN(plan.config, to_ft_config(model));
  plan.config.model_name = options.model_name;
  plan.config.tensor_para_size = options.tensor_para_size;
  plan.config.weight_type = options.weight_type;
  plan.config.head_by_vocab = weights.find(kHead) != nullptr;
  plan.geometry = {plan.config.num_heads, plan.config.size_per_head, options.tensor_para_size};
  std::map<std::string_view, std::size_t> shards;
  for (FtTensor& tensor : ft_tensors(plan.config, plan.config.head_by_vocab)) {
    GAMELAN_ASSIGN_OR_RETURN(const WeightView view, find_tensor(weights, tensor));
    GAMELAN_RETURN_IF_ERROR(check_split(tensor, plan.geometry));
    std::size_t unit = plan.units.size();
    if (options.by_shard) {
      unit = shards.try_emplace(view.file, unit).first->second;
    }
    plan.units.resize(std::max(plan.units.size(), unit + 1));
    plan.units[unit].push_back({std::move(tensor), view});
  }
  return plan;
}

/// The workers: each takes the next unit until there is none or one of them has failed.
class Conversion {
 public:
  Conversion(const Plan& plan, const FtWriterOptions& options, fs::path folder, fs::path target)
      : plan_(plan), options_(options), folder_(std::move(folder)), target_(std::move(target)) {}

  base::Status run() {
    std::vector<std::thread> threads;
    const std::size_t count =
        std::min(static_cast<std::size_t>(options_.workers), plan_.units.size());
    for (std::size_t i = 1; i < count; ++i) {
      threads.emplace_back([this] { work(); });
    }
    work();
    for (std::thread& thread : threads) {
      thread.join();
    }
    return status_;
  }

 private:
  void work() {
    for (;;) {
      const std::size_t unit = next_.fetch_add(1);
      if (unit >= plan_.units.size() || failed_.load()) {
        return;
      }
      for (const Task& task : plan_.units[unit]) {
        if (const base::Status status = write(task); !status.ok()) {
          const std::lock_guard lock(mutex_);
          status_.Update(status);  // keeps the first
          failed_.store(true);
          return;
        }
      }
    }
  }

  base::Status write(const Task& task) const {
    const bool split = task.tensor.split != FtSplit::kNone;
    const tensor::Shape shape = ft_file_shape(task.tensor, plan_.geometry);
    for (std::int64_t rank = 0; rank < (split ? plan_.geometry.ranks : 1); ++rank) {
      const std::string name = ft_file_name(task.tensor, rank);
      GAMELAN_RETURN_IF_ERROR(write_ft_file(task.tensor, plan_.geometry, task.view, rank,
                                            options_.weight_type, (folder_ / name).string()));
      if (options_.on_saved) {
        const std::string path = (target_ / name).string();
        options_.on_saved({task.tensor.stem, shape, path, split, rank});
      }
    }
    return base::OkStatus();
  }

  const Plan& plan_;
  const FtWriterOptions& options_;
  const fs::path folder_;
  const fs::path target_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  base::Status status_;  // under mutex_ until the workers have ended
};

}  // namespace

base::Status write_faster_transformer(const ModelConfig& model, const Weights& weights,
                                      std::string_view output, const FtWriterOptions& options) {
  GAMELAN_ASSIGN_OR_RETURN(const Plan plan, make_plan(model, weights, options));
  const fs::path target = fs::path(output) / fmt::format("{}-gpu", options.tensor_para_size);
  const auto if_there =
      options.overwrite ? AtomicFolder::IfThere::kReplace : AtomicFolder::IfThere::kRefuse;
  GAMELAN_RETURN_IF_ERROR(check_not_source(weights, target.string()));
  GAMELAN_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(target.string(), if_there));
  GAMELAN_RETURN_IF_ERROR(
      write_file((folder.path() / "config.ini").string(), format_ft_config(plan.config)));
  GAMELAN_RETURN_IF_ERROR(Conversion(plan, options, folder.path(), target).run());
  return folder.publish();
}

std::int64_t count_ft_tensors(const ModelConfig& model, const Weights& weights) {
  return 5 + 12 * model.num_layers + (weights.find(kHead) != nullptr ? 1 : 0);
}

}  // namespace gamelan::io
