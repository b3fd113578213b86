#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gamelan/model_options.h"
#include "infer/model/encoder_model.h"
#include "io/sentence_config.h"

namespace gamelan::apps {

/// Texts as an encoder takes them: some of them, the shortest first.
struct TextBatch {
  std::vector<text::TokenId> tokens;
  std::vector<std::int64_t> offsets;
  /// Which texts these are.
  std::vector<std::size_t> texts;

  infer::PackedTokens packed() const { return {tokens, {}, offsets}; }
};

/// A loaded encoder with its tokenizer: what `embed` and `classify` share.
class EncoderSession {
 public:
  /// `max_length` 0 = as the folder says; at most what the model has.
  static base::StatusOr<std::unique_ptr<EncoderSession>> open(const ModelOptions& options,
                                                              std::int64_t max_length);

  infer::EncoderModel& model() const { return *model_; }
  const io::SentenceConfig& sentence_config() const { return sentence_config_; }

  /// Tokenizes the texts, cuts what is too long (its special tokens stay), and calls `body` with
  /// batches of similar length.
  base::Status for_batches(const std::vector<std::string>& texts,
                           const std::function<base::Status(const TextBatch&)>& body) const;

 private:
  explicit EncoderSession(int threads) : context_(threads) {}
  std::vector<text::TokenId> encode(const std::string& text) const;

  ComputeContext context_;
  std::unique_ptr<infer::EncoderModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  io::SentenceConfig sentence_config_;
  std::size_t max_length_ = 0;
};

/// --text, and lines of the standard input when there is none.
void add_text_option(CLI::App& app, std::vector<std::string>& texts);
std::vector<std::string> texts_or_lines(const std::vector<std::string>& texts);

}  // namespace gamelan::apps
