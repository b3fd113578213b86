#include "infer/parallel/stage_links.h"

#include <algorithm>

#include "dist/collective/process_group.h"

namespace gamelan::infer {
namespace {

// Messages of the two kinds between the same ranks must not be taken for each other.
constexpr std::uint32_t kRowsTag = 1;
constexpr std::uint32_t kLogitsTag = 2;

tensor::BufferView buffer_of(tensor::MatrixView<float> x) {
  GAMELAN_CHECK(x.stride == x.columns, "rows that are sent are contiguous");
  return tensor::view_of(x.data, static_cast<std::size_t>(x.rows * x.columns));
}

dist::PointToPointOptions tagged(std::uint32_t tag) {
  dist::PointToPointOptions options;
  options.tag = tag;
  return options;
}

}  // namespace

StageLinks::StageLinks(const ParallelOptions& options, const Partition& partition)
    : group_(options.group),
      partition_(partition),
      rank_(options.group == nullptr ? 0 : options.group->rank()) {
  if (partition.tensor_size > 1) {
    stage_group_ = options.stage_group != nullptr ? options.stage_group : options.group;
  }
}

base::Status StageLinks::receive_rows(tensor::MatrixView<float> x) const {
  return group_->recv(buffer_of(x), rank_ - partition_.tensor_size, tagged(kRowsTag)).wait();
}

base::Status StageLinks::send_rows(tensor::MatrixView<float> x) const {
  return group_->send(buffer_of(x), rank_ + partition_.tensor_size, tagged(kRowsTag)).wait();
}

base::Status StageLinks::gather_columns(device::Arena& arena, std::int64_t vocabulary,
                                        tensor::MatrixView<float> mine,
                                        tensor::MatrixView<float> all) const {
  const device::Arena::Scope scope(arena);
  const bool first = partition_.tensor_rank == 0;
  const std::int64_t size = mine.rows * mine.columns;
  float* const parts = first ? arena.take<float>(size * partition_.tensor_size) : nullptr;
  const auto count = static_cast<std::size_t>(first ? size * partition_.tensor_size : 0);
  GAMELAN_RETURN_IF_ERROR(
      stage_group_->gather(buffer_of(mine), tensor::view_of(parts, count)).wait());
  for (int rank = 0; first && rank < partition_.tensor_size; ++rank) {
    const Range columns = vocabulary_range(vocabulary, partition_.tensor_size, rank);
    const tensor::MatrixView<float> part(parts + rank * size, mine.rows, mine.columns);
    for (std::int64_t row = 0; row < mine.rows; ++row) {
      std::copy_n(part.row(row), columns.count, all.row(row) + columns.first);
    }
  }
  return base::OkStatus();
}

base::Status StageLinks::send_logits(tensor::MatrixView<float> logits) const {
  return group_->send(buffer_of(logits), 0, tagged(kLogitsTag)).wait();
}

base::Status StageLinks::receive_logits(tensor::MatrixView<float> logits) const {
  const int from = (partition_.stages - 1) * partition_.tensor_size;
  return group_->recv(buffer_of(logits), from, tagged(kLogitsTag)).wait();
}

}  // namespace gamelan::infer
