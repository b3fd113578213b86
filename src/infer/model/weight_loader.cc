#include "infer/model/weight_loader.h"

#include <optional>
#include <utility>

#include "io/int4_weights.h"
#include "io/weight_rows.h"

namespace gamelan::infer {
namespace {

std::vector<float> read_vector(const io::WeightView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.shape[0]));
  io::read_row(view, 0, values);
  return values;
}

}  // namespace

base::StatusOr<WeightLoader> WeightLoader::create(const io::Weights& weights,
                                                  const io::ModelConfig& config,
                                                  const ArchitectureNames& names,
                                                  const kernels::Context& context,
                                                  kernels::WeightScheme scheme) {
  WeightLoader loader(weights, config, names, context, scheme);
  for (const std::string_view prefix : names.prefixes) {
    loader.prefix_ = prefix;
    if (loader.has(loader.full(names.token_embedding))) {
      return loader;
    }
  }
  loader.prefix_ = names.prefixes.front();
  return weights.get(loader.full(names.token_embedding) + ".weight").status();
}

std::string WeightLoader::full(std::string_view name) const {
  return prefix_ + std::string(name);
}

bool WeightLoader::has(const std::string& layer) const {
  return weights_.find(layer + ".weight") != nullptr;
}

std::string WeightLoader::in_block(std::int64_t layer, std::string_view name) const {
  return fmt::format("{}{}{}.{}", prefix_, names_.blocks, layer, name);
}

base::StatusOr<Norm> WeightLoader::norm(const std::string& layer) const {
  Norm norm{config_.norm, static_cast<float>(config_.norm_eps), {}, {}};
  if (!config_.norm_affine) {
    return norm;
  }
  // Old BERT checkpoints have TensorFlow's names.
  const bool old = !has(layer) && weights_.find(layer + ".gamma") != nullptr;
  const tensor::Shape shape{config_.hidden_size};
  GAMELAN_ASSIGN_OR_RETURN(const io::WeightView weight,
                           weights_.get(layer + (old ? ".gamma" : ".weight"), shape));
  norm.weight = read_vector(weight);
  if (config_.norm == io::NormKind::kLayerNorm) {
    GAMELAN_ASSIGN_OR_RETURN(const io::WeightView bias,
                             weights_.get(layer + (old ? ".beta" : ".bias"), shape));
    norm.bias = read_vector(bias);
  }
  return norm;
}

base::StatusOr<Embedding> WeightLoader::embedding(const std::string& layer, std::int64_t rows,
                                                  std::int64_t columns) const {
  GAMELAN_ASSIGN_OR_RETURN(io::WeightView view, weights_.get(layer + ".weight", {rows, columns}));
  return Embedding(std::move(view));
}

base::StatusOr<MatrixSource> WeightLoader::matrix(const std::string& layer, std::int64_t outputs,
                                                  std::int64_t inputs, bool bias) const {
  MatrixSource source;
  GAMELAN_ASSIGN_OR_RETURN(source.weight, weights_.get(layer + ".weight", {outputs, inputs}));
  if (bias) {
    GAMELAN_ASSIGN_OR_RETURN(source.bias, weights_.get(layer + ".bias", {outputs}));
  }
  return source;
}

base::StatusOr<MatrixSource> WeightLoader::block_matrix(std::int64_t layer, std::string_view name,
                                                        std::int64_t outputs, std::int64_t inputs,
                                                        bool bias) const {
  const std::string full_name = in_block(layer, name);
  if (!names_.input_first) {
    return matrix(full_name, outputs, inputs, bias);
  }
  GAMELAN_ASSIGN_OR_RETURN(MatrixSource source, matrix(full_name, inputs, outputs, false));
  if (bias) {
    GAMELAN_ASSIGN_OR_RETURN(source.bias, weights_.get(full_name + ".bias", {outputs}));
  }
  source.input_first = true;
  return source;
}

base::StatusOr<Projection> WeightLoader::pack(const AssembledMatrix& matrix) const {
  kernels::cpu::PackOptions options{.scheme = scheme_};
  // A checkpoint in int4 keeps its codes only in groups of its own size.
  const std::optional<std::int64_t> stored = io::int4_group_size(matrix.sources.front().weight);
  if (stored == 64 || stored == 128) {
    options.group_size = *stored;
  }
  auto packed = kernels::cpu::PackedLinear::pack(context_, matrix.rows(), matrix.inputs.count,
                                                 matrix.reader(), options);
  if (!packed.ok()) {
    const io::WeightView& view = matrix.sources.front().weight;
    return base::annotate(packed.status(), fmt::format("{}: tensor '{}'", view.file, view.name));
  }
  Projection projection{*std::move(packed), matrix.bias()};
  matrix.release_pages();
  return projection;
}

base::StatusOr<Projection> WeightLoader::projection(const std::string& layer, std::int64_t outputs,
                                                    std::int64_t inputs, bool bias) const {
  GAMELAN_ASSIGN_OR_RETURN(MatrixSource source, matrix(layer, outputs, inputs, bias));
  return pack(whole_matrix(std::move(source), outputs, {0, inputs}));
}

BlockShape WeightLoader::block_shape(const Partition& partition) const {
  return {config_.hidden_size, partition.heads.queries.count,
          static_cast<std::int64_t>(partition.heads.kv_heads.size()), config_.head_dim,
          partition.mlp.count};
}

base::StatusOr<AssembledMatrix> WeightLoader::qkv(std::int64_t layer,
                                                  const Partition& partition) const {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t queries = config_.num_heads * dim;
  const std::int64_t keys = config_.num_kv_heads * dim;
  AssembledMatrix joined{{}, {}, {0, config_.hidden_size}};
  const bool separate = names_.arrangement == QkvArrangement::kSeparate;
  const std::array<std::int64_t, 3> outputs = {separate ? queries : queries + 2 * keys, keys, keys};
  for (std::size_t i = 0; i < (separate ? 3U : 1U); ++i) {
    GAMELAN_ASSIGN_OR_RETURN(
        MatrixSource source,
        block_matrix(layer, names_.qkv[i], outputs[i], config_.hidden_size, config_.qkv_bias));
    joined.sources.push_back(std::move(source));
  }
  // Part 0 are the queries, 1 the keys, 2 the values.
  const auto add_head = [&](std::size_t part, std::int64_t head) {
    const auto n = static_cast<std::int64_t>(part);
    switch (names_.arrangement) {
      case QkvArrangement::kSeparate:
        joined.runs.push_back({part, head * dim, dim});
        break;
      case QkvArrangement::kJoined:
        joined.runs.push_back({0, (n > 0 ? queries + (n - 1) * keys : 0) + head * dim, dim});
        break;
      case QkvArrangement::kInterleaved:
        joined.runs.push_back({0, (head * 3 + n) * dim, dim});
        break;
    }
  };
  for (std::int64_t head = partition.heads.queries.first; head < partition.heads.queries.end();
       ++head) {
    add_head(0, head);
  }
  for (const std::size_t part : {1U, 2U}) {
    for (const std::int64_t head : partition.heads.kv_heads) {
      add_head(part, head);
    }
  }
  return joined;
}

base::StatusOr<AssembledMatrix> WeightLoader::up(std::int64_t layer,
                                                 const Partition& partition) const {
  const std::int64_t width = config_.intermediate_size;
  const Range mine = partition.mlp;
  GAMELAN_ASSIGN_OR_RETURN(
      MatrixSource values,
      block_matrix(layer, names_.up, width, config_.hidden_size, config_.mlp_bias));
  AssembledMatrix matrix{{std::move(values)}, {}, {0, config_.hidden_size}};
  if (!config_.gated_mlp) {
    matrix.runs.push_back({0, mine.first, mine.count});
    return matrix;
  }
  GAMELAN_ASSIGN_OR_RETURN(MatrixSource gate, block_matrix(layer, names_.gate, width,
                                                           config_.hidden_size, config_.mlp_bias));
  matrix.sources.push_back(std::move(gate));
  for (std::int64_t row = 0; row < 2 * mine.count; ++row) {
    const kernels::cpu::GatedRow from = kernels::cpu::gated_row(row, mine.count);
    const RowRun next{from.is_gate ? 1U : 0U, mine.first + from.index, 1};
    RowRun* const last = matrix.runs.empty() ? nullptr : &matrix.runs.back();
    if (last != nullptr && last->source == next.source && last->first + last->count == next.first) {
      ++last->count;
    } else {
      matrix.runs.push_back(next);
    }
  }
  return matrix;
}

base::StatusOr<AssembledMatrix> WeightLoader::share_of(std::int64_t layer, std::string_view name,
                                                       std::int64_t inputs, Range share, bool bias,
                                                       const Partition& partition) const {
  GAMELAN_ASSIGN_OR_RETURN(
      MatrixSource source,
      block_matrix(layer, name, config_.hidden_size, inputs, bias && partition.adds_residual()));
  return whole_matrix(std::move(source), config_.hidden_size, share);
}

base::StatusOr<Block> WeightLoader::block(std::int64_t layer, const Partition& partition) const {
  const std::int64_t dim = config_.head_dim;
  const Range queries = partition.heads.queries;
  Block::Weights weights;
  GAMELAN_ASSIGN_OR_RETURN(weights.attention_norm, norm(in_block(layer, names_.attention_norm)));
  GAMELAN_ASSIGN_OR_RETURN(const AssembledMatrix qkv_matrix, qkv(layer, partition));
  GAMELAN_ASSIGN_OR_RETURN(weights.qkv, pack(qkv_matrix));
  GAMELAN_ASSIGN_OR_RETURN(const AssembledMatrix output,
                           share_of(layer, names_.attention_output, config_.num_heads * dim,
                                    {queries.first * dim, queries.count * dim},
                                    config_.attention_output_bias, partition));
  GAMELAN_ASSIGN_OR_RETURN(weights.attention_output, pack(output));
  GAMELAN_ASSIGN_OR_RETURN(weights.mlp_norm, norm(in_block(layer, names_.mlp_norm)));
  GAMELAN_ASSIGN_OR_RETURN(const AssembledMatrix up_matrix, up(layer, partition));
  GAMELAN_ASSIGN_OR_RETURN(weights.up, pack(up_matrix));
  GAMELAN_ASSIGN_OR_RETURN(const AssembledMatrix down,
                           share_of(layer, names_.down, config_.intermediate_size, partition.mlp,
                                    config_.mlp_bias, partition));
  GAMELAN_ASSIGN_OR_RETURN(weights.down, pack(down));
  return Block(config_, block_shape(partition), partition.adds_residual(), std::move(weights));
}

}  // namespace gamelan::infer
