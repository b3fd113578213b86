#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "infer/engine/request.h"
#include "infer/model/causal_model.h"

namespace gamelan::infer {

struct EngineOptions {
  CacheOptions cache;
  /// Memory for keys and values; requests beyond it wait.
  std::size_t cache_bytes = std::size_t{1} << 30;
  /// Tokens computed in one step, prompts and continuations together: longer prompts are cut.
  int max_step_tokens = 512;
  /// Sequences that run at the same time; more wait.
  int max_sequences = 256;
  /// Keep the blocks of finished sequences, found again by the hash of what they hold, until their
  /// memory is needed.
  bool prefix_sharing = true;
};

struct EngineStatistics {
  std::uint64_t steps = 0;
  /// Tokens of prompts that were computed, and that were found in the cache instead.
  std::uint64_t prompt_tokens = 0;
  std::uint64_t shared_tokens = 0;
  std::uint64_t generated_tokens = 0;
  /// Requests whose texts lost their blocks to others and were computed again.
  std::uint64_t preemptions = 0;
  /// Speculation: proposed and accepted tokens.
  std::uint64_t proposed_tokens = 0;
  std::uint64_t accepted_tokens = 0;
  std::size_t cache_blocks = 0;
  std::size_t free_blocks = 0;
  std::size_t waiting_requests = 0;
  std::size_t running_sequences = 0;
};

/// Runs many requests through one model: they join and leave between steps, every step computes
/// just the tokens that are due (continuous batching, Yu et al. 2022), keys and values lie in
/// blocks (paged attention, Kwon et al. 2023). One thread owns the engine and calls everything; a
/// server puts its own queue in front.
class Engine {
 public:
  /// `model` and `draft` (null = none; for speculative decoding, with the same vocabulary) must
  /// outlive the engine. Makes their caches.
  static base::StatusOr<std::unique_ptr<Engine>> create(CausalModel& model,
                                                        const EngineOptions& options,
                                                        CausalModel* draft = nullptr);
  virtual ~Engine() = default;

  /// Queues a request. kInvalidArgument names the field: an empty prompt, a token out of range, a
  /// text longer than the model takes, more blocks than there are, options that exclude each other.
  virtual base::StatusOr<RequestId> submit(Request request) = 0;
  /// Ends a request; its last event says kCancelled. kNotFound when it is not there (any more).
  virtual base::Status cancel(RequestId id) = 0;
  /// Computes one step and returns what happened, in the order of the requests. Fails only when the
  /// model does: then everything is over.
  virtual base::StatusOr<std::vector<Event>> step() = 0;
  /// Whether step() has anything to do.
  virtual bool idle() const = 0;
  virtual EngineStatistics statistics() const = 0;
};

}  // namespace gamelan::infer
