#include "gamelan/encoder_session.h"

#include <algorithm>
#include <iostream>
#include <numeric>

#include "io/model_files.h"

namespace gamelan::apps {
namespace {

// Enough rows that products are limited by arithmetic, few enough that activations stay small.
constexpr std::size_t kBatchTokens = 4096;

}  // namespace

base::StatusOr<std::unique_ptr<EncoderSession>> EncoderSession::open(const ModelOptions& options,
                                                                     std::int64_t max_length) {
  std::unique_ptr<EncoderSession> session(new EncoderSession(threads_of(options)));
  GAMELAN_ASSIGN_OR_RETURN(
      session->model_, infer::load_encoder_model(options.model, *session->context_,
                                                 {.scheme = scheme_of(options), .parallel = {}}));
  GAMELAN_ASSIGN_OR_RETURN(session->tokenizer_, load_tokenizer_of(options, options.model));
  GAMELAN_ASSIGN_OR_RETURN(session->sentence_config_, io::load_sentence_config(options.model));
  const std::int64_t most = session->model_->config().max_positions;
  const std::int64_t wanted =
      max_length > 0 ? max_length : session->sentence_config_.max_seq_length.value_or(most);
  session->max_length_ = static_cast<std::size_t>(std::min(wanted, most));
  return session;
}

std::vector<text::TokenId> EncoderSession::encode(const std::string& text) const {
  std::vector<text::TokenId> ids = tokenizer_->encode(text);
  if (ids.size() <= max_length_) {
    return ids;
  }
  // What stands around the text stays: [CLS] before, [SEP] behind.
  const std::vector<text::TokenId> bare = tokenizer_->encode(text, false);
  const std::size_t around = ids.size() - bare.size();
  const auto at = std::search(ids.begin(), ids.end(), bare.begin(), bare.end());
  if (at != ids.end() && around < max_length_) {
    const auto kept = static_cast<std::ptrdiff_t>(max_length_ - around);
    ids.erase(at + kept, at + static_cast<std::ptrdiff_t>(bare.size()));
  }
  ids.resize(std::min(ids.size(), max_length_));
  return ids;
}

base::Status EncoderSession::for_batches(
    const std::vector<std::string>& texts,
    const std::function<base::Status(const TextBatch&)>& body) const {
  std::vector<std::vector<text::TokenId>> ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) {
    ids.push_back(encode(text));
    if (ids.back().empty()) {
      return base::invalid_argument("text {}: has no tokens", ids.size());
    }
  }
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ids[a].size() < ids[b].size(); });
  TextBatch batch;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (batch.offsets.empty()) {
      batch.offsets.push_back(0);
    }
    const std::vector<text::TokenId>& tokens = ids[order[i]];
    batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    batch.offsets.push_back(static_cast<std::int64_t>(batch.tokens.size()));
    batch.texts.push_back(order[i]);
    const bool last = i + 1 == order.size();
    if (last || batch.tokens.size() + ids[order[i + 1]].size() > kBatchTokens) {
      GAMELAN_RETURN_IF_ERROR(body(batch));
      batch = {};
    }
  }
  return base::OkStatus();
}

void add_text_option(CLI::App& app, std::vector<std::string>& texts) {
  app.add_option("--text", texts, "A text; may be repeated (default: lines of stdin)")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::vector<std::string> texts_or_lines(const std::vector<std::string>& texts) {
  if (!texts.empty()) {
    return texts;
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace gamelan::apps
