#pragma once

// What a training job is at one moment: everything needed to go on as if it had never stopped. On
// disk it is a folder, see docs/formats/snapshot.md and snapshot_folder.h.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/optim/optimizer_state.h"

namespace torch::nn {
class Module;
}

namespace gamelan::train {

/// Where a job stands. The next micro-batch to compute is number `position` of epoch `epoch`.
struct Progress {
  std::int64_t epoch = 0;     ///< epochs completed, evaluation included
  std::int64_t step = 0;      ///< optimizer steps taken since the job began
  std::int64_t position = 0;  ///< micro-batches of the epoch under way that each rank has consumed
  std::int64_t samples = 0;   ///< samples of that epoch consumed by all ranks together

  bool operator==(const Progress&) const = default;
};

/// What differs from rank to rank.
struct RankState {
  at::Tensor rng;          ///< u8 [n]: the state of LibTorch's default CPU generator
  nlohmann::json extra{};  ///< the sampler's state, running sums; whatever a rank wants back
};

/// A job at a moment. Copying shares the tensors; `copy_snapshot` does not. Not thread-safe.
struct Snapshot {
  Progress progress;
  std::map<std::string, at::Tensor> model;  ///< parameters and persistent buffers by name
  OptimizerState optimizer;
  nlohmann::json scheduler = nlohmann::json::object();
  std::vector<RankState> ranks;  ///< one a rank, in rank order
  nlohmann::json extra =
      nlohmann::json::object();  ///< of the job as a whole; anything that is JSON
};

/// The parameters and buffers of `module` by name, detached: they share the module's memory.
std::map<std::string, at::Tensor> model_state(const torch::nn::Module& module);

/// Copies `state` into the parameters and buffers of `module`. Throws c10::Error, before anything
/// is changed, when a name is missing on either side or a shape or an element type differs; the
/// message names the tensor, what was expected and what came.
void load_model_state(torch::nn::Module& module, const std::map<std::string, at::Tensor>& state);

/// A snapshot that shares no memory with `snapshot`: it stays as it is while training goes on.
Snapshot copy_snapshot(const Snapshot& snapshot);

/// The state of LibTorch's default CPU generator, u8 [n], and its inverse, which throws c10::Error
/// when `state` is not one.
at::Tensor rng_state();
void set_rng_state(const at::Tensor& state);

}  // namespace gamelan::train
