#include "infer/model/check_plan.h"

namespace gamelan::infer {
namespace {

base::Status check_sequence(const StepPlan& plan, std::size_t index, const io::ModelConfig& config,
                            std::int64_t block_tokens) {
  const StepSequence& s = plan.sequences[index];
  if (s.tokens < 0 || s.position < 0 || s.logits < 0 || s.logits > s.tokens) {
    return base::invalid_argument(
        "plan: sequence {}: {} tokens at position {} of which {} get logits", index, s.tokens,
        s.position, s.logits);
  }
  const std::int64_t length = std::int64_t{s.position} + s.tokens;
  if (config.positions == io::Positions::kLearned && length > config.max_positions) {
    return base::invalid_argument("plan: sequence {}: {} tokens, the model has {} positions", index,
                                  length, config.max_positions);
  }
  if (s.first_block < 0 || s.block_count < 0 ||
      static_cast<std::size_t>(s.first_block) + static_cast<std::size_t>(s.block_count) >
          plan.blocks.size() ||
      s.block_count * block_tokens < length) {
    return base::invalid_argument(
        "plan: sequence {}: entries {} … {} of {} block numbers for {} tokens in blocks of {}",
        index, s.first_block, s.first_block + s.block_count, plan.blocks.size(), length,
        block_tokens);
  }
  return base::OkStatus();
}

}  // namespace

base::Status check_plan(const StepPlan& plan, const io::ModelConfig& config, std::int64_t blocks,
                        std::int64_t block_tokens) {
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < plan.sequences.size(); ++i) {
    GAMELAN_RETURN_IF_ERROR(check_sequence(plan, i, config, block_tokens));
    tokens += static_cast<std::size_t>(plan.sequences[i].tokens);
  }
  if (tokens != plan.tokens.size()) {
    return base::invalid_argument("plan: its sequences have {} tokens, it has {}", tokens,
                                  plan.tokens.size());
  }
  for (const text::TokenId id : plan.tokens) {
    if (id < 0 || id >= config.vocab_size) {
      return base::invalid_argument("plan: token {}, expected 0 … {}", id, config.vocab_size - 1);
    }
  }
  const auto inside = [&](std::int64_t block) { return block >= 0 && block < blocks; };
  for (const std::int32_t block : plan.blocks) {
    if (!inside(block)) {
      return base::invalid_argument("plan: block {}, the cache has {}", block, blocks);
    }
  }
  for (const BlockCopy& copy : plan.copies) {
    if (!inside(copy.from) || !inside(copy.to)) {
      return base::invalid_argument("plan: copies block {} to {}, the cache has {}", copy.from,
                                    copy.to, blocks);
    }
  }
  return base::OkStatus();
}

}  // namespace gamelan::infer
