#include "infer/engine/draft.h"

#include <algorithm>

namespace gamelan::infer {

base::Status Draft::forward() {
  const std::int64_t vocabulary = model_.config().vocab_size;
  const std::int64_t rows = plan_.logit_rows();
  logits_.resize(std::max(logits_.size(), static_cast<std::size_t>(rows * vocabulary)));
  return model_.forward(plan_, {logits_.data(), rows, vocabulary});
}

/// Chooses the next proposal as the model's own tokens are chosen, random numbers included: then it
/// is right as often as it can be.
void Draft::take(Drafting& drafting, std::int64_t row, StepPlan& plan) {
  const auto vocabulary = static_cast<std::size_t>(model_.config().vocab_size);
  Sequence& sequence = *drafting.sequence;
  const std::span<float> logits(logits_.data() + static_cast<std::size_t>(row) * vocabulary,
                                vocabulary);
  context_.assign(sequence.tokens.begin(), sequence.tokens.end());
  context_.insert(context_.end(), sequence.proposals.begin(),
                  sequence.proposals.begin() + static_cast<std::ptrdiff_t>(drafting.drafted));
  process_logits(drafting.state->request,
                 {context_, sequence.prompt_tokens, &sequence.counts, drafting.state->end_tokens},
                 logits);
  const auto position = static_cast<std::uint32_t>(sequence.generated()) +
                        static_cast<std::uint32_t>(drafting.drafted);
  const auto token = sampler_.choose(drafting.state->request.sampling,
                                     {drafting.state->seed, position, sequence.index}, logits);
  const text::TokenId proposal = token.value_or(0);
  sequence.proposals[drafting.drafted] = proposal;
  plan.tokens[static_cast<std::size_t>(drafting.first_token) + drafting.drafted] = proposal;
  ++drafting.drafted;
}

/// The engine's plan without its proposals, which the draft model makes itself; the tokens that the
/// model accepted after the last that the draft model saw come first.
base::Status Draft::follow(StepPlan& plan, const std::vector<RequestState*>& running) {
  plan_.tokens.clear();
  plan_.sequences.clear();
  plan_.blocks = plan.blocks;
  plan_.copies = plan.copies;
  drafting_.clear();
  std::size_t index = 0;
  std::int64_t next_token = 0;
  for (RequestState* state : running) {
    for (const auto& sequence : state->sequences) {
      if (sequence->scheduled == 0) {
        continue;
      }
      StepSequence& planned = plan.sequences[index++];
      const std::int64_t first_token = next_token;
      next_token += planned.tokens;
      const bool drafts = state->request.draft_tokens > 0;
      const auto proposed = static_cast<std::int64_t>(sequence->proposals.size());
      // Proposals of others are the engine's and stay as they are.
      const std::int64_t own = planned.tokens - (drafts ? proposed : 0);
      const std::int64_t begin = std::min<std::int64_t>(sequence->draft_computed, planned.position);
      plan_.tokens.insert(plan_.tokens.end(), sequence->tokens.begin() + begin,
                          sequence->tokens.begin() + planned.position);
      const auto planned_tokens = plan.tokens.begin() + first_token;
      plan_.tokens.insert(plan_.tokens.end(), planned_tokens, planned_tokens + own);
      const bool proposes = drafts && proposed > 0;
      plan_.sequences.push_back({static_cast<std::int32_t>(planned.position - begin + own),
                                 static_cast<std::int32_t>(begin), proposes ? 1 : 0,
                                 planned.first_block, planned.block_count});
      sequence->draft_computed = planned.position + own;
      if (proposes) {
        drafting_.push_back({state, sequence.get(), &planned, first_token + own, 0});
      }
    }
  }
  GAMELAN_RETURN_IF_ERROR(forward());
  for (std::size_t i = 0; i < drafting_.size(); ++i) {
    take(drafting_[i], static_cast<std::int64_t>(i), plan);
  }
  return base::OkStatus();
}

/// One token more for each sequence that wants one.
base::Status Draft::continue_drafts(StepPlan& plan) {
  plan_.tokens.clear();
  plan_.sequences.clear();
  plan_.copies.clear();
  for (Drafting& drafting : drafting_) {
    Sequence& sequence = *drafting.sequence;
    plan_.tokens.push_back(sequence.proposals[drafting.drafted - 1]);
    plan_.sequences.push_back({1, static_cast<std::int32_t>(sequence.draft_computed), 1,
                               drafting.planned->first_block, drafting.planned->block_count});
    ++sequence.draft_computed;
  }
  GAMELAN_RETURN_IF_ERROR(forward());
  for (std::size_t i = 0; i < drafting_.size(); ++i) {
    take(drafting_[i], static_cast<std::int64_t>(i), plan);
  }
  return base::OkStatus();
}

base::Status Draft::propose(StepPlan& plan, const std::vector<RequestState*>& running) {
  GAMELAN_RETURN_IF_ERROR(follow(plan, running));
  for (;;) {
    std::erase_if(drafting_, [](const Drafting& drafting) {
      return drafting.drafted == drafting.sequence->proposals.size();
    });
    if (drafting_.empty()) {
      return base::OkStatus();
    }
    GAMELAN_RETURN_IF_ERROR(continue_drafts(plan));
  }
}

}  // namespace gamelan::infer
