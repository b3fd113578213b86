#include "infer/model/bert_encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "infer/layers/packed_attention.h"
#include "infer/model/architecture_names.h"
#include "infer/model/decoder.h"
#include "infer/model/weight_loader.h"
#include "kernels/cpu/elementwise.h"

namespace gamelan::infer {
namespace {

using tensor::MatrixView;

// torch.nn.functional.normalize's: a vector shorter than this is not blown up.
constexpr float kShortest = 1e-12F;

base::Status check_room(MatrixView<float> room, std::int64_t rows, std::int64_t columns,
                        std::string_view what) {
  if (room.rows != rows || room.columns != columns) {
    return base::invalid_argument("encoder: expected room for {} [{}, {}], got [{}, {}]", what,
                                  rows, columns, room.rows, room.columns);
  }
  return base::OkStatus();
}

std::int64_t sequences_of(const PackedTokens& batch) {
  return static_cast<std::int64_t>(batch.offsets.size()) - 1;
}

void normalise(MatrixView<float> x) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    double squares = 0;
    for (std::int64_t i = 0; i < x.columns; ++i) {
      squares += static_cast<double>(x.row(row)[i]) * x.row(row)[i];
    }
    const float length = std::max(static_cast<float>(std::sqrt(squares)), kShortest);
    for (std::int64_t i = 0; i < x.columns; ++i) {
      x.row(row)[i] /= length;
    }
  }
}

}  // namespace

BertEncoder::BertEncoder(io::ModelFiles files, const kernels::Context& context)
    : files_(std::move(files)), context_(context) {
  context_.workspace = &arena_;
}

base::StatusOr<std::unique_ptr<BertEncoder>> BertEncoder::load(io::ModelFiles files,
                                                               const kernels::Context& context,
                                                               const LoadOptions& options) {
  if (files.config.architecture != io::Architecture::kBert) {
    return base::unimplemented("{}: a {} model continues texts and does not encode them; bert does",
                               files.weights.path(), io::model_type_of(files.config.architecture));
  }
  std::unique_ptr<BertEncoder> encoder(new BertEncoder(std::move(files), context));
  GAMELAN_RETURN_IF_ERROR(encoder->load_layers(options));
  encoder->arena_.reset();
  return encoder;
}

base::Status BertEncoder::load_layers(const LoadOptions& options) {
  const io::ModelConfig& c = config();
  const ArchitectureNames& names = bert_names();
  GAMELAN_ASSIGN_OR_RETURN(
      const WeightLoader exact,
      WeightLoader::create(files_.weights, c, names, context_, kernels::WeightScheme::kF32));
  GAMELAN_ASSIGN_OR_RETURN(const io::WeightView table,
                           files_.weights.get(exact.full(names.token_embedding) + ".weight"));
  GAMELAN_ASSIGN_OR_RETURN(
      const WeightLoader loader,
      WeightLoader::create(files_.weights, c, names, context_,
                           options.scheme.value_or(default_scheme(files_.weights, table))));
  const auto embedding = [&](std::string_view name, std::int64_t rows) {
    return loader.embedding(loader.full(name), rows, c.hidden_size);
  };
  GAMELAN_ASSIGN_OR_RETURN(tokens_, embedding(names.token_embedding, c.vocab_size));
  GAMELAN_ASSIGN_OR_RETURN(positions_, embedding(names.position_embedding, c.max_positions));
  GAMELAN_ASSIGN_OR_RETURN(types_, embedding(names.type_embedding, c.type_vocab_size));
  GAMELAN_ASSIGN_OR_RETURN(embedding_norm_, loader.norm(loader.full(names.embedding_norm)));
  GAMELAN_ASSIGN_OR_RETURN(const Partition all, partition_of(c, 1, 1, 0));
  shape_ = loader.block_shape(all);
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    GAMELAN_ASSIGN_OR_RETURN(Block block, loader.block(i, all));
    blocks_.push_back(std::move(block));
  }
  if (exact.has("classifier")) {
    GAMELAN_ASSIGN_OR_RETURN(
        pooler_, exact.projection(exact.full("pooler.dense"), c.hidden_size, c.hidden_size, true));
    GAMELAN_ASSIGN_OR_RETURN(classifier_,
                             exact.projection("classifier", c.num_labels, c.hidden_size, true));
  }
  return base::OkStatus();
}

base::Status BertEncoder::check(const PackedTokens& batch) const {
  const io::ModelConfig& c = config();
  const auto tokens = static_cast<std::int64_t>(batch.tokens.size());
  if (batch.offsets.empty() || batch.offsets.front() != 0 || batch.offsets.back() != tokens ||
      (!batch.types.empty() && batch.types.size() != batch.tokens.size())) {
    return base::invalid_argument(
        "encoder: {} tokens, {} types and {} offsets that end at {} do not fit each other", tokens,
        batch.types.size(), batch.offsets.size(), batch.offsets.empty() ? 0 : batch.offsets.back());
  }
  for (std::size_t i = 1; i < batch.offsets.size(); ++i) {
    const std::int64_t length = batch.offsets[i] - batch.offsets[i - 1];
    if (length < 1 || length > c.max_positions) {
      return base::invalid_argument("encoder: sequence {} has {} tokens, expected 1 … {}", i - 1,
                                    length, c.max_positions);
    }
  }
  for (const text::TokenId id : batch.tokens) {
    if (id < 0 || id >= c.vocab_size) {
      return base::invalid_argument("encoder: token {}, expected 0 … {}", id, c.vocab_size - 1);
    }
  }
  for (const text::TokenId type : batch.types) {
    if (type < 0 || type >= c.type_vocab_size) {
      return base::invalid_argument("encoder: token type {}, expected 0 … {}", type,
                                    c.type_vocab_size - 1);
    }
  }
  return base::OkStatus();
}

void BertEncoder::look_up(const PackedTokens& batch, MatrixView<float> x) {
  const device::Arena::Scope scope(arena_);
  auto* const numbers = arena_.take<std::int32_t>(x.rows);
  const std::span<const std::int32_t> all(numbers, batch.tokens.size());
  tokens_.look_up(context_, batch.tokens, x);
  for (std::size_t i = 1; i < batch.offsets.size(); ++i) {
    for (std::int64_t row = batch.offsets[i - 1]; row < batch.offsets[i]; ++row) {
      numbers[row] = static_cast<std::int32_t>(row - batch.offsets[i - 1]);
    }
  }
  positions_.add(context_, all, x);
  std::fill_n(numbers, x.rows, 0);
  types_.add(context_, batch.types.empty() ? all : batch.types, x);
  embedding_norm_(context_, x, x);
}

base::StatusOr<MatrixView<float>> BertEncoder::run(const PackedTokens& batch,
                                                   bool first_rows_only) {
  GAMELAN_RETURN_IF_ERROR(check(batch));
  arena_.reset();
  Activations a = Activations::take(arena_, static_cast<std::int64_t>(batch.tokens.size()), shape_);
  auto* const first_rows = arena_.take<std::int32_t>(sequences_of(batch));
  std::copy_n(batch.offsets.begin(), sequences_of(batch), first_rows);
  if (a.x.rows == 0) {
    return a.x;
  }
  look_up(batch, a.x);
  PackedAttention attention(context_, batch.offsets, shape_.heads, shape_.head_dim);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].attend(context_, static_cast<std::int64_t>(i), attention, a);
    if (first_rows_only && i + 1 == blocks_.size()) {
      a.keep_rows({first_rows, batch.offsets.size() - 1});
    }
    GAMELAN_RETURN_IF_ERROR(blocks_[i].finish(context_, {}, a));
  }
  return a.x;
}

base::Status BertEncoder::encode(const PackedTokens& batch, MatrixView<float> hidden) {
  GAMELAN_RETURN_IF_ERROR(check_room(hidden, static_cast<std::int64_t>(batch.tokens.size()),
                                     config().hidden_size, "hidden states"));
  GAMELAN_ASSIGN_OR_RETURN(const MatrixView<float> x, run(batch, false));
  kernels::cpu::copy(context_, x, hidden);
  return base::OkStatus();
}

base::Status BertEncoder::embed(const PackedTokens& batch, Pooling pooling, bool normalize,
                                MatrixView<float> embeddings) {
  GAMELAN_RETURN_IF_ERROR(
      check_room(embeddings, sequences_of(batch), config().hidden_size, "embeddings"));
  const bool first_only = pooling == Pooling::kCls;
  GAMELAN_ASSIGN_OR_RETURN(const MatrixView<float> x, run(batch, first_only));
  if (first_only) {
    kernels::cpu::copy(context_, x, embeddings);
  } else {
    for (std::int64_t s = 0; s < embeddings.rows; ++s) {
      const std::int64_t begin = batch.offsets[static_cast<std::size_t>(s)];
      const std::int64_t end = batch.offsets[static_cast<std::size_t>(s) + 1];
      float* const mean = embeddings.row(s);
      std::fill_n(mean, x.columns, 0.0F);
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t i = 0; i < x.columns; ++i) {
          mean[i] += x.row(row)[i] / static_cast<float>(end - begin);
        }
      }
    }
  }
  if (normalize) {
    normalise(embeddings);
  }
  return base::OkStatus();
}

base::Status BertEncoder::classify(const PackedTokens& batch, MatrixView<float> logits) {
  if (classifier_.empty()) {
    return base::failed_precondition("{}: has no classifier (tensor 'classifier.weight')",
                                     files_.weights.path());
  }
  GAMELAN_RETURN_IF_ERROR(check_room(logits, sequences_of(batch), config().num_labels, "logits"));
  GAMELAN_ASSIGN_OR_RETURN(const MatrixView<float> x, run(batch, true));
  const MatrixView<float> pooled(arena_.take<float>(x.rows * x.columns), x.rows, x.columns);
  pooler_(context_, x, pooled);
  kernels::cpu::tanh(context_, pooled, pooled);
  classifier_(context_, pooled, logits);
  return base::OkStatus();
}

base::StatusOr<std::unique_ptr<EncoderModel>> load_encoder_model(std::string_view path,
                                                                 const kernels::Context& context,
                                                                 const LoadOptions& options) {
  GAMELAN_ASSIGN_OR_RETURN(io::ModelFiles files, io::load_model_files(path));
  GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<BertEncoder> encoder,
                           BertEncoder::load(std::move(files), context, options));
  return encoder;
}

}  // namespace gamelan::infer
