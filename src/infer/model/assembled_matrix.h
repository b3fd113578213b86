#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "infer/parallel/partition.h"
#include "io/weights.h"
#include "kernels/cpu/linear.h"

namespace gamelan::infer {

/// A stored matrix W [out, in] with its bias [out].
struct MatrixSource {
  io::WeightView weight;
  std::optional<io::WeightView> bias;
  /// Stored [in, out].
  bool input_first = false;
};

/// Rows first … first + count - 1 of source `source`.
struct RowRun {
  std::size_t source = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// The matrix of a projection as a rank computes it, put together from rows of stored ones and cut
/// to a range of their inputs: queries, keys and values joined, gate and values woven, one rank's
/// share. Nothing is read before reader() is called upon.
struct AssembledMatrix {
  std::vector<MatrixSource> sources;
  std::vector<RowRun> runs;
  /// Columns of W.
  Range inputs;

  std::int64_t rows() const;
  /// Valid as long as this object.
  kernels::cpu::RowReader reader() const;
  /// The sources' biases in the order of the rows; empty when they have none.
  std::vector<float> bias() const;
  /// The files' pages no longer count as this process's memory.
  void release_pages() const;
};

/// All rows of one source.
AssembledMatrix whole_matrix(MatrixSource source, std::int64_t rows, Range inputs);

}  // namespace gamelan::infer
