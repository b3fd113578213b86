#include "gamelan-train/bert_folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "io/huggingface_folder.h"
#include "io/tokenizer_files.h"
#include "io/weights.h"
#include "train/torch_view.h"

namespace gamelan::apps {

using train::value_or_throw;

BertFolder open_bert_folder(const std::string& folder, const std::string& tokenizer) {
  BertFolder opened{.config = value_or_throw(io::load_bert_config_of_folder(folder)),
                    .tokenizer = value_or_throw(
                        io::load_word_piece_tokenizer(tokenizer.empty() ? folder : tokenizer)),
                    .weights = folder,
                    .labels = {}};
  const auto weights = value_or_throw(io::open_weights(folder));
  if (weights.find("classifier.weight") != nullptr) {
    for (std::int64_t i = 0; i < opened.config.num_labels; ++i) {
      opened.labels.push_back(io::label_name(opened.config, i));
    }
  }
  return opened;
}

BertFolder open_random_bert(const std::string& config, const std::string& tokenizer) {
  const bool is_folder = std::filesystem::is_directory(config);
  return {.config = value_or_throw(is_folder ? io::load_bert_config_of_folder(config)
                                             : io::load_bert_config(config)),
          .tokenizer = value_or_throw(io::load_word_piece_tokenizer(tokenizer)),
          .weights = "",
          .labels = {}};
}

LoadedBert load_bert(const BertFolder& folder, const std::vector<std::string>& labels,
                     std::optional<double> dropout, std::uint64_t seed) {
  io::BertConfig config = folder.config;
  config.num_labels = static_cast<std::int64_t>(labels.size());
  config.labels = labels;
  if (dropout) {
    config.hidden_dropout_prob = *dropout;
    config.attention_probs_dropout_prob = *dropout;
    config.classifier_dropout = *dropout;
  }
  LoadedBert loaded{train::BertForSequenceClassification(config), {}};
  if (folder.weights.empty()) {
    train::initialize_bert(*loaded.model, seed);
  } else {
    loaded.report = train::load_bert_weights(
        *loaded.model, value_or_throw(io::open_weights(folder.weights)), seed);
  }
  loaded.model->eval();
  return loaded;
}

void save_bert_folder(const std::string& folder,
                      const train::BertForSequenceClassificationImpl& model,
                      const text::WordPieceTokenizer& tokenizer) {
  train::throw_if_error(io::save_bert_folder(folder, model.config(), tokenizer));
  train::save_bert_weights(model, (std::filesystem::path(folder) / "model.safetensors").string());
}

}  // namespace gamelan::apps
