#include "gamelan/generate_output.h"

#include <algorithm>

namespace gamelan::apps {

GeneratedText::GeneratedText(const text::Tokenizer* tokenizer,
                             const std::vector<text::TokenId>& prompt,
                             const std::vector<std::string>& stop)
    : has_text_(tokenizer != nullptr), stop_(stop) {
  if (!has_text_) {
    return;
  }
  decoder_ = std::make_unique<text::StreamDecoder>(*tokenizer, /*skip_special_tokens=*/true);
  // More than the last few cannot matter.
  constexpr std::size_t kEnough = 16;
  for (std::size_t i = prompt.size() - std::min(prompt.size(), kEnough); i < prompt.size(); ++i) {
    decoder_->push(prompt[i]);
  }
}

std::string GeneratedText::take(const infer::Event& event) {
  if (ended()) {
    return "";  // a stop text has come; the engine does not know yet
  }
  std::string certain;
  for (std::size_t i = 0; i < event.tokens.size() && !stop_.stopped(); ++i) {
    tokens_.push_back(event.tokens[i]);
    if (i < event.log_probabilities.size()) {
      log_probabilities_.push_back(event.log_probabilities[i]);
    }
    if (i < event.alternatives.size()) {
      alternatives_.push_back(event.alternatives[i]);
    }
    if (has_text_) {
      certain += stop_.push(decoder_->push(event.tokens[i]));
    }
  }
  if (event.finish != infer::FinishReason::kNone) {
    finish_ = infer::name_of(event.finish);
    error_ = event.error;
    score_ = event.score;
    has_score_ = event.score != 0.0;
    if (has_text_) {
      certain += stop_.push(decoder_->finish());
      certain += stop_.finish();
    }
  }
  if (stop_.stopped()) {
    finish_ = infer::name_of(infer::FinishReason::kStopWord);
  }
  text_ += certain;
  return certain;
}

nlohmann::ordered_json GeneratedText::to_json() const {
  nlohmann::ordered_json json;
  json["token_ids"] = tokens_;
  if (has_text_) {
    json["text"] = text_;
  }
  json["finish_reason"] = finish_;
  if (has_score_) {
    json["score"] = score_;
  }
  if (!log_probabilities_.empty()) {
    json["log_probabilities"] = log_probabilities_;
  }
  for (const auto& alternatives : alternatives_) {
    nlohmann::ordered_json one = nlohmann::ordered_json::array();
    for (const infer::TokenAlternative& alternative : alternatives) {
      one.push_back(
          {{"token_id", alternative.token}, {"log_probability", alternative.log_probability}});
    }
    json["alternatives"].push_back(std::move(one));
  }
  if (failed()) {
    json["error"] = error_;
  }
  return json;
}

nlohmann::ordered_json to_json(const infer::EngineStatistics& s) {
  return {{"steps", s.steps},
          {"prompt_tokens", s.prompt_tokens},
          {"shared_tokens", s.shared_tokens},
          {"generated_tokens", s.generated_tokens},
          {"proposed_tokens", s.proposed_tokens},
          {"accepted_tokens", s.accepted_tokens},
          {"preemptions", s.preemptions},
          {"cache_blocks", s.cache_blocks}};
}

}  // namespace gamelan::apps
