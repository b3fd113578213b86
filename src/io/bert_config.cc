#include "io/bert_config.h"

#include <utility>

#include "io/class_labels.h"
#include "io/json_file.h"
#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

// Far beyond any BERT; they keep products of sizes inside int64 and hostile files out of memory.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 10'000;

/// Keys whose other values make a different model.
void check_kind(JsonReader& reader) {
  reader.one_of("model_type", "bert", {"bert"});
  reader.one_of("position_embedding_type", "absolute", {"absolute"});
  reader.one_of("problem_type", "single_label_classification", {"single_label_classification"});
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (reader.boolean(key, false)) {
      reader.fail(key, "false (an encoder)", true);
    }
  }
}

}  // namespace

std::string label_name(const BertConfig& config, std::int64_t index) {
  return label_name(config.labels, index);
}

base::StatusOr<BertConfig> parse_bert_config(std::string_view text, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  JsonReader reader(object, std::string(name));
  check_kind(reader);
  BertConfig c;
  c.vocab_size = reader.integer("vocab_size", c.vocab_size, 1, kMaxSize);
  c.hidden_size = reader.integer("hidden_size", c.hidden_size, 1, kMaxSize);
  c.num_hidden_layers = reader.integer("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers);
  c.num_attention_heads = reader.integer("num_attention_heads", c.num_attention_heads, 1, kMaxSize);
  c.intermediate_size = reader.integer("intermediate_size", c.intermediate_size, 1, kMaxSize);
  c.hidden_act = reader.one_of("hidden_act", c.hidden_act,
                               {"gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh",
                                "relu", "silu", "swish"});
  c.hidden_dropout_prob = reader.number("hidden_dropout_prob", c.hidden_dropout_prob, 0, 1);
  c.attention_probs_dropout_prob =
      reader.number("attention_probs_dropout_prob", c.attention_probs_dropout_prob, 0, 1);
  c.classifier_dropout = reader.optional_number("classifier_dropout", 0, 1);
  c.max_position_embeddings =
      reader.integer("max_position_embeddings", c.max_position_embeddings, 1, kMaxSize);
  c.type_vocab_size = reader.integer("type_vocab_size", c.type_vocab_size, 1, kMaxSize);
  c.initializer_range = reader.number("initializer_range", c.initializer_range, 0, 1000);
  c.layer_norm_eps = reader.number("layer_norm_eps", c.layer_norm_eps, 0, 1);
  c.pad_token_id = reader.integer("pad_token_id", c.pad_token_id, 0, kMaxSize);
  ClassLabels labels = read_class_labels(reader, c.num_labels);
  c.num_labels = labels.count;
  c.labels = std::move(labels.names);
  if (reader.ok() && c.hidden_size % c.num_attention_heads != 0) {
    reader.fail(fmt::format("'hidden_size' {} is not a multiple of 'num_attention_heads' {}",
                            c.hidden_size, c.num_attention_heads));
  }
  if (reader.ok() && c.pad_token_id >= c.vocab_size) {
    reader.fail(fmt::format("'pad_token_id' {} is not below 'vocab_size' {}", c.pad_token_id,
                            c.vocab_size));
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return c;
}

base::StatusOr<BertConfig> load_bert_config(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse_bert_config(file.text(), path);
}

std::string to_json(const BertConfig& config) {
  json id2label = json::object();
  json label2id = json::object();
  for (std::int64_t i = 0; i < config.num_labels; ++i) {
    id2label[std::to_string(i)] = label_name(config, i);
    label2id[label_name(config, i)] = i;
  }
  json object = {
      {"architectures", {"BertForSequenceClassification"}},
      {"model_type", "bert"},
      {"problem_type", "single_label_classification"},
      {"dtype", "float32"},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"intermediate_size", config.intermediate_size},
      {"hidden_act", config.hidden_act},
      {"hidden_dropout_prob", config.hidden_dropout_prob},
      {"attention_probs_dropout_prob", config.attention_probs_dropout_prob},
      {"classifier_dropout", nullptr},
      {"max_position_embeddings", config.max_position_embeddings},
      {"type_vocab_size", config.type_vocab_size},
      {"initializer_range", config.initializer_range},
      {"layer_norm_eps", config.layer_norm_eps},
      {"pad_token_id", config.pad_token_id},
      {"position_embedding_type", "absolute"},
      {"id2label", id2label},
      {"label2id", label2id},
  };
  if (config.classifier_dropout) {
    object["classifier_dropout"] = *config.classifier_dropout;
  }
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace gamelan::io
