#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "infer/layers/block.h"
#include "infer/layers/embedding.h"
#include "infer/layers/norm.h"
#include "infer/layers/projection.h"
#include "infer/model/architecture_names.h"
#include "infer/model/assembled_matrix.h"
#include "infer/parallel/partition.h"
#include "io/model_config.h"
#include "io/weights.h"
#include "kernels/context.h"
#include "kernels/weight_scheme.h"

namespace gamelan::infer {

/// Makes a model's layers from its checkpoint, each in one pass over the rows that this rank needs.
/// Errors name file and tensor. Borrows everything that it is made of.
class WeightLoader {
 public:
  /// kNotFound when the checkpoint has the token embedding under none of the known prefixes.
  static base::StatusOr<WeightLoader> create(const io::Weights& weights,
                                             const io::ModelConfig& config,
                                             const ArchitectureNames& names,
                                             const kernels::Context& context,
                                             kernels::WeightScheme scheme);

  /// `name` with the checkpoint's prefix.
  std::string full(std::string_view name) const;
  bool has(const std::string& layer) const;

  /// Layers by their full name, "transformer.h.0.ln_1".
  base::StatusOr<Norm> norm(const std::string& layer) const;
  /// [rows, columns].
  base::StatusOr<Embedding> embedding(const std::string& layer, std::int64_t rows,
                                      std::int64_t columns) const;
  base::StatusOr<MatrixSource> matrix(const std::string& layer, std::int64_t outputs,
                                      std::int64_t inputs, bool bias) const;
  base::StatusOr<Projection> pack(const AssembledMatrix& matrix) const;
  /// A whole matrix, stored [out, in].
  base::StatusOr<Projection> projection(const std::string& layer, std::int64_t outputs,
                                        std::int64_t inputs, bool bias) const;

  BlockShape block_shape(const Partition& partition) const;
  base::StatusOr<Block> block(std::int64_t layer, const Partition& partition) const;

 private:
  WeightLoader(const io::Weights& weights, const io::ModelConfig& config,
               const ArchitectureNames& names, const kernels::Context& context,
               kernels::WeightScheme scheme)
      : weights_(weights), config_(config), names_(names), context_(context), scheme_(scheme) {}

  std::string in_block(std::int64_t layer, std::string_view name) const;
  base::StatusOr<MatrixSource> block_matrix(std::int64_t layer, std::string_view name,
                                            std::int64_t outputs, std::int64_t inputs,
                                            bool bias) const;
  base::StatusOr<AssembledMatrix> qkv(std::int64_t layer, const Partition& partition) const;
  base::StatusOr<AssembledMatrix> up(std::int64_t layer, const Partition& partition) const;
  /// All rows, the inputs of `share`; the bias on one rank only.
  base::StatusOr<AssembledMatrix> share_of(std::int64_t layer, std::string_view name,
                                           std::int64_t inputs, Range share, bool bias,
                                           const Partition& partition) const;

  const io::Weights& weights_;
  const io::ModelConfig& config_;
  const ArchitectureNames& names_;
  const kernels::Context& context_;
  kernels::WeightScheme scheme_;
  std::string prefix_;
};

}  // namespace gamelan::infer
