// Decoder's way from a checkpoint to layers.

#include <utility>

#include "dist/collective/process_group.h"
#include "infer/model/architecture_names.h"
#include "infer/model/decoder.h"
#include "infer/model/weight_loader.h"
#include "io/int4_weights.h"
#include "io/int8_weights.h"

namespace gamelan::infer {

kernels::WeightScheme default_scheme(const io::Weights& weights,
                                     const io::WeightView& token_embedding) {
  for (const io::WeightView& view : weights.tensors()) {
    if (io::storage_name_of(view) == io::kInt8StorageName) {
      return kernels::WeightScheme::kInt8;
    }
    if (io::storage_name_of(view) == io::kInt4StorageName) {
      return kernels::WeightScheme::kInt4;
    }
  }
  const bool is_narrow =
      token_embedding.dtype == tensor::DType::kBF16 || token_embedding.dtype == tensor::DType::kF16;
  // Quantised numbers are exact in f32, but nobody keeps them that way to have them widened.
  return is_narrow || !token_embedding.plain() ? kernels::WeightScheme::kBF16
                                               : kernels::WeightScheme::kF32;
}

base::StatusOr<std::unique_ptr<Decoder>> Decoder::load(io::ModelFiles files,
                                                       const kernels::Context& context,
                                                       const LoadOptions& options) {
  if (!files.config.causal) {
    return base::unimplemented(
        "{}: a {} model reads texts and does not continue them; those that do are bloom, gpt2, "
        "gpt_neox, opt, llama, mistral, qwen2",
        files.weights.path(), io::model_type_of(files.config.architecture));
  }
  const ParallelOptions& parallel = options.parallel;
  const int ranks = parallel.group == nullptr ? 1 : parallel.group->size();
  if (ranks != parallel.tensor_size * parallel.pipeline_size) {
    return base::invalid_argument(
        "tensor parallel size {} x pipeline parallel size {}: expected as many ranks, got {}",
        parallel.tensor_size, parallel.pipeline_size, ranks);
  }
  if (parallel.tensor_size > 1 && parallel.pipeline_size > 1 && parallel.stage_group == nullptr) {
    return base::invalid_argument(
        "tensor and pipeline parallel together: expected a group for the ranks of a stage");
  }
  const auto partition = partition_of(files.config, parallel.tensor_size, parallel.pipeline_size,
                                      parallel.group == nullptr ? 0 : parallel.group->rank());
  if (!partition.ok()) {
    return base::annotate(partition.status(), files.weights.path());
  }
  const ArchitectureNames& names = names_of(files.config.architecture);
  GAMELAN_ASSIGN_OR_RETURN(const WeightLoader loader,
                           WeightLoader::create(files.weights, files.config, names, context,
                                                kernels::WeightScheme::kF32));
  GAMELAN_ASSIGN_OR_RETURN(const io::WeightView embedding,
                           files.weights.get(loader.full(names.token_embedding) + ".weight"));
  const kernels::WeightScheme scheme =
      options.scheme.value_or(default_scheme(files.weights, embedding));
  std::unique_ptr<Decoder> decoder(
      new Decoder(std::move(files), context, *partition, options, scheme));
  GAMELAN_RETURN_IF_ERROR(decoder->load_layers());
  decoder->arena_.reset();
  return decoder;
}

base::Status Decoder::load_layers() {
  const ArchitectureNames& names = names_of(config().architecture);
  GAMELAN_ASSIGN_OR_RETURN(
      const WeightLoader loader,
      WeightLoader::create(files_.weights, files_.config, names, context_, scheme_));
  shape_ = loader.block_shape(partition_);
  if (partition_.first_stage()) {
    GAMELAN_ASSIGN_OR_RETURN(
        token_embedding_, loader.embedding(loader.full(names.token_embedding), config().vocab_size,
                                           config().embedding_size));
    if (!names.position_embedding.empty()) {
      GAMELAN_ASSIGN_OR_RETURN(position_embedding_,
                               loader.embedding(loader.full(names.position_embedding),
                                                config().max_positions + config().position_offset,
                                                config().hidden_size));
    }
    if (config().embedding_size != config().hidden_size) {
      GAMELAN_ASSIGN_OR_RETURN(
          project_in_, loader.projection(loader.full(names.project_in), config().hidden_size,
                                         config().embedding_size, false));
    }
    if (config().embedding_norm) {
      GAMELAN_ASSIGN_OR_RETURN(embedding_norm_, loader.norm(loader.full(names.embedding_norm)));
    }
  }
  blocks_.reserve(static_cast<std::size_t>(partition_.layers.count));
  for (std::int64_t i = partition_.layers.first; i < partition_.layers.end(); ++i) {
    GAMELAN_ASSIGN_OR_RETURN(Block block, loader.block(i, partition_));
    blocks_.push_back(std::move(block));
  }
  return partition_.last_stage() ? load_head() : base::OkStatus();
}

base::Status Decoder::load_head() {
  const ArchitectureNames& names = names_of(config().architecture);
  GAMELAN_ASSIGN_OR_RETURN(
      const WeightLoader loader,
      WeightLoader::create(files_.weights, files_.config, names, context_, scheme_));
  if (config().final_norm) {
    GAMELAN_ASSIGN_OR_RETURN(head_.norm, loader.norm(loader.full(names.final_norm)));
  }
  const std::int64_t width = config().embedding_size;
  if (width != config().hidden_size) {
    GAMELAN_ASSIGN_OR_RETURN(head_.project, loader.projection(loader.full(names.project_out), width,
                                                              config().hidden_size, false));
  }
  // A head of its own counts even where the configuration calls it tied: fine-tuned ones differ.
  const std::string own(names.head);
  const bool tied = config().tied_embeddings && !loader.has(own);
  GAMELAN_ASSIGN_OR_RETURN(MatrixSource source,
                           loader.matrix(tied ? loader.full(names.token_embedding) : own,
                                         config().vocab_size, width, false));
  AssembledMatrix matrix{{std::move(source)},
                         {{0, partition_.vocabulary.first, partition_.vocabulary.count}},
                         {0, width}};
  GAMELAN_ASSIGN_OR_RETURN(head_.vocabulary, loader.pack(matrix));
  return base::OkStatus();
}

}  // namespace gamelan::infer
