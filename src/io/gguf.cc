#include "io/gguf.h"

#include <deque>
#include <utility>
#include <vector>

#include "io/gguf_architecture.h"
#include "io/gguf_parts.h"
#include "io/weight_layouts.h"
#include "io/weight_rows.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

/// What the views need.
struct Owner {
  GgufParts parts;
  std::deque<ReorderedRows> reordered;
  std::deque<TransposedMatrix> transposed;
};

WeightView view_of(const GgufTensor& tensor, std::string name, const Owner& owner) {
  WeightView view{std::move(name), tensor.format->dtype,         tensor.shape,
                  tensor.bytes,    gguf_decoder(*tensor.format), owner.parts.file.name_of(tensor)};
  view.mapped = !owner.parts.mapped.empty();
  return view;
}

base::Status wrong_shape(const WeightView& view, std::string_view expected) {
  return base::data_loss("{}: tensor '{}' has shape {}, expected {}", view.file, view.name,
                         tensor::to_string(view.shape), expected);
}

/// Puts the decoder in front of `view` that hands out HuggingFace's layout.
base::Status arrange(GgufLayout layout, const ModelConfig& config, WeightView& view, Owner& owner) {
  if (layout == GgufLayout::kTransposed) {
    if (view.shape.size() != 2) {
      return wrong_shape(view, "a matrix");
    }
    view = owner.transposed.emplace_back(view).view();
    return base::OkStatus();
  }
  const bool qkv = layout == GgufLayout::kQkv;
  const std::int64_t heads = layout == GgufLayout::kKeys ? config.num_kv_heads : config.num_heads;
  const std::int64_t rows = (qkv ? 3 : 1) * heads * config.head_dim;
  if (view.shape.front() != rows || view.shape.size() > 2 || (!qkv && config.head_dim % 2 != 0)) {
    return wrong_shape(view, fmt::format("{} rows", rows));
  }
  view.decoder = &owner.reordered.emplace_back(
      view, RowOrder{qkv ? RowOrder::Kind::kHeadsOfQkv : RowOrder::Kind::kRotaryPairs, heads,
                     config.head_dim});
  return base::OkStatus();
}

/// Tensors that say again what the configuration says.
bool is_table(std::string_view name) {
  return name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd.weight");
}

base::StatusOr<std::vector<WeightView>> views_of(const GgufArchitecture& architecture,
                                                 const ModelConfig& config, Owner& owner) {
  const GgufFile& file = owner.parts.file;
  std::vector<WeightView> views;
  for (const GgufTensor& tensor : file.tensors()) {
    if (is_table(tensor.name)) {
      continue;
    }
    std::optional<GgufNamed> named = architecture.name_of(tensor.name);
    if (!named) {
      return base::unimplemented(
          "{}: tensor '{}' belongs to no part of architecture {} that is "
          "known",
          file.name_of(tensor), text::replace_invalid_utf8(tensor.name.substr(0, 100)),
          model_type_of(config.architecture));
    }
    WeightView view = view_of(tensor, std::move(named->name), owner);
    if (named->layout != GgufLayout::kSame) {
      GAMELAN_RETURN_IF_ERROR(arrange(named->layout, config, view, owner));
    }
    views.push_back(std::move(view));
  }
  return views;
}

base::StatusOr<ModelFiles> make_model(GgufParts parts) {
  auto owner = std::make_shared<Owner>();
  owner->parts = std::move(parts);
  const GgufFile& file = owner->parts.file;
  GAMELAN_ASSIGN_OR_RETURN(const GgufArchitecture* architecture, find_gguf_architecture(file));
  GAMELAN_ASSIGN_OR_RETURN(ModelConfig config, architecture->config_of(file));
  std::vector<Weights::Part> all(1);
  GAMELAN_ASSIGN_OR_RETURN(all[0].tensors, views_of(*architecture, config, *owner));
  all[0].owner = owner;
  GAMELAN_ASSIGN_OR_RETURN(Weights weights, Weights::create(file.name(), std::move(all)));
  const bool has_tokenizer = file.find("tokenizer.ggml.tokens") != nullptr;
  return ModelFiles{std::move(config), std::move(weights), has_tokenizer ? file.name() : ""};
}

}  // namespace

base::StatusOr<ModelFiles> open_gguf(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(GgufParts parts, open_gguf_parts(path));
  return make_model(std::move(parts));
}

base::StatusOr<ModelFiles> parse_gguf(std::span<const std::byte> bytes, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(GgufFile file, GgufFile::parse(bytes, name));
  GAMELAN_ASSIGN_OR_RETURN(const std::int64_t parts, count_gguf_parts(file));
  if (parts > 1) {
    return base::invalid_argument("{}: expected the bytes of a whole model, got one of {} parts",
                                  name, parts);
  }
  return make_model({{}, std::move(file)});
}

}  // namespace gamelan::io
