#include "io/model_config.h"

#include <array>
#include <filesystem>
#include <utility>

#include "io/class_labels.h"
#include "io/mapped_file.h"
#include "io/model_config_json.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

struct Known {
  Architecture architecture;
  std::string_view model_type;
  void (*read)(ConfigSource&, ModelConfig&);
};

constexpr std::array<Known, 8> kKnown = {{{Architecture::kBloom, "bloom", read_bloom},
                                          {Architecture::kGpt2, "gpt2", read_gpt2},
                                          {Architecture::kGptNeoX, "gpt_neox", read_gpt_neox},
                                          {Architecture::kOpt, "opt", read_opt},
                                          {Architecture::kLlama, "llama", read_llama},
                                          {Architecture::kMistral, "mistral", read_mistral},
                                          {Architecture::kQwen2, "qwen2", read_qwen2},
                                          {Architecture::kBert, "bert", read_bert}}};

base::StatusOr<Known> find_known(ConfigSource& source) {
  const std::string type = source.reader.string("model_type", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(source.reader.status());
  std::string names;
  for (const Known& known : kKnown) {
    if (known.model_type == type) {
      return known;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.model_type);
  }
  return base::unimplemented("{}: unknown architecture: model_type is \"{}\"; known are {}",
                             source.reader.where(), type.substr(0, 60), names);
}

void read_common(ConfigSource& source, ModelConfig& c) {
  if (const json* classes = source.reader.array("architectures");
      classes != nullptr && !classes->empty() && classes->front().is_string()) {
    c.class_name = classes->front().get<std::string>();
  }
  constexpr std::array<std::pair<std::string_view, tensor::DType>, 4> kTypes = {
      {{"float32", tensor::DType::kF32},
       {"float16", tensor::DType::kF16},
       {"bfloat16", tensor::DType::kBF16},
       {"float64", tensor::DType::kF64}}};
  const std::string type = source.reader.string("dtype", source.reader.string("torch_dtype", ""));
  for (const auto& [name, dtype] : kTypes) {
    if (type == name) {
      c.dtype = dtype;
    }
  }
}

/// Checks what the sizes must satisfy among themselves, and fills those that follow from others.
void finish(ConfigSource& source, ModelConfig& c) {
  if (c.embedding_size == 0) {
    c.embedding_size = c.hidden_size;
  }
  if (c.head_dim == 0 || c.architecture == Architecture::kGptNeoX ||
      c.architecture == Architecture::kLlama) {
    if (c.hidden_size % c.num_heads != 0) {
      source.reader.fail(fmt::format("the hidden size {} is not a multiple of the {} heads",
                                     c.hidden_size, c.num_heads));
    }
  }
  if (c.head_dim == 0) {
    c.head_dim = c.hidden_size / c.num_heads;
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    source.reader.fail(fmt::format("the {} heads are not a multiple of the {} of keys and values",
                                   c.num_heads, c.num_kv_heads));
  }
}

}  // namespace

std::int64_t window_of_layer(const ModelConfig& config, std::int64_t layer) {
  const bool applies =
      config.windowed_layers.empty() || config.windowed_layers[static_cast<std::size_t>(layer)];
  return applies ? config.sliding_window : 0;
}

std::string label_name(const ModelConfig& config, std::int64_t index) {
  return label_name(config.labels, index);
}

std::string_view model_type_of(Architecture architecture) {
  for (const Known& known : kKnown) {
    if (known.architecture == architecture) {
      return known.model_type;
    }
  }
  return "?";
}

base::StatusOr<ModelConfig> parse_model_config(std::string_view text, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  ConfigSource source{object, JsonReader(object, std::string(name))};
  GAMELAN_ASSIGN_OR_RETURN(const Known known, find_known(source));
  ModelConfig config;
  config.architecture = known.architecture;
  read_common(source, config);
  known.read(source, config);
  finish(source, config);
  GAMELAN_RETURN_IF_ERROR(source.reader.status());
  return config;
}

base::Status apply_generation_config(std::string_view text, std::string_view name,
                                     ModelConfig& config) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  ConfigSource source{object, JsonReader(object, std::string(name))};
  GAMELAN_RETURN_IF_ERROR(source.reader.status());
  // Null is what transformers writes for a model without one: it overrides nothing.
  const auto overrides = [&](const char* key) {
    return object.contains(key) && !object.at(key).is_null();
  };
  if (overrides("bos_token_id")) {
    config.bos_token_id = source.token("bos_token_id", config.bos_token_id);
  }
  if (overrides("eos_token_id")) {
    config.eos_token_ids = source.tokens("eos_token_id", config.eos_token_ids);
  }
  if (overrides("pad_token_id")) {
    config.pad_token_id = source.token("pad_token_id", config.pad_token_id);
  }
  return source.reader.status();
}

base::StatusOr<ModelConfig> load_model_config(std::string_view folder) {
  const std::filesystem::path path(folder);
  const std::string file = (path / "config.json").string();
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file));
  GAMELAN_ASSIGN_OR_RETURN(ModelConfig config, parse_model_config(mapped.text(), file));
  const std::string generation = (path / "generation_config.json").string();
  std::error_code ignored;
  if (std::filesystem::exists(generation, ignored)) {
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile more, MappedFile::open(generation));
    GAMELAN_RETURN_IF_ERROR(apply_generation_config(more.text(), generation, config));
  }
  return config;
}

}  // namespace gamelan::io
