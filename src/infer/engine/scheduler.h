#pragma once

#include <cstdint>
#include <vector>

#include "infer/cache/block_pool.h"
#include "infer/engine/engine.h"
#include "infer/engine/sequence.h"
#include "infer/model/step_plan.h"

namespace gamelan::infer {

/// Decides what a step computes, first come first served: the continuations of running requests,
/// then the rest of their prompts, then prompts of waiting requests, within the budget of tokens,
/// sequences and blocks. A waiting request begins when the blocks for all it has so far are there,
/// and one more for each running sequence. When blocks run out nevertheless, the youngest running
/// request gives its own back and waits again; so the oldest always advances. One thread.
class Scheduler {
 public:
  Scheduler(const EngineOptions& options, std::int64_t blocks);

  /// The request waits from now on. `state` stays the caller's and must be removed before it goes.
  void add(RequestState& state);
  /// Forgets the request and gives its blocks back.
  void remove(RequestState& state);

  /// Fills the sequences' `scheduled` and `logits`, then `plan`. `proposals` of sequences that were
  /// set before are taken when they fit, or shortened.
  void plan(StepPlan& plan);

  /// The running requests in order of age; those of the plan among them.
  const std::vector<RequestState*>& running() const { return running_; }
  bool empty() const { return running_.empty() && waiting_.empty(); }
  std::size_t waiting() const { return waiting_.size(); }
  BlockPool& pool() { return pool_; }
  const BlockPool& pool() const { return pool_; }
  std::uint64_t preemptions() const { return preemptions_; }
  std::uint64_t shared_tokens() const { return shared_tokens_; }

 private:
  void plan_continuations();
  void plan_proposals();
  void plan_lockstep(RequestState& state);
  void plan_prompts();
  void plan_prompt(RequestState& state, Sequence& sequence);
  void admit();
  bool begin(RequestState& state);
  std::int64_t missing_blocks(const RequestState& state) const;
  bool must_wait(RequestState& state);
  bool reserve(RequestState& state, Sequence& sequence, std::int64_t end);
  std::optional<std::int32_t> allocate(RequestState& state);
  void preempt(RequestState& state);
  void write(StepPlan& plan);

  EngineOptions options_;
  BlockPool pool_;
  std::vector<RequestState*> running_;  // by id
  std::vector<RequestState*> waiting_;  // by id
  std::vector<RequestState*> order_;    // those that ran before a loop that may change running_
  std::vector<BlockCopy> copies_;
  std::int64_t budget_ = 0;
  std::int64_t promised_blocks_ = 0;  // to running sequences, for admit()
  bool preempted_ = false;            // in this step: then nobody is admitted
  std::uint64_t preemptions_ = 0;
  std::uint64_t shared_tokens_ = 0;
};

}  // namespace gamelan::infer
