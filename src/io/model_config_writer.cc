#include "io/model_config_writer.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "io/atomic_file.h"
#include "io/class_labels.h"
#include "io/json_file.h"

namespace gamelan::io {
namespace {

using json = nlohmann::ordered_json;

const char* name_of_activation(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_new";
    case Activation::kRelu:
      return "relu";
    case Activation::kSilu:
      break;
  }
  return "silu";
}

const char* name_of_dtype(tensor::DType dtype) {
  switch (dtype) {
    case tensor::DType::kF16:
      return "float16";
    case tensor::DType::kBF16:
      return "bfloat16";
    case tensor::DType::kF64:
      return "float64";
    default:
      return "float32";
  }
}

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

void add_common(const ModelConfig& c, json& object) {
  if (!c.class_name.empty()) {
    object["architectures"] = {c.class_name};
  }
  object["model_type"] = model_type_of(c.architecture);
  if (c.dtype) {
    object["dtype"] = name_of_dtype(*c.dtype);
  }
  object["vocab_size"] = c.vocab_size;
  object["tie_word_embeddings"] = c.tied_embeddings;
  object["bos_token_id"] = or_null(c.bos_token_id);
  object["eos_token_id"] = c.eos_token_ids.empty()       ? json(nullptr)
                           : c.eos_token_ids.size() == 1 ? json(c.eos_token_ids.front())
                                                         : json(c.eos_token_ids);
  object["pad_token_id"] = or_null(c.pad_token_id);
}

/// The names that most architectures share.
void add_sizes(const ModelConfig& c, json& object) {
  object["hidden_size"] = c.hidden_size;
  object["num_hidden_layers"] = c.num_layers;
  object["num_attention_heads"] = c.num_heads;
  object["max_position_embeddings"] = c.max_positions;
}

/// A factor of which int(head_dim * factor) is rotary_dim: the quotient may be rounded down.
double partial_factor(const ModelConfig& c) {
  const auto dim = static_cast<double>(c.head_dim);
  double factor = static_cast<double>(c.rope.rotary_dim) / dim;
  if (static_cast<std::int64_t>(dim * factor) < c.rope.rotary_dim) {
    factor = std::nextafter(factor, std::numeric_limits<double>::infinity());
  }
  return factor;
}

void add_scaling(const RopeConfig& r, json& rope) {
  const auto add = [&rope](const char* key, const std::optional<double>& value) {
    if (value) {
      rope[key] = *value;
    }
  };
  add("factor", r.factor);
  add("attention_factor", r.attention_factor);
  if (r.original_max_positions > 0) {
    rope["original_max_position_embeddings"] = r.original_max_positions;
  }
  if (r.kind == RopeKind::kYarn) {
    rope["beta_fast"] = r.beta_fast;
    rope["beta_slow"] = r.beta_slow;
    add("mscale", r.mscale);
    add("mscale_all_dim", r.mscale_all_dim);
    rope["truncate"] = r.truncate;
  }
  if (r.kind == RopeKind::kLlama3) {
    rope["low_freq_factor"] = r.low_freq_factor;
    rope["high_freq_factor"] = r.high_freq_factor;
  }
  if (r.kind == RopeKind::kLongRope) {
    rope["short_factor"] = r.short_factor;
    rope["long_factor"] = r.long_factor;
  }
}

void add_rope(const ModelConfig& c, json& object) {
  json rope = {{"rope_type", name_of(c.rope.kind)}, {"rope_theta", c.rope.theta}};
  if (c.architecture == Architecture::kGptNeoX || c.rope.rotary_dim != c.head_dim) {
    rope["partial_rotary_factor"] = partial_factor(c);
  }
  if (c.rope.kind != RopeKind::kDefault) {
    add_scaling(c.rope, rope);
  }
  object["rope_parameters"] = rope;
}

void add_bloom(const ModelConfig& c, json& object) {
  object["hidden_size"] = c.hidden_size;
  object["n_layer"] = c.num_layers;
  object["n_head"] = c.num_heads;
  object["layer_norm_epsilon"] = c.norm_eps;
  object["apply_residual_connection_post_layernorm"] = c.residual_after_norm;
}

void add_gpt2(const ModelConfig& c, json& object) {
  object["n_embd"] = c.hidden_size;
  object["n_layer"] = c.num_layers;
  object["n_head"] = c.num_heads;
  object["n_inner"] = c.intermediate_size;
  object["n_positions"] = c.max_positions;
  object["layer_norm_epsilon"] = c.norm_eps;
  object["activation_function"] = name_of_activation(c.activation);
  object["scale_attn_weights"] = c.scale_scores;
  object["scale_attn_by_inverse_layer_idx"] = c.scale_scores_by_layer;
}

void add_gpt_neox(const ModelConfig& c, json& object) {
  add_sizes(c, object);
  object["intermediate_size"] = c.intermediate_size;
  object["layer_norm_eps"] = c.norm_eps;
  object["hidden_act"] = name_of_activation(c.activation);
  object["use_parallel_residual"] = c.parallel_residual;
  object["attention_bias"] = c.qkv_bias;
  add_rope(c, object);
}

void add_opt(const ModelConfig& c, json& object) {
  add_sizes(c, object);
  object["ffn_dim"] = c.intermediate_size;
  object["word_embed_proj_dim"] = c.embedding_size;
  object["layer_norm_elementwise_affine"] = c.norm_affine;
  object["do_layer_norm_before"] = c.norm_before;
  object["_remove_final_layer_norm"] = c.norm_before && !c.final_norm;
  object["activation_function"] = name_of_activation(c.activation);
  object["enable_bias"] = c.qkv_bias;
}

void add_llama_family(const ModelConfig& c, json& object) {
  add_sizes(c, object);
  object["num_key_value_heads"] = c.num_kv_heads;
  object["head_dim"] = c.head_dim;
  object["intermediate_size"] = c.intermediate_size;
  object["rms_norm_eps"] = c.norm_eps;
  object["hidden_act"] = name_of_activation(c.activation);
  add_rope(c, object);
  if (c.architecture == Architecture::kLlama) {
    object["attention_bias"] = c.qkv_bias;
    object["mlp_bias"] = c.mlp_bias;
  } else {
    object["sliding_window"] = c.sliding_window > 0 ? json(c.sliding_window) : json(nullptr);
  }
  if (c.architecture == Architecture::kQwen2) {
    object["use_sliding_window"] = c.sliding_window > 0;
    object["max_window_layers"] = c.num_layers;
    json types = json::array();
    for (std::int64_t i = 0; i < c.num_layers; ++i) {
      types.push_back(window_of_layer(c, i) > 0 ? "sliding_attention" : "full_attention");
    }
    object["layer_types"] = types;
  }
}

void add_bert(const ModelConfig& c, json& object) {
  add_sizes(c, object);
  object["intermediate_size"] = c.intermediate_size;
  object["type_vocab_size"] = c.type_vocab_size;
  object["layer_norm_eps"] = c.norm_eps;
  object["hidden_act"] = name_of_activation(c.activation);
  if (c.labels.empty()) {
    object["num_labels"] = c.num_labels;
    return;
  }
  for (std::size_t i = 0; i < c.labels.size(); ++i) {
    object["id2label"][std::to_string(i)] = c.labels[i];
    object["label2id"][c.labels[i]] = i;
  }
}

}  // namespace

std::string format_model_config(const ModelConfig& config) {
  json object = json::object();
  add_common(config, object);
  switch (config.architecture) {
    case Architecture::kBloom:
      add_bloom(config, object);
      break;
    case Architecture::kGpt2:
      add_gpt2(config, object);
      break;
    case Architecture::kGptNeoX:
      add_gpt_neox(config, object);
      break;
    case Architecture::kOpt:
      add_opt(config, object);
      break;
    case Architecture::kLlama:
    case Architecture::kMistral:
    case Architecture::kQwen2:
      add_llama_family(config, object);
      break;
    case Architecture::kBert:
      add_bert(config, object);
      break;
  }
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

base::Status save_model_config(std::string_view folder, const ModelConfig& config) {
  return write_file((std::filesystem::path(folder) / "config.json").string(),
                    format_model_config(config));
}

}  // namespace gamelan::io
