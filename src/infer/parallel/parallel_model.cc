#include "infer/parallel/parallel_model.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "dist/collective/process_group.h"
#include "infer/parallel/partition.h"
#include "infer/parallel/plan_codec.h"

namespace gamelan::infer {
namespace {

// A command and its payload go in one broadcast when they fit into this: the plans of some 200
// sequences that decode. What is beyond goes in a second one.
constexpr std::size_t kMessageBytes = 8192;
// How long a rank waits for the next command: as long as rank 0 lives.
constexpr std::chrono::hours kPatience{24 * 365};

enum class Verb : std::uint32_t { kStop, kCreateCache, kStep };

/// Whether `mine` is OK on every rank; then OK, else this rank's error or one that says whose it
/// is.
base::Status agree(dist::ProcessGroup& group, const base::Status& mine, std::string_view what) {
  std::int64_t failed = mine.ok() ? group.size() : group.rank();
  dist::ReduceOptions options;
  options.op = dist::ReduceOp::kMin;
  GAMELAN_RETURN_IF_ERROR(group.all_reduce(tensor::view_of(&failed, 1), options).wait());
  if (failed == group.size() || !mine.ok()) {
    return mine;
  }
  return base::aborted("{} failed on rank {}, which says why", what, failed);
}

}  // namespace

struct ParallelModel::Command {
  Verb verb = Verb::kStop;
  std::uint32_t cache_dtype = 0;
  std::int64_t block_tokens = 0;
  std::int64_t step_tokens = 0;
  std::int64_t step_logits = 0;
  std::int64_t blocks = 0;
  std::uint64_t payload_bytes = 0;
};

ParallelModel::ParallelModel(std::unique_ptr<ModelPart> part, const ParallelOptions& parallel)
    : part_(std::move(part)), group_(parallel.group), message_(kMessageBytes) {
  for (int rank = 0; rank < group_->size(); ++rank) {
    const auto partition =
        partition_of(part_->config(), parallel.tensor_size, parallel.pipeline_size, rank);
    GAMELAN_CHECK(partition.ok(), "the part was loaded: {}", base::message(partition.status()));
    most_layers_ = std::max(most_layers_, partition->layers.count);
    layers_ = rank == group_->rank() ? partition->layers.count : layers_;
  }
}

ParallelModel::~ParallelModel() {
  if (leads() && failure_.ok()) {
    if (const base::Status status = lead({.verb = Verb::kStop}, {}); !status.ok()) {
      base::log().warn("the other ranks of the model: {}", base::message(status));
    }
  }
}

bool ParallelModel::leads() const {
  return group_->rank() == 0;
}

std::size_t ParallelModel::cache_block_bytes(const CacheOptions& options) const {
  return part_->cache_block_bytes(options) / static_cast<std::size_t>(layers_) *
         static_cast<std::size_t>(most_layers_);
}

base::Status ParallelModel::lead(const Command& command, std::span<const std::byte> payload) {
  GAMELAN_RETURN_IF_ERROR(failure_);
  Command sized = command;
  sized.payload_bytes = payload.size();
  const std::size_t inline_bytes = std::min(payload.size(), kMessageBytes - sizeof(Command));
  std::memcpy(message_.data(), &sized, sizeof(sized));
  std::copy_n(payload.begin(), inline_bytes, message_.begin() + sizeof(sized));
  failure_ = group_
                 ->broadcast({message_.data(), message_.size(), tensor::DType::kU8, {}},
                             {{.timeout = kPatience}, 0})
                 .wait();
  if (failure_.ok() && inline_bytes < payload.size()) {
    // Broadcast takes what it may write to, although rank 0 only reads.
    auto* const rest = const_cast<std::byte*>(payload.data() + inline_bytes);
    failure_ =
        group_->broadcast({rest, payload.size() - inline_bytes, tensor::DType::kU8, {}}).wait();
  }
  return failure_;
}

base::Status ParallelModel::follow(Command& command) {
  GAMELAN_RETURN_IF_ERROR(
      group_
          ->broadcast({message_.data(), message_.size(), tensor::DType::kU8, {}},
                      {{.timeout = kPatience}, 0})
          .wait());
  std::memcpy(&command, message_.data(), sizeof(command));
  payload_.resize(command.payload_bytes);
  const std::size_t inline_bytes = std::min(payload_.size(), kMessageBytes - sizeof(Command));
  std::copy_n(message_.begin() + sizeof(command), inline_bytes, payload_.begin());
  if (inline_bytes == payload_.size()) {
    return base::OkStatus();
  }
  return group_
      ->broadcast(
          {payload_.data() + inline_bytes, payload_.size() - inline_bytes, tensor::DType::kU8, {}})
      .wait();
}

base::Status ParallelModel::create_part(const CacheOptions& options, std::int64_t blocks) {
  return agree(*group_, part_->create_cache(options, blocks), "making the cache");
}

base::Status ParallelModel::create_cache(const CacheOptions& options, std::int64_t blocks) {
  GAMELAN_CHECK(leads(), "rank 0 makes the cache");
  GAMELAN_RETURN_IF_ERROR(lead({.verb = Verb::kCreateCache,
                                .cache_dtype = static_cast<std::uint32_t>(options.dtype),
                                .block_tokens = options.block_tokens,
                                .step_tokens = options.step_tokens,
                                .step_logits = options.step_logits,
                                .blocks = blocks},
                               {}));
  return create_part(options, blocks);
}

base::Status ParallelModel::forward(const StepPlan& plan, tensor::MatrixView<float> logits) {
  GAMELAN_CHECK(leads(), "rank 0 runs the steps");
  GAMELAN_RETURN_IF_ERROR(part_->check(plan));
  encode_plan(plan, payload_);
  GAMELAN_RETURN_IF_ERROR(lead({.verb = Verb::kStep}, payload_));
  failure_ = part_->forward(plan, logits);
  return failure_;
}

base::Status ParallelModel::serve_steps() {
  GAMELAN_CHECK(!leads(), "rank 0 runs the steps");
  for (;;) {
    Command command;
    GAMELAN_RETURN_IF_ERROR(follow(command));
    switch (command.verb) {
      case Verb::kStop:
        return base::OkStatus();
      case Verb::kCreateCache:
        // Rank 0 knows of a failure and says what becomes of it, but not the reason.
        if (const base::Status status =
                create_part({static_cast<tensor::DType>(command.cache_dtype), command.block_tokens,
                             command.step_tokens, command.step_logits},
                            command.blocks);
            !status.ok()) {
          base::log().error("making the cache: {}", base::message(status));
        }
        break;
      case Verb::kStep:
        GAMELAN_RETURN_IF_ERROR(decode_plan(payload_, plan_));
        GAMELAN_RETURN_IF_ERROR(part_->forward(plan_, {}));
        break;
    }
  }
}

base::StatusOr<std::unique_ptr<ParallelModel>> load_parallel_model(std::string_view path,
                                                                   const kernels::Context& context,
                                                                   const LoadOptions& options) {
  const ParallelOptions& parallel = options.parallel;
  GAMELAN_CHECK(parallel.group != nullptr, "a parallel model has a group");
  base::StatusOr<std::unique_ptr<ModelPart>> part = load_model_part(path, context, options);
  GAMELAN_RETURN_IF_ERROR(agree(*parallel.group, part.status(), "loading the model"));
  return std::make_unique<ParallelModel>(*std::move(part), parallel);
}

}  // namespace gamelan::infer
