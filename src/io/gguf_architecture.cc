#include "io/gguf_architecture.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>

#include "text/utf8.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

constexpr std::int64_t kMost = std::int64_t{1} << 40;  // the sizes' own limits are config.json's

/// A module: its weight and its bias have these names with ".weight" and ".bias" behind.
struct Module {
  std::string_view gguf;
  std::string_view huggingface;
  GgufLayout layout = GgufLayout::kSame;
};

/// The values that config.json is made of, under the architecture's prefix.
class Source {
 public:
  Source(const GgufFile& file, std::string_view architecture)
      : file_(file), reader_(file), prefix_(std::string(architecture) + ".") {}

  std::int64_t size(const char* key) {
    return reader_.integer(prefix_ + key, std::nullopt, 1, kMost);
  }
  std::int64_t size(const char* key, std::int64_t fallback) {
    return reader_.integer(prefix_ + key, fallback, 1, kMost);
  }
  double number(const char* key, std::optional<double> fallback) {
    return reader_.number(prefix_ + key, fallback);
  }
  bool boolean(const char* key, bool fallback) { return reader_.boolean(prefix_ + key, fallback); }
  std::string text(const char* key, const char* fallback) {
    return reader_.text(prefix_ + key, fallback);
  }
  bool has_tensor(std::string_view name) const { return file_.find_tensor(name) != nullptr; }
  const GgufTensor* tensor(std::string_view name) const { return file_.find_tensor(name); }
  void fail(const char* key, std::string_view expected, std::string_view got) {
    reader_.fail(prefix_ + key, expected, got);
  }

  /// What every architecture has, under names that each of them reads.
  json common(std::string_view model_type) {
    json config = {{"model_type", model_type},
                   {"tie_word_embeddings", !has_tensor("output.weight")}};
    if (const GgufTensor* embeddings = tensor("token_embd.weight")) {
      config["vocab_size"] = embeddings->shape.front();
    } else {
      reader_.fail("token_embd.weight", "a tensor", "nothing");
    }
    const GgufTensor* const matrix = tensor("blk.0.ffn_down.weight");
    if (matrix != nullptr && matrix->format->decode == nullptr) {
      const std::string_view name = matrix->format->name;
      config["dtype"] = name == "F16" ? "float16" : name == "BF16" ? "bfloat16" : "float32";
    }
    const auto token = [&](const char* key) {
      return reader_.optional_integer(std::string("tokenizer.ggml.") + key, 0, kMost);
    };
    const auto id = [](std::optional<std::int64_t> value) { return value ? json(*value) : json(); };
    config["bos_token_id"] = id(token("bos_token_id"));
    config["pad_token_id"] = id(token("padding_token_id"));
    json ends = json::array();
    for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
      const auto end = token(key);
      if (end && std::find(ends.begin(), ends.end(), json(*end)) == ends.end()) {
        ends.push_back(*end);
      }
    }
    config["eos_token_id"] = std::move(ends);
    config["hidden_size"] = size("embedding_length");
    config["num_hidden_layers"] = size("block_count");
    config["num_attention_heads"] = size("attention.head_count");
    return config;
  }

  base::StatusOr<ModelConfig> finish(const json& config) {
    GAMELAN_RETURN_IF_ERROR(reader_.status());
    return parse_model_config(config.dump(), file_.name());
  }

 private:
  const GgufFile& file_;
  GgufReader reader_;
  std::string prefix_;
};

/// The scaling of rotary positions: none, linear, yarn, or factors of each frequency in a tensor,
/// which is what Llama 3's scaling becomes.
void add_rope(Source& source, std::int64_t head_dim, std::int64_t positions, json& config) {
  json rope = {{"rope_type", "default"}, {"rope_theta", source.number("rope.freq_base", 10000.0)}};
  const std::int64_t rotated = source.size("rope.dimension_count", head_dim);
  if (rotated != head_dim) {
    rope["partial_rotary_factor"] = static_cast<double>(rotated) / static_cast<double>(head_dim);
  }
  const std::string type = source.text("rope.scaling.type", "none");
  if (type == "linear" || type == "yarn") {
    rope["rope_type"] = type;
    rope["factor"] = source.number("rope.scaling.factor", std::nullopt);
    rope["original_max_position_embeddings"] =
        source.size("rope.scaling.original_context_length", positions);
  } else if (type != "none") {
    source.fail("rope.scaling.type", "none, linear or yarn", type.substr(0, 60));
  }
  if (const GgufTensor* factors = source.tensor("rope_freqs.weight")) {
    if (factors->format->name != "F32" || type != "none" ||
        factors->shape != tensor::Shape{rotated / 2}) {
      source.fail(
          "rope_freqs.weight", fmt::format("F32 of {}, without another scaling", rotated / 2),
          fmt::format("{} of {}", factors->format->name, tensor::to_string(factors->shape)));
    }
    const GgufArray array{
        GgufType::kF32, factors->bytes.size() / sizeof(float), factors->bytes, {}};
    rope["rope_type"] = "longrope";
    rope["short_factor"] = rope["long_factor"] = array.floats().value_or(std::vector<float>());
    rope["attention_factor"] = 1.0;
    rope["original_max_position_embeddings"] = positions;
  }
  config["rope_scaling"] = std::move(rope);
}

json llama_family(Source& source, std::string_view model_type) {
  json config = source.common(model_type);
  const std::int64_t heads = config["num_attention_heads"];
  const std::int64_t width = config["hidden_size"];
  const std::int64_t positions = source.size("context_length");
  const std::int64_t head_dim =
      source.size("attention.key_length", std::max<std::int64_t>(1, width / heads));
  config["intermediate_size"] = source.size("feed_forward_length");
  config["num_key_value_heads"] = source.size("attention.head_count_kv", heads);
  config["head_dim"] = head_dim;
  config["max_position_embeddings"] = positions;
  config["rms_norm_eps"] = source.number("attention.layer_norm_rms_epsilon", std::nullopt);
  config["attention_bias"] = source.has_tensor("blk.0.attn_q.bias");
  config["mlp_bias"] = source.has_tensor("blk.0.ffn_up.bias");
  add_rope(source, head_dim, positions, config);
  return config;
}

json llama(Source& source) {
  return llama_family(source, "llama");
}

json qwen2(Source& source) {
  return llama_family(source, "qwen2");
}

json gpt2(Source& source) {
  json config = source.common("gpt2");
  config["n_inner"] = source.size("feed_forward_length");
  config["n_positions"] = source.size("context_length");
  config["layer_norm_epsilon"] = source.number("attention.layer_norm_epsilon", std::nullopt);
  return config;
}

json bloom(Source& source) {
  json config = source.common("bloom");
  config["layer_norm_epsilon"] = source.number("attention.layer_norm_epsilon", std::nullopt);
  return config;
}

json gpt_neox(Source& source) {
  json config = source.common("gpt_neox");
  const std::int64_t heads = config["num_attention_heads"];
  const std::int64_t width = config["hidden_size"];
  const std::int64_t positions = source.size("context_length");
  config["intermediate_size"] = source.size("feed_forward_length");
  config["max_position_embeddings"] = positions;
  config["layer_norm_eps"] = source.number("attention.layer_norm_epsilon", std::nullopt);
  config["use_parallel_residual"] = source.boolean("use_parallel_residual", true);
  config["rotary_pct"] = 1.0;
  add_rope(source, std::max<std::int64_t>(1, width / heads), positions, config);
  return config;
}

constexpr std::array<Module, 9> kLlamaBlock = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", GgufLayout::kQueries},
    {"attn_k", "self_attn.k_proj", GgufLayout::kKeys},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};
// The same, with the rows of queries and keys in HuggingFace's order.
constexpr std::array<Module, 9> kQwen2Block = [] {
  std::array<Module, 9> block = kLlamaBlock;
  for (Module& module : block) {
    module.layout = GgufLayout::kSame;
  }
  return block;
}();
constexpr std::array<Module, 3> kLlamaTop = {
    {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}}};
constexpr std::array<Module, 6> kGpt2Block = {{
    {"attn_norm", "ln_1"},
    {"attn_qkv", "attn.c_attn", GgufLayout::kTransposed},
    {"attn_output", "attn.c_proj", GgufLayout::kTransposed},
    {"ffn_norm", "ln_2"},
    {"ffn_up", "mlp.c_fc", GgufLayout::kTransposed},
    {"ffn_down", "mlp.c_proj", GgufLayout::kTransposed},
}};
constexpr std::array<Module, 4> kGpt2Top = {{{"token_embd", "transformer.wte"},
                                             {"position_embd", "transformer.wpe"},
                                             {"output_norm", "transformer.ln_f"},
                                             {"output", "lm_head"}}};
constexpr std::array<Module, 6> kBloomBlock = {{
    {"attn_norm", "input_layernorm"},
    {"attn_qkv", "self_attention.query_key_value", GgufLayout::kQkv},
    {"attn_output", "self_attention.dense"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.dense_h_to_4h"},
    {"ffn_down", "mlp.dense_4h_to_h"},
}};
constexpr std::array<Module, 4> kBloomTop = {
    {{"token_embd", "transformer.word_embeddings"},
     {"token_embd_norm", "transformer.word_embeddings_layernorm"},
     {"output_norm", "transformer.ln_f"},
     {"output", "lm_head"}}};
constexpr std::array<Module, 6> kNeoXBlock = {{
    {"attn_norm", "input_layernorm"},
    {"attn_qkv", "attention.query_key_value", GgufLayout::kQkv},
    {"attn_output", "attention.dense"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.dense_h_to_4h"},
    {"ffn_down", "mlp.dense_4h_to_h"},
}};
constexpr std::array<Module, 3> kNeoXTop = {{{"token_embd", "gpt_neox.embed_in"},
                                             {"output_norm", "gpt_neox.final_layer_norm"},
                                             {"output", "embed_out"}}};

class TableArchitecture : public GgufArchitecture {
 public:
  TableArchitecture(std::string_view name, std::string_view blocks, std::span<const Module> top,
                    std::span<const Module> block, json (*config)(Source&))
      : name_(name), blocks_(blocks), top_(top), block_(block), config_(config) {}
  std::string_view name() const { return name_; }

  std::optional<GgufNamed> name_of(std::string_view tensor) const override {
    const std::size_t dot = tensor.rfind('.');
    const std::string_view end = dot == tensor.npos ? "" : tensor.substr(dot);
    if (end != ".weight" && end != ".bias") {
      return std::nullopt;
    }
    std::string_view module = tensor.substr(0, dot);
    if (!module.starts_with("blk.")) {
      return find(top_, "", module, end);
    }
    module.remove_prefix(4);
    const std::size_t after = module.find('.');
    const std::string_view number = module.substr(0, after);
    int layer = 0;
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), layer);
    if (after == module.npos || error != std::errc() || stop != number.data() + number.size()) {
      return std::nullopt;
    }
    return find(block_, fmt::format("{}{}.", blocks_, layer), module.substr(after + 1), end);
  }

  base::StatusOr<ModelConfig> config_of(const GgufFile& file) const override {
    Source source(file, name_);
    return source.finish(config_(source));
  }

 private:
  static std::optional<GgufNamed> find(std::span<const Module> modules, const std::string& prefix,
                                       std::string_view module, std::string_view end) {
    for (const Module& known : modules) {
      if (known.gguf == module) {
        const bool of_matrix = known.layout == GgufLayout::kTransposed;
        return GgufNamed{fmt::format("{}{}{}", prefix, known.huggingface, end),
                         of_matrix && end == ".bias" ? GgufLayout::kSame : known.layout};
      }
    }
    return std::nullopt;
  }

  std::string_view name_;
  std::string_view blocks_;  // what stands before a layer's number
  std::span<const Module> top_;
  std::span<const Module> block_;
  json (*config_)(Source&);
};

}  // namespace

base::StatusOr<const GgufArchitecture*> find_gguf_architecture(const GgufFile& file) {
  static const std::array<TableArchitecture, 5> known = {
      TableArchitecture("llama", "model.layers.", kLlamaTop, kLlamaBlock, llama),
      TableArchitecture("qwen2", "model.layers.", kLlamaTop, kQwen2Block, qwen2),
      TableArchitecture("gpt2", "transformer.h.", kGpt2Top, kGpt2Block, gpt2),
      TableArchitecture("bloom", "transformer.h.", kBloomTop, kBloomBlock, bloom),
      TableArchitecture("gptneox", "gpt_neox.layers.", kNeoXTop, kNeoXBlock, gpt_neox)};
  GgufReader reader(file);
  const std::string name = reader.text("general.architecture", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  std::string names;
  for (const TableArchitecture& architecture : known) {
    if (architecture.name() == name) {
      return &architecture;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", architecture.name());
  }
  return base::unimplemented("{}: unknown architecture '{}'; known in GGUF files are {}",
                             file.name(), text::replace_invalid_utf8(name.substr(0, 60)), names);
}

}  // namespace gamelan::io
