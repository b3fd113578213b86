#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gamelan::infer {

/// Watches a growing text for words that end it. Words are compared as text, however it was cut
/// into tokens; what may still become one is held back. One thread at a time.
class StopText {
 public:
  /// Empty words are ignored.
  explicit StopText(std::vector<std::string> words);

  /// The text that is certain now that `piece` has come; nothing more once a word has.
  std::string push(std::string_view piece);
  /// What was held back, when the text has ended by itself.
  std::string finish();
  /// Whether a word has come. It and what came after it are in no piece.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> words_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace gamelan::infer
