#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gamelan/generate_arguments.h"
#include "infer/engine/engine.h"
#include "infer/sampling/stop_text.h"
#include "text/stream_decoder.h"

namespace gamelan::apps {

/// One generated text as it grows.
class GeneratedText {
 public:
  /// `tokenizer` may be null: then there are tokens only. The prompt is not part of the text, but
  /// decides how its beginning is spelled.
  GeneratedText(const text::Tokenizer* tokenizer, const std::vector<text::TokenId>& prompt,
                const std::vector<std::string>& stop);

  /// Takes what happened and returns the text that became certain by it.
  std::string take(const infer::Event& event);
  /// Whether nothing more comes, and whether that is because of a stop text.
  bool ended() const { return !finish_.empty(); }
  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }
  const std::string& text() const { return text_; }
  nlohmann::ordered_json to_json() const;

 private:
  bool has_text_;
  std::unique_ptr<text::StreamDecoder> decoder_;
  infer::StopText stop_;
  std::vector<text::TokenId> tokens_;
  std::vector<float> log_probabilities_;
  std::vector<std::vector<infer::TokenAlternative>> alternatives_;
  std::string text_;
  std::string finish_;
  std::string error_;
  double score_ = 0.0;
  bool has_score_ = false;
};

/// Of the engine, beside the texts.
nlohmann::ordered_json to_json(const infer::EngineStatistics& statistics);

}  // namespace gamelan::apps
