#pragma once

#include <cstdint>

#include "base/status.h"
#include "device/arena.h"
#include "infer/model/load_model.h"
#include "infer/parallel/partition.h"
#include "infer/parallel/tensor_sum.h"
#include "tensor/matrix_view.h"

namespace gamelan::infer {

/// How the ranks of one model reach each other: rows go from stage to stage between the ranks of
/// equal tensor_rank, shares are summed within a stage, logits go to rank 0. For one rank alone
/// every operation does nothing.
class StageLinks {
 public:
  StageLinks() = default;
  StageLinks(const ParallelOptions& options, const Partition& partition);

  TensorSum sum() const { return {stage_group_}; }
  /// Rows from the stage before, to the stage after. REQUIRES: x is contiguous; there is such a
  /// stage.
  base::Status receive_rows(tensor::MatrixView<float> x) const;
  base::Status send_rows(tensor::MatrixView<float> x) const;

  /// Whether this rank is rank 0, which gets the last stage's logits.
  bool wants_logits() const { return partition_.stage == 0 && partition_.tensor_rank == 0; }

  /// The columns of all ranks of this stage, `mine` [rows, widest_vocabulary] of each, joined on
  /// the first of them: `all` [rows, vocabulary], which may be anything on the others.
  base::Status gather_columns(device::Arena& arena, std::int64_t vocabulary,
                              tensor::MatrixView<float> mine, tensor::MatrixView<float> all) const;
  /// From the first rank of the last stage to rank 0, when these are two. REQUIRES: contiguous.
  base::Status send_logits(tensor::MatrixView<float> logits) const;
  base::Status receive_logits(tensor::MatrixView<float> logits) const;

 private:
  dist::ProcessGroup* group_ = nullptr;
  dist::ProcessGroup* stage_group_ = nullptr;  // null when a stage is one rank
  Partition partition_;
  int rank_ = 0;
};

}  // namespace gamelan::infer
