#include "infer/engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "infer/engine/check_request.h"
#include "infer/sampling/sampler.h"

namespace gamelan::infer {
namespace {

constexpr std::int64_t kWindowWithoutLimit = 1'024;

base::Status settle(const io::ModelConfig& config, std::span<const text::TokenId> tokens,
                    PerplexityOptions& options) {
  const std::int64_t limit = longest_text(config);
  if (options.window == 0) {
    options.window = limit > 0 ? limit : kWindowWithoutLimit;
  }
  if (options.window < 2 || (limit > 0 && options.window > limit)) {
    return base::invalid_argument("window: expected {}, got {}",
                                  limit > 0 ? fmt::format("2 … {} tokens", limit) : "2 or more",
                                  options.window);
  }
  options.stride = options.stride == 0 ? options.window : options.stride;
  if (options.stride < 1 || options.stride > options.window) {
    return base::invalid_argument("stride: expected 1 … {}, the window, got {}", options.window,
                                  options.stride);
  }
  if (options.step_tokens < 1) {
    return base::invalid_argument("step_tokens: expected at least 1, got {}", options.step_tokens);
  }
  if (tokens.size() < 2) {
    return base::invalid_argument("text: expected at least 2 tokens, got {}", tokens.size());
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab_size) {
      return base::invalid_argument("text: expected tokens 0 … {}, got {} at index {}",
                                    config.vocab_size - 1, tokens[i], i);
    }
  }
  return base::OkStatus();
}

/// Runs windows through the model's cache, each from its beginning.
class PerplexityRun {
 public:
  PerplexityRun(CausalModel& model, std::span<const text::TokenId> tokens,
                const PerplexityOptions& options)
      : model_(model),
        tokens_(tokens),
        options_(options),
        vocabulary_(model.config().vocab_size),
        logits_(static_cast<std::size_t>(options.step_tokens * vocabulary_)) {
    const std::int64_t longest = std::min(options.window, static_cast<std::int64_t>(tokens.size()));
    const std::int64_t block = options.cache.block_tokens;
    plan_.blocks.resize(static_cast<std::size_t>((longest + block - 1) / block));
    for (std::size_t i = 0; i < plan_.blocks.size(); ++i) {
      plan_.blocks[i] = static_cast<std::int32_t>(i);
    }
  }

  base::Status create_cache() {
    return model_.create_cache(options_.cache, static_cast<std::int64_t>(plan_.blocks.size()));
  }

  /// Tokens begin … end - 1, of which those from `first` on count.
  base::Status add_window(std::int64_t begin, std::int64_t first, std::int64_t end) {
    // The last token foretells what no window has.
    for (std::int64_t at = begin; at + 1 < end; at += options_.step_tokens) {
      const std::int64_t stop = std::min(at + options_.step_tokens, end - 1);
      // Token i foretells token i + 1.
      const std::int64_t counted = std::max(stop - std::max(at, first - 1), std::int64_t{0});
      plan_.tokens.assign(tokens_.begin() + at, tokens_.begin() + stop);
      plan_.sequences = {{static_cast<std::int32_t>(stop - at),
                          static_cast<std::int32_t>(at - begin), static_cast<std::int32_t>(counted),
                          0, static_cast<std::int32_t>(plan_.blocks.size())}};
      GAMELAN_RETURN_IF_ERROR(model_.forward(plan_, {logits_.data(), counted, vocabulary_}));
      for (std::int64_t row = 0; row < counted; ++row) {
        GAMELAN_RETURN_IF_ERROR(add(row, stop - counted + row + 1));
      }
    }
    return base::OkStatus();
  }

  const Perplexity& result() const { return result_; }

 private:
  base::Status add(std::int64_t row, std::int64_t index) {
    const std::span<const float> logits(logits_.data() + row * vocabulary_,
                                        static_cast<std::size_t>(vocabulary_));
    const double likelihood =
        log_sum_exp(logits) - logits[static_cast<std::size_t>(tokens_[index])];
    if (!std::isfinite(likelihood)) {
      return base::data_loss("text: token {} at index {} has no finite probability", tokens_[index],
                             index);
    }
    result_.negative_log_likelihood += likelihood;
    ++result_.tokens;
    return base::OkStatus();
  }

  CausalModel& model_;
  std::span<const text::TokenId> tokens_;
  const PerplexityOptions& options_;
  std::int64_t vocabulary_;
  std::vector<float> logits_;  // [step_tokens, vocabulary]
  StepPlan plan_;
  Perplexity result_;
};

}  // namespace

double Perplexity::value() const {
  return std::exp(negative_log_likelihood / static_cast<double>(tokens));
}

base::StatusOr<Perplexity> measure_perplexity(CausalModel& model,
                                              std::span<const text::TokenId> tokens,
                                              const PerplexityOptions& wanted,
                                              const std::function<void(std::int64_t)>& advanced) {
  PerplexityOptions options = wanted;
  GAMELAN_RETURN_IF_ERROR(settle(model.config(), tokens, options));
  PerplexityRun run(model, tokens, options);
  GAMELAN_RETURN_IF_ERROR(run.create_cache());
  const auto count = static_cast<std::int64_t>(tokens.size());
  std::int64_t done = 0;  // tokens that windows have held
  for (std::int64_t begin = 0; done < count; begin += options.stride) {
    const std::int64_t end = std::min(begin + options.window, count);
    GAMELAN_RETURN_IF_ERROR(run.add_window(begin, std::max(done, begin + 1), end));
    if (advanced) {
      advanced(end - done);
    }
    done = end;
  }
  return run.result();
}

}  // namespace gamelan::infer
