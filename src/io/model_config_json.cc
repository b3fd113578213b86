#include "io/model_config_json.h"

#include <algorithm>
#include <array>
#include <utility>

#include "io/class_labels.h"
#include "io/rope_json.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

Activation read_activation(ConfigSource& source, const char* key, const char* fallback) {
  struct Name {
    const char* name;
    Activation activation;
  };
  static constexpr std::array<Name, 9> kNames = {{{"gelu", Activation::kGelu},
                                                  {"gelu_python", Activation::kGelu},
                                                  {"gelu_new", Activation::kGeluTanh},
                                                  {"gelu_fast", Activation::kGeluTanh},
                                                  {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                  {"gelu_accurate", Activation::kGeluTanh},
                                                  {"relu", Activation::kRelu},
                                                  {"silu", Activation::kSilu},
                                                  {"swish", Activation::kSilu}}};
  std::vector<std::string> known;
  for (const Name& name : kNames) {
    known.emplace_back(name.name);
  }
  const std::string value = source.reader.one_of(key, fallback, known);
  for (const Name& name : kNames) {
    if (value == name.name) {
      return name.activation;
    }
  }
  return Activation::kGelu;
}

void read_special_tokens(ConfigSource& source, std::optional<std::int64_t> bos,
                         const std::vector<std::int64_t>& eos, std::optional<std::int64_t> pad,
                         ModelConfig& c) {
  c.bos_token_id = source.token("bos_token_id", bos);
  c.eos_token_ids = source.tokens("eos_token_id", eos);
  c.pad_token_id = source.token("pad_token_id", pad);
}

void refuse(ConfigSource& source, const char* key, std::string_view expected) {
  if (source.reader.boolean(key, false)) {
    source.reader.fail(key, expected, true);
  }
}

/// What Llama, Mistral and Qwen2 share; `c` holds the defaults of sizes.
void read_llama_family(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", c.vocab_size);
  c.hidden_size = source.size("hidden_size", 4096);
  c.num_layers = source.layers("num_hidden_layers", 32);
  c.num_heads = source.size("num_attention_heads", 32);
  // Absent, Llama has as many as heads, the others a number of their own; null is always the
  // former.
  const bool all_heads = c.num_kv_heads == 0 || source.is_null("num_key_value_heads");
  c.num_kv_heads = source.size("num_key_value_heads", all_heads ? c.num_heads : c.num_kv_heads);
  c.head_dim = source.size("head_dim", std::max<std::int64_t>(1, c.hidden_size / c.num_heads));
  c.intermediate_size = source.size("intermediate_size", c.intermediate_size);
  c.max_positions = source.positions("max_position_embeddings", c.max_positions);
  c.norm = NormKind::kRmsNorm;
  c.norm_eps = source.reader.number("rms_norm_eps", 1e-6, 0, 1);
  c.activation = read_activation(source, "hidden_act", "silu");
  c.gated_mlp = true;
  c.mlp_bias = false;
  c.positions = Positions::kRope;
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", false);
  read_rope(source.object, {}, source.reader, c);
}

/// Qwen2 applies its window to the layers from max_window_layers on, or to those of layer_types.
void read_qwen2_window(ConfigSource& source, ModelConfig& c) {
  const bool used =
      source.reader.boolean("use_sliding_window", false) && !source.is_null("sliding_window");
  const std::int64_t window = source.positions("sliding_window", 4096);
  const std::int64_t first = source.reader.integer("max_window_layers", 28, 0, kMaxLayers);
  std::vector<bool> layers(static_cast<std::size_t>(c.num_layers));
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    layers[static_cast<std::size_t>(i)] = used && i >= first;
  }
  if (const json* types = source.reader.array("layer_types")) {
    if (types->size() != layers.size()) {
      source.reader.fail(fmt::format("'layer_types': expected {} entries, one a layer, got {}",
                                     layers.size(), types->size()));
      return;
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const json& type = (*types)[i];
      if (type != "full_attention" && type != "sliding_attention") {
        source.reader.fail("layer_types", "full_attention or sliding_attention", type);
        return;
      }
      layers[i] = type == "sliding_attention" && used;
    }
  }
  c.sliding_window = used ? window : 0;
  if (used) {
    c.windowed_layers = std::move(layers);
  }
}

}  // namespace

std::optional<std::int64_t> ConfigSource::token(const char* key,
                                                std::optional<std::int64_t> fallback) {
  const std::int64_t none = -1;
  const std::int64_t id =
      is_null(key) ? none : reader.integer(key, fallback.value_or(none), -kMaxToken, kMaxToken);
  return id < 0 ? std::nullopt : std::optional(id);
}

std::vector<std::int64_t> ConfigSource::tokens(const char* key,
                                               const std::vector<std::int64_t>& fallback) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return fallback;
  }
  if (!found->is_array()) {
    const auto id = token(key, std::nullopt);
    return id ? std::vector<std::int64_t>{*id} : std::vector<std::int64_t>{};
  }
  std::vector<std::int64_t> ids;
  for (const json& value : *found) {
    if (!value.is_number_integer() || value.get<double>() < 0 ||
        value.get<double>() > static_cast<double>(kMaxToken)) {
      reader.fail(key, "token ids", value);
      return fallback;
    }
    ids.push_back(value.get<std::int64_t>());
  }
  return ids;
}

void read_bloom(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", 250880);
  c.hidden_size = source.size("n_embed", source.size("hidden_size", 64));
  c.num_layers = source.layers("n_layer", "num_hidden_layers", 2);
  c.num_heads = source.size("n_head", "num_attention_heads", 8);
  c.num_kv_heads = c.num_heads;
  c.intermediate_size = 4 * c.hidden_size;
  c.norm_eps = source.reader.number("layer_norm_epsilon", 1e-5, 0, 1);
  c.residual_after_norm = source.reader.boolean("apply_residual_connection_post_layernorm", false);
  c.embedding_norm = true;
  c.activation = Activation::kGeluTanh;
  c.positions = Positions::kAlibi;
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", true);
  read_special_tokens(source, 1, {2}, std::nullopt, c);
}

void read_gpt2(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", 50257);
  c.hidden_size = source.size("n_embd", "hidden_size", 768);
  c.num_layers = source.layers("n_layer", "num_hidden_layers", 12);
  c.num_heads = source.size("n_head", "num_attention_heads", 12);
  c.num_kv_heads = c.num_heads;
  c.intermediate_size = source.size("n_inner", 4 * c.hidden_size);
  c.max_positions =
      source.positions("max_position_embeddings", source.positions("n_positions", 1024));
  c.norm_eps = source.reader.number("layer_norm_epsilon", 1e-5, 0, 1);
  c.activation = read_activation(source, "activation_function", "gelu_new");
  c.scale_scores = source.reader.boolean("scale_attn_weights", true);
  c.scale_scores_by_layer = source.reader.boolean("scale_attn_by_inverse_layer_idx", false);
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", true);
  refuse(source, "add_cross_attention", "false (no cross attention)");
  read_special_tokens(source, 50256, {50256}, std::nullopt, c);
}

void read_gpt_neox(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", 50432);
  c.hidden_size = source.size("hidden_size", 6144);
  c.num_layers = source.layers("num_hidden_layers", 44);
  c.num_heads = source.size("num_attention_heads", 64);
  c.num_kv_heads = c.num_heads;
  c.head_dim = c.hidden_size / c.num_heads;
  c.intermediate_size = source.size("intermediate_size", 24576);
  c.max_positions = source.positions("max_position_embeddings", 2048);
  c.norm_eps = source.reader.number("layer_norm_eps", 1e-5, 0, 1);
  c.activation = read_activation(source, "hidden_act", "gelu");
  c.parallel_residual = source.reader.boolean("use_parallel_residual", true);
  c.qkv_bias = source.reader.boolean("attention_bias", true);
  c.attention_output_bias = c.qkv_bias;
  c.positions = Positions::kRope;
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", false);
  read_rope(source.object,
            {.theta = "rotary_emb_base", .partial = "rotary_pct", .default_partial = 0.25},
            source.reader, c);
  read_special_tokens(source, 0, {2}, std::nullopt, c);
}

void read_opt(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", 50272);
  c.hidden_size = source.size("hidden_size", 768);
  c.num_layers = source.layers("num_hidden_layers", 12);
  c.num_heads = source.size("num_attention_heads", 12);
  c.num_kv_heads = c.num_heads;
  c.intermediate_size = source.size("ffn_dim", 3072);
  c.embedding_size = source.size("word_embed_proj_dim", c.hidden_size);
  c.max_positions = source.positions("max_position_embeddings", 2048);
  c.norm_affine = source.reader.boolean("layer_norm_elementwise_affine", true);
  c.norm_before = source.reader.boolean("do_layer_norm_before", true);
  c.final_norm = c.norm_before && !source.reader.boolean("_remove_final_layer_norm", false);
  c.activation = read_activation(source, "activation_function", "relu");
  c.qkv_bias = source.reader.boolean("enable_bias", true);
  c.attention_output_bias = c.qkv_bias;
  c.mlp_bias = c.qkv_bias;
  c.position_offset = 2;
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", true);
  read_special_tokens(source, 2, {2}, 1, c);
}

void read_llama(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = 32000;
  c.intermediate_size = 11008;
  c.max_positions = 2048;
  read_llama_family(source, c);
  c.qkv_bias = source.reader.boolean("attention_bias", false);
  c.attention_output_bias = c.qkv_bias;
  c.mlp_bias = source.reader.boolean("mlp_bias", false);
  read_special_tokens(source, 1, {2}, std::nullopt, c);
}

void read_mistral(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = 32000;
  c.num_kv_heads = 8;
  c.intermediate_size = 14336;
  c.max_positions = 4096 * 32;
  read_llama_family(source, c);
  c.qkv_bias = false;
  c.attention_output_bias = false;
  c.sliding_window =
      source.is_null("sliding_window") ? 0 : source.positions("sliding_window", 4096);
  read_special_tokens(source, 1, {2}, std::nullopt, c);
}

void read_qwen2(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = 151936;
  c.num_kv_heads = 32;
  c.intermediate_size = 22016;
  c.max_positions = 32768;
  read_llama_family(source, c);
  c.qkv_bias = true;
  c.attention_output_bias = false;
  read_qwen2_window(source, c);
  read_special_tokens(source, std::nullopt, {}, std::nullopt, c);
}

void read_bert(ConfigSource& source, ModelConfig& c) {
  c.vocab_size = source.size("vocab_size", 30522);
  c.hidden_size = source.size("hidden_size", 768);
  c.num_layers = source.layers("num_hidden_layers", 12);
  c.num_heads = source.size("num_attention_heads", 12);
  c.num_kv_heads = c.num_heads;
  c.intermediate_size = source.size("intermediate_size", 3072);
  c.max_positions = source.positions("max_position_embeddings", 512);
  c.type_vocab_size = source.size("type_vocab_size", 2);
  c.norm_eps = source.reader.number("layer_norm_eps", 1e-12, 0, 1);
  c.norm_before = false;
  c.embedding_norm = true;
  c.final_norm = false;
  c.activation = read_activation(source, "hidden_act", "gelu");
  c.causal = false;
  c.tied_embeddings = source.reader.boolean("tie_word_embeddings", true);
  source.reader.one_of("position_embedding_type", "absolute", {"absolute"});
  refuse(source, "is_decoder", "false (an encoder)");
  refuse(source, "add_cross_attention", "false (no cross attention)");
  ClassLabels labels = read_class_labels(source.reader, 2);
  c.num_labels = labels.count;
  c.labels = std::move(labels.names);
  read_special_tokens(source, std::nullopt, {}, 0, c);
}

}  // namespace gamelan::io
