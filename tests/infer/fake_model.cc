#include "fake_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>

namespace gamelan::infer::testing {
namespace {

std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 31)) * 0x7fb5d329728ea185U;
  value = (value ^ (value >> 27)) * 0x81dadef4bc2dd44dU;
  return value ^ (value >> 33);
}

}  // namespace

FakeModel::FakeModel(const FakeModelOptions& options) : options_(options) {
  config_.vocab_size = options.vocab_size;
  config_.max_positions = options.max_positions;
}

base::Status FakeModel::create_cache(const CacheOptions& options, std::int64_t blocks) {
  block_tokens_ = options.block_tokens;
  slots_.assign(static_cast<std::size_t>(blocks * block_tokens_), -1);
  return base::OkStatus();
}

std::vector<float> FakeModel::logits_after(std::span<const text::TokenId> tokens) const {
  if (options_.memory > 0 && tokens.size() > static_cast<std::size_t>(options_.memory)) {
    tokens = tokens.last(static_cast<std::size_t>(options_.memory));
  }
  std::uint64_t hash = options_.seed;
  for (const text::TokenId token : tokens) {
    hash = mix(hash * 31 + static_cast<std::uint64_t>(token) + 1);
  }
  std::vector<float> logits(static_cast<std::size_t>(options_.vocab_size));
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double uniform = static_cast<double>(mix(hash + i * 0x9e3779b97f4a7c15U) >> 11) * 0x1p-53;
    logits[i] = broken ? std::numeric_limits<float>::quiet_NaN()
                       : options_.scale * static_cast<float>(2 * uniform - 1);
  }
  return logits;
}

base::Status FakeModel::run(const StepPlan& plan, const StepSequence& sequence,
                            std::int64_t first_token, float* logits) {
  const auto slot = [&](std::int64_t position) -> text::TokenId& {
    const std::int64_t block =
        plan.blocks.at(static_cast<std::size_t>(sequence.first_block + position / block_tokens_));
    return slots_.at(static_cast<std::size_t>(block * block_tokens_ + position % block_tokens_));
  };
  if (sequence.block_count * block_tokens_ < sequence.position + sequence.tokens) {
    return base::internal("{} blocks for {} tokens", sequence.block_count,
                          sequence.position + sequence.tokens);
  }
  for (std::int32_t i = 0; i < sequence.tokens; ++i) {
    slot(sequence.position + i) = plan.tokens.at(static_cast<std::size_t>(first_token + i));
  }
  std::vector<text::TokenId> text;
  for (std::int32_t i = 0; i < sequence.position + sequence.tokens; ++i) {
    text.push_back(slot(i));
    if (text.back() < 0) {
      return base::internal("position {} was never written", i);
    }
    const std::int32_t row = i - (sequence.position + sequence.tokens - sequence.logits);
    if (row >= 0) {
      std::ranges::copy(logits_after(text), logits + row * options_.vocab_size);
    }
  }
  return base::OkStatus();
}

base::Status FakeModel::forward(const StepPlan& plan, tensor::MatrixView<float> logits) {
  for (const BlockCopy& copy : plan.copies) {
    std::copy_n(slots_.begin() + copy.from * block_tokens_, block_tokens_,
                slots_.begin() + copy.to * block_tokens_);
  }
  std::int64_t token = 0;
  std::int64_t row = 0;
  for (const StepSequence& sequence : plan.sequences) {
    GAMELAN_RETURN_IF_ERROR(run(plan, sequence, token, logits.data + row * options_.vocab_size));
    token += sequence.tokens;
    row += sequence.logits;
  }
  computed_tokens += token;
  ++steps;
  most_tokens = std::max(most_tokens, token);
  most_sequences = std::max(most_sequences, static_cast<std::int64_t>(plan.sequences.size()));
  return base::OkStatus();
}

std::vector<std::vector<std::vector<text::TokenId>>> run_all(Engine& engine,
                                                             const std::vector<Request>& requests) {
  std::map<RequestId, std::size_t> places;
  std::vector<std::vector<std::vector<text::TokenId>>> texts(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    texts[i].resize(static_cast<std::size_t>(requests[i].n));
    const auto id = engine.submit(requests[i]);
    EXPECT_TRUE(id.ok()) << id.status();
    if (!id.ok()) {
      return texts;
    }
    places[*id] = i;
  }
  for (int step = 0; !engine.idle(); ++step) {
    auto events = engine.step();
    if (!events.ok() || step > 100000) {
      ADD_FAILURE() << "step " << step << ": " << events.status();
      break;
    }
    for (const Event& event : *events) {
      EXPECT_NE(event.finish, FinishReason::kCancelled);
      EXPECT_NE(event.finish, FinishReason::kError) << event.error;
      auto& text = texts[places.at(event.request)].at(static_cast<std::size_t>(event.index));
      text.insert(text.end(), event.tokens.begin(), event.tokens.end());
      if (event.last) {
        places.erase(event.request);
      }
    }
  }
  EXPECT_TRUE(places.empty()) << places.size() << " requests without a last event";
  return texts;
}

std::vector<text::TokenId> greedy_by_hand(const FakeModel& model, std::vector<text::TokenId> prompt,
                                          int count) {
  std::vector<text::TokenId> generated;
  for (int i = 0; i < count; ++i) {
    const std::vector<float> logits = model.logits_after(prompt);
    const auto token =
        static_cast<text::TokenId>(std::ranges::max_element(logits) - logits.begin());
    generated.push_back(token);
    prompt.push_back(token);
  }
  return generated;
}

std::vector<text::TokenId> some_tokens(std::int64_t length, std::uint64_t seed,
                                       std::int64_t vocab_size) {
  std::vector<text::TokenId> tokens;
  for (std::int64_t i = 0; i < length; ++i) {
    tokens.push_back(
        static_cast<text::TokenId>(mix(seed * 1000003 + static_cast<std::uint64_t>(i)) %
                                   static_cast<std::uint64_t>(vocab_size)));
  }
  return tokens;
}

}  // namespace gamelan::infer::testing
