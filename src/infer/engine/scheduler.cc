#include "infer/engine/scheduler.h"

#include <algorithm>

#include "base/status.h"

namespace gamelan::infer {
namespace {

void insert_by_id(std::vector<RequestState*>& list, RequestState* state) {
  list.insert(std::ranges::upper_bound(list, state->id, {}, &RequestState::id), state);
}

std::int64_t common_tokens(const Sequence& a, const Sequence& b) {
  const auto end = std::ranges::mismatch(a.tokens, b.tokens);
  return end.in1 - a.tokens.begin();
}

/// The first text that still grows.
Sequence& first_live(const RequestState& state) {
  const auto found = std::ranges::find_if(state.sequences, [](const auto& s) { return s->live(); });
  GAMELAN_CHECK(found != state.sequences.end(), "request {} has a text that grows", state.id);
  return **found;
}

bool earlier_are_computed(const RequestState& state, const Sequence& sequence) {
  for (const auto& earlier : state.sequences) {
    if (earlier.get() == &sequence) {
      break;
    }
    if (earlier->live() && earlier->pending() > 1) {
      return false;
    }
  }
  return true;
}

}  // namespace

Scheduler::Scheduler(const EngineOptions& options, std::int64_t blocks)
    : options_(options), pool_(blocks, options.cache.block_tokens) {}

void Scheduler::add(RequestState& state) {
  state.running = false;
  insert_by_id(waiting_, &state);
}

void Scheduler::remove(RequestState& state) {
  for (const auto& sequence : state.sequences) {
    drop_blocks(*sequence, pool_);
  }
  std::erase(state.running ? running_ : waiting_, &state);
}

void Scheduler::preempt(RequestState& state) {
  remove(state);
  state.waits_for = 0;
  add(state);
  ++preemptions_;
  preempted_ = true;
}

/// A block for `state`, if need be taken from the youngest; nullopt when that is `state` itself,
/// which then has lost all of its own, and when `state` does not run yet.
std::optional<std::int32_t> Scheduler::allocate(RequestState& state) {
  for (;;) {
    if (const auto block = pool_.allocate()) {
      return block;
    }
    if (!state.running) {
      return std::nullopt;
    }
    RequestState* const youngest = running_.back();
    preempt(*youngest);
    if (youngest == &state) {
      return std::nullopt;
    }
  }
}

/// Makes the blocks for positions computed … end - 1 exist and belong to `sequence` alone.
bool Scheduler::reserve(RequestState& state, Sequence& sequence, std::int64_t end) {
  const auto first = static_cast<std::size_t>(sequence.computed / pool_.block_tokens());
  for (std::size_t i = first; i < sequence.blocks.size(); ++i) {
    const std::int32_t from = sequence.blocks[i];
    if (pool_.users(from) == 1) {
      continue;
    }
    const auto to = allocate(state);
    if (!to) {
      return false;
    }
    copies_.push_back({from, *to});
    pool_.release(from);
    sequence.blocks[i] = *to;
  }
  while (static_cast<std::int64_t>(sequence.blocks.size()) * pool_.block_tokens() < end) {
    const auto block = allocate(state);
    if (!block) {
      return false;
    }
    sequence.blocks.push_back(*block);
  }
  return true;
}

/// Beams: all of them, or none in this step.
void Scheduler::plan_lockstep(RequestState& state) {
  if (budget_ < static_cast<std::int64_t>(state.sequences.size()) ||
      std::ranges::any_of(state.sequences, [](const auto& s) { return s->pending() != 1; })) {
    return;
  }
  for (const auto& sequence : state.sequences) {
    if (!reserve(state, *sequence, sequence->length())) {
      return;
    }
    sequence->scheduled = sequence->logits = 1;
    --budget_;
  }
}

void Scheduler::plan_continuations() {
  order_.assign(running_.begin(), running_.end());  // preemption changes the list
  for (RequestState* state : order_) {
    if (state->running && state->lockstep()) {
      plan_lockstep(*state);
      continue;
    }
    for (const auto& sequence : state->sequences) {
      if (!state->running || budget_ == 0) {
        break;
      }
      if (sequence->live() && sequence->pending() == 1 &&
          reserve(*state, *sequence, sequence->length())) {
        sequence->scheduled = sequence->logits = 1;
        --budget_;
      }
    }
  }
}

/// Proposals take what continuations left, half of it while prompts wait, and never a block from
/// anybody.
void Scheduler::plan_proposals() {
  const bool prompts_wait = !waiting_.empty() || std::ranges::any_of(running_, [](const auto* s) {
    return std::ranges::any_of(s->sequences,
                               [](const auto& t) { return t->live() && t->pending() > 1; });
  });
  const std::int64_t kept = prompts_wait ? budget_ / 2 : 0;
  for (RequestState* state : running_) {
    for (const auto& sequence : state->sequences) {
      if (sequence->proposals.empty()) {
        continue;
      }
      const std::int64_t slots =
          (static_cast<std::int64_t>(sequence->blocks.size()) + pool_.free_blocks()) *
              pool_.block_tokens() -
          sequence->length();
      std::int64_t count =
          std::min({budget_ - kept, static_cast<std::int64_t>(sequence->proposals.size()), slots});
      if (sequence->scheduled != 1 || count <= 0 ||
          !reserve(*state, *sequence, sequence->length() + count)) {
        count = 0;
      }
      sequence->proposals.resize(static_cast<std::size_t>(count));
      sequence->scheduled += static_cast<std::int32_t>(count);
      sequence->logits += static_cast<std::int32_t>(count);
      budget_ -= count;
    }
  }
}

void Scheduler::plan_prompt(RequestState& state, Sequence& sequence) {
  const std::int64_t last = state.lockstep() ? sequence.length() - 1 : sequence.length();
  const std::int64_t end = std::min(last, sequence.computed + budget_);
  if (!sequence.live() || sequence.scheduled > 0 || end <= sequence.computed ||
      !reserve(state, sequence, end)) {
    return;
  }
  sequence.scheduled = static_cast<std::int32_t>(end - sequence.computed);
  sequence.logits = end == sequence.length() ? 1 : 0;
  budget_ -= sequence.scheduled;
}

void Scheduler::plan_prompts() {
  order_.assign(running_.begin(), running_.end());
  for (RequestState* state : order_) {
    for (const auto& sequence : state->sequences) {
      if (!state->running || budget_ == 0) {
        break;
      }
      if (!sequence->live() || sequence->scheduled > 0) {
        continue;
      }
      if (options_.prefix_sharing && sequence->blocks.empty()) {
        // One of several texts that lost their blocks: what it has in common with those before it
        // is found once that has been computed.
        if (!earlier_are_computed(*state, *sequence)) {
          break;
        }
        shared_tokens_ += static_cast<std::uint64_t>(adopt_blocks(*sequence, pool_));
      }
      plan_prompt(*state, *sequence);
    }
  }
}

/// Whether somebody is computing the beginning of this prompt just now: it is found afterwards.
bool Scheduler::must_wait(RequestState& state) {
  const Sequence& mine = first_live(state);
  for (const RequestState* other : running_) {
    for (const auto& sequence : other->sequences) {
      if (sequence->pending() <= 1 || !sequence->live()) {
        continue;
      }
      if (state.waits_for == other->id && sequence->computed < state.waits_until) {
        return true;
      }
      const std::int64_t common = std::min(common_tokens(mine, *sequence), mine.length() - 1) /
                                  pool_.block_tokens() * pool_.block_tokens();
      if (common > sequence->computed) {
        state.waits_for = other->id;
        state.waits_until = common;
        return true;
      }
    }
  }
  state.waits_for = 0;
  return false;
}

/// Blocks that what the request has so far still lacks.
std::int64_t Scheduler::missing_blocks(const RequestState& state) const {
  const std::int64_t size = pool_.block_tokens();
  std::int64_t missing = 0;
  bool is_first = true;
  for (const auto& sequence : state.sequences) {
    if (!sequence->live()) {
      continue;
    }
    // Later texts find the prompt's full blocks.
    const std::int64_t shared = is_first || !options_.prefix_sharing || !sequence->blocks.empty()
                                    ? static_cast<std::int64_t>(sequence->blocks.size())
                                    : sequence->prompt_tokens / size;
    missing += std::max<std::int64_t>((sequence->length() + size - 1) / size - shared, 0);
    is_first = false;
  }
  return missing;
}

/// Lets a waiting request run, when its blocks are there.
bool Scheduler::begin(RequestState& state) {
  Sequence& first = first_live(state);
  const std::int64_t shared = options_.prefix_sharing ? adopt_blocks(first, pool_) : 0;
  const std::int64_t missing = missing_blocks(state);
  const bool fits = running_.empty() || missing + promised_blocks_ <= pool_.free_blocks();
  if (fits) {
    plan_prompt(state, first);
  }
  const bool is_ready = state.lockstep() && first.pending() == 1;  // waits for its other beams
  if (!fits || (first.scheduled == 0 && !is_ready)) {
    drop_blocks(first, pool_);
    return false;
  }
  promised_blocks_ += missing_blocks(state) + state.width();
  shared_tokens_ += static_cast<std::uint64_t>(shared);
  state.running = true;
  insert_by_id(running_, &state);
  return true;
}

void Scheduler::admit() {
  int sequences = 0;
  promised_blocks_ = 0;
  for (const RequestState* state : running_) {
    sequences += state->width();
    promised_blocks_ += missing_blocks(*state) + state->width();
  }
  for (RequestState* state : waiting_) {
    if (budget_ <= 0 || sequences + state->width() > options_.max_sequences) {
      break;
    }
    if (options_.prefix_sharing && must_wait(*state)) {
      continue;
    }
    if (!begin(*state)) {
      break;
    }
    sequences += state->width();
  }
  std::erase_if(waiting_, [](const RequestState* state) { return state->running; });
}

void Scheduler::write(StepPlan& plan) {
  plan.tokens.clear();
  plan.sequences.clear();
  plan.blocks.clear();
  plan.copies.assign(copies_.begin(), copies_.end());
  std::int64_t row = 0;
  for (RequestState* state : running_) {
    for (const auto& sequence : state->sequences) {
      if (sequence->scheduled == 0) {
        continue;
      }
      const std::int64_t own =
          sequence->scheduled - static_cast<std::int64_t>(sequence->proposals.size());
      const auto begin = sequence->tokens.begin() + sequence->computed;
      plan.tokens.insert(plan.tokens.end(), begin, begin + own);
      plan.tokens.insert(plan.tokens.end(), sequence->proposals.begin(), sequence->proposals.end());
      plan.sequences.push_back({sequence->scheduled, static_cast<std::int32_t>(sequence->computed),
                                sequence->logits, static_cast<std::int32_t>(plan.blocks.size()),
                                static_cast<std::int32_t>(sequence->blocks.size())});
      plan.blocks.insert(plan.blocks.end(), sequence->blocks.begin(), sequence->blocks.end());
      sequence->first_row = row;
      row += sequence->logits;
    }
  }
}

void Scheduler::plan(StepPlan& plan) {
  copies_.clear();
  budget_ = options_.max_step_tokens;
  preempted_ = false;
  for (RequestState* state : running_) {
    for (const auto& sequence : state->sequences) {
      sequence->scheduled = sequence->logits = 0;
    }
  }
  plan_continuations();
  plan_proposals();
  plan_prompts();
  if (!preempted_) {
    admit();
  }
  write(plan);
}

}  // namespace gamelan::infer
