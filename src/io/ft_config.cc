#include "io/ft_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "io/ini_file.h"
#include "io/model_config_json.h"

namespace gamelan::io {
namespace {

constexpr std::string_view kSection = "gpt";
constexpr std::string_view kHeadMark = "lm_head_layout";

/// Typed reads of [gpt]; the first mistake is kept.
class Reader {
 public:
  Reader(const IniFile& file, std::string_view name) : file_(file), name_(name) {}

  std::string text(std::string_view key) {
    const auto value = file_.find(kSection, key);
    if (!value && status_.ok()) {
      status_ = base::invalid_argument("{}: expected the key '{}' in [{}], found none", name_, key,
                                       kSection);
    }
    return value.value_or("");
  }
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) {
    const std::string value = text(key);
    std::int64_t number = least;
    const char* const end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || stop != end || number < least || number > most) {
      fail(key, fmt::format("a number from {} to {}", least, most), value);
      return least;
    }
    return number;
  }
  double number(std::string_view key) {
    const std::string value = text(key);
    double number = 0;
    const char* const end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, number);
    if (error != std::errc() || stop != end || !(number >= 0) || number > 1) {
      fail(key, "a number from 0 to 1", value);
      return 0;
    }
    return number;
  }
  /// A mistake unless the key, if it is there, has this value (case aside).
  void expect(std::string_view key, std::string_view expected) {
    const auto value = file_.find(kSection, key);
    const auto same = [](char a, char b) { return std::tolower(a) == std::tolower(b); };
    if (value &&
        !std::equal(value->begin(), value->end(), expected.begin(), expected.end(), same)) {
      fail(key, expected, *value);
    }
  }
  void fail(std::string_view key, std::string_view expected, std::string_view got) {
    if (status_.ok()) {
      status_ = base::invalid_argument("{}: '{}': expected {}, got '{}'", name_, key, expected,
                                       got.substr(0, 60));
    }
  }
  const base::Status& status() const { return status_; }

 private:
  const IniFile& file_;
  std::string_view name_;
  base::Status status_;
};

base::Status check_variant(Reader& reader, std::string_view name, FtConfig& config) {
  const std::string variant = reader.text("model_variant");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (variant != "bloom-pre" && variant != "bloom-post") {
    return base::unimplemented("{}: unknown model_variant '{}'; known are bloom-pre and bloom-post",
                               name, variant.substr(0, 60));
  }
  config.residual_after_norm = variant == "bloom-post";
  reader.expect("layernorm_type", config.residual_after_norm ? "post_layernorm" : "pre_layernorm");
  reader.expect("activation_type", "gelu");
  reader.expect("has_positional_encoding", "false");
  reader.expect("has_pre_decoder_layernorm", "true");
  reader.expect("has_post_decoder_layernorm", "true");
  reader.expect("use_attention_linear_bias", "true");
  return reader.status();
}

void read_weight_type(Reader& reader, FtConfig& config) {
  const std::string type = reader.text("weight_data_type");
  config.weight_type = type == "fp16" ? tensor::DType::kF16 : tensor::DType::kF32;
  if (type != "fp16" && type != "fp32") {
    reader.fail("weight_data_type", "fp32 or fp16", type);
  }
}

void list_unused(const IniFile& file, std::string_view name, std::vector<std::string>& notes) {
  constexpr std::array<std::string_view, 19> kUsed = {"model_name",
                                                      "num_layer",
                                                      "head_num",
                                                      "inter_size",
                                                      "size_per_head",
                                                      "vocab_size",
                                                      "tensor_para_size",
                                                      "weight_data_type",
                                                      "model_variant",
                                                      "layernorm_eps",
                                                      "layernorm_type",
                                                      "activation_type",
                                                      "has_positional_encoding",
                                                      "has_pre_decoder_layernorm",
                                                      "has_post_decoder_layernorm",
                                                      "use_attention_linear_bias",
                                                      "start_id",
                                                      "end_id",
                                                      kHeadMark};
  for (const auto& [key, value] : *file.section(kSection)) {
    if (std::find(kUsed.begin(), kUsed.end(), key) == kUsed.end()) {
      notes.push_back(fmt::format("{}: '{}' is ignored", name, key));
    }
  }
}

}  // namespace

std::string format_ft_config(const FtConfig& c) {
  std::string text = fmt::format("[{}]\n", kSection);
  const auto add = [&text](std::string_view key, const auto& value) {
    text += fmt::format("{}={}\n", key, value);
  };
  add("model_name", c.model_name);
  add("num_layer", c.num_layers);
  add("head_num", c.num_heads);
  add("inter_size", 4 * c.hidden_size());
  add("size_per_head", c.size_per_head);
  add("vocab_size", c.vocab_size);
  add("tensor_para_size", c.tensor_para_size);
  add("weight_data_type", c.weight_type == tensor::DType::kF16 ? "fp16" : "fp32");
  add("model_variant", c.residual_after_norm ? "bloom-post" : "bloom-pre");
  add("layernorm_eps", c.norm_eps);
  add("layernorm_type", c.residual_after_norm ? "post_layernorm" : "pre_layernorm");
  add("activation_type", "Gelu");
  add("has_positional_encoding", "False");
  add("has_pre_decoder_layernorm", "True");
  add("has_post_decoder_layernorm", "True");
  add("use_attention_linear_bias", "True");
  add("start_id", c.start_id);
  add("end_id", c.end_id);
  if (c.head_by_vocab) {
    add(kHeadMark, "vocab_hidden");
  }
  return text + "\n";
}

base::StatusOr<FtConfig> parse_ft_config(std::string_view text, std::string_view name,
                                         std::vector<std::string>* notes) {
  GAMELAN_ASSIGN_OR_RETURN(const IniFile file, IniFile::parse(text, name));
  if (file.section(kSection) == nullptr) {
    return base::invalid_argument("{}: expected a section [{}], found none", name, kSection);
  }
  Reader reader(file, name);
  FtConfig c;
  GAMELAN_RETURN_IF_ERROR(check_variant(reader, name, c));
  c.model_name = file.find(kSection, "model_name").value_or("");
  c.num_layers = reader.integer("num_layer", 1, kMaxLayers);
  c.num_heads = reader.integer("head_num", 1, kMaxSize);
  c.size_per_head = reader.integer("size_per_head", 1, kMaxSize);
  c.vocab_size = reader.integer("vocab_size", 1, kMaxSize);
  c.tensor_para_size = reader.integer("tensor_para_size", 1, 1024);
  read_weight_type(reader, c);
  c.norm_eps = reader.number("layernorm_eps");
  c.start_id = reader.integer("start_id", 0, kMaxToken);
  c.end_id = reader.integer("end_id", 0, kMaxToken);
  const std::int64_t inter_size = reader.integer("inter_size", 1, 4 * kMaxSize);
  if (c.hidden_size() > kMaxSize || inter_size != 4 * c.hidden_size()) {
    reader.fail("inter_size", fmt::format("4 x head_num x size_per_head = {}", 4 * c.hidden_size()),
                std::to_string(inter_size));
  }
  if (c.num_heads % c.tensor_para_size != 0) {
    reader.fail("tensor_para_size", fmt::format("a divisor of the {} heads", c.num_heads),
                std::to_string(c.tensor_para_size));
  }
  const auto mark = file.find(kSection, kHeadMark);
  c.head_by_vocab = mark == "vocab_hidden";
  if (mark && !c.head_by_vocab && mark != "hidden_vocab") {
    reader.fail(kHeadMark, "vocab_hidden or hidden_vocab", *mark);
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (notes != nullptr) {
    list_unused(file, name, *notes);
  }
  return c;
}

base::StatusOr<FtConfig> to_ft_config(const ModelConfig& model) {
  if (model.architecture != Architecture::kBloom) {
    return base::unimplemented("a FasterTransformer folder: expected a model of type bloom, got {}",
                               model_type_of(model.architecture));
  }
  if (model.eos_token_ids.size() > 1) {
    return base::unimplemented("a FasterTransformer folder: expected one end token, got {}",
                               model.eos_token_ids.size());
  }
  FtConfig c;
  c.num_layers = model.num_layers;
  c.num_heads = model.num_heads;
  c.size_per_head = model.head_dim;
  c.vocab_size = model.vocab_size;
  c.norm_eps = model.norm_eps;
  c.residual_after_norm = model.residual_after_norm;
  c.start_id = model.bos_token_id.value_or(c.start_id);
  c.end_id = model.eos_token_ids.empty() ? c.end_id : model.eos_token_ids.front();
  return c;
}

base::StatusOr<ModelConfig> to_model_config(const FtConfig& config, bool own_head) {
  const nlohmann::json object = {
      {"model_type", "bloom"},
      {"architectures", {"BloomForCausalLM"}},
      {"dtype", config.weight_type == tensor::DType::kF16 ? "float16" : "float32"},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size()},
      {"n_layer", config.num_layers},
      {"n_head", config.num_heads},
      {"layer_norm_epsilon", config.norm_eps},
      {"apply_residual_connection_post_layernorm", config.residual_after_norm},
      {"tie_word_embeddings", !own_head},
      {"bos_token_id", config.start_id},
      {"eos_token_id", config.end_id},
  };
  return parse_model_config(object.dump(), "config.ini");
}

}  // namespace gamelan::io
