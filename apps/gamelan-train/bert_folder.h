#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/bert_config.h"
#include "text/word_piece_tokenizer.h"
#include "train/models/bert.h"
#include "train/models/bert_weights.h"

namespace gamelan::apps {

/// A classifier as it lies in a HuggingFace folder, before its weights are read.
struct BertFolder {
  /// Of config.json.
  io::BertConfig config;
  text::WordPieceTokenizer tokenizer;
  /// Folder of the weights; empty = random ones.
  std::string weights;
  /// Names of the classes, when the weights hold a classifier; otherwise empty: the data say.
  std::vector<std::string> labels;
};

/// Opens a folder. `tokenizer` empty = the same folder. Throws c10::Error.
BertFolder open_bert_folder(const std::string& folder, const std::string& tokenizer);
/// Random weights of the shape that `config` (a file or the folder of one) describes.
BertFolder open_random_bert(const std::string& config, const std::string& tokenizer);

/// The model with its weights, in evaluation mode; what is new in it is drawn from `seed`.
struct LoadedBert {
  train::BertForSequenceClassification model;
  train::BertLoadReport report;
};
LoadedBert load_bert(const BertFolder& folder, const std::vector<std::string>& labels,
                     std::optional<double> dropout, std::uint64_t seed);

/// Writes what HuggingFace's AutoTokenizer and AutoModelForSequenceClassification load. Throws
/// c10::Error.
void save_bert_folder(const std::string& folder,
                      const train::BertForSequenceClassificationImpl& model,
                      const text::WordPieceTokenizer& tokenizer);

}  // namespace gamelan::apps
