#include "train/data/ordered_gather.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tensor/shape.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

constexpr std::size_t kMaxDimensions = 16;

// What each rank says about its rows before any are sent.
struct Part {
  std::int64_t rows = 0;
  std::int64_t indices = 0;
  std::int64_t size = 0;
  std::int64_t scalar_type = 0;
  std::int64_t dimensions = 0;  // trailing ones
  std::array<std::int64_t, kMaxDimensions> sizes = {};

  tensor::Shape shape() const { return {sizes.begin(), sizes.begin() + dimensions}; }
};
constexpr std::size_t kPartWords = sizeof(Part) / sizeof(std::int64_t);

Part describe(const at::Tensor& rows, std::size_t indices, std::size_t size) {
  TORCH_CHECK(
      rows.defined() && rows.dim() >= 1 && rows.dim() <= static_cast<std::int64_t>(kMaxDimensions),
      "expected a tensor with a row for each sample, got ", rows.defined() ? rows.dim() : 0,
      " dimensions");
  Part part;
  part.rows = rows.size(0);
  part.indices = static_cast<std::int64_t>(indices);
  part.size = static_cast<std::int64_t>(size);
  part.scalar_type = static_cast<std::int64_t>(dtype_of(rows.scalar_type()));
  part.dimensions = rows.dim() - 1;
  std::copy(rows.sizes().begin() + 1, rows.sizes().end(), part.sizes.begin());
  return part;
}

// Looks at the same numbers on every rank, so every rank throws the same.
void check_parts(const std::vector<Part>& parts) {
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const Part& part = parts[rank];
    TORCH_CHECK(part.rows == part.indices, "gather_in_order: rank ", rank, " has ", part.rows,
                " rows and ", part.indices, " indices");
    TORCH_CHECK(part.size == parts[0].size, "gather_in_order: rank ", rank,
                " expects a data set of ", part.size, " samples, rank 0 one of ", parts[0].size);
    TORCH_CHECK(part.scalar_type == parts[0].scalar_type && part.shape() == parts[0].shape(),
                "gather_in_order: rank ", rank, " has rows ", tensor::to_string(part.shape()),
                " of ", tensor::name_of(static_cast<tensor::DType>(part.scalar_type)),
                ", rank 0 rows ", tensor::to_string(parts[0].shape()), " of ",
                tensor::name_of(static_cast<tensor::DType>(parts[0].scalar_type)));
  }
}

// For each sample the row of the gathered [ranks, most, …] that it is taken from.
at::Tensor sources(const std::vector<Part>& parts, const at::Tensor& indices, std::int64_t most) {
  const std::int64_t size = parts[0].size;
  at::Tensor result = at::full({size}, -1, at::kLong);
  auto* source = result.data_ptr<std::int64_t>();
  const auto* index = indices.const_data_ptr<std::int64_t>();
  std::int64_t covered = 0;
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    for (std::int64_t i = 0; i < parts[rank].rows; ++i) {
      const std::int64_t row = static_cast<std::int64_t>(rank) * most + i;
      TORCH_CHECK(index[row] >= 0 && index[row] < size, "gather_in_order: rank ", rank,
                  " has a row for sample ", index[row], " of a data set of ", size, " samples");
      if (source[index[row]] < 0) {
        source[index[row]] = row;
        ++covered;
      }
    }
  }
  if (covered != size) {
    const auto missing = std::find(source, source + size, -1) - source;
    TORCH_CHECK(false, "gather_in_order: no rank has a row for sample ", missing, "; ", covered,
                " of ", size, " samples are covered");
  }
  return result;
}

}  // namespace

at::Tensor gather_in_order(dist::ProcessGroup& group, const at::Tensor& rows,
                           std::span<const std::size_t> indices, std::size_t size,
                           const OrderedGatherOptions& options) {
  const auto ranks = static_cast<std::size_t>(group.size());
  TORCH_CHECK(options.root >= OrderedGatherOptions::kAllRanks && options.root < group.size(),
              "expected a root below ", group.size(), " or kAllRanks, got ", options.root);
  const dist::CollectiveOptions collective{options.timeout, {}};

  Part mine = describe(rows, indices.size(), size);
  std::vector<Part> parts(ranks);
  throw_if_error(group
                     .all_gather(tensor::view_of(&mine.rows, kPartWords),
                                 tensor::view_of(&parts[0].rows, ranks * kPartWords), collective)
                     .wait());
  check_parts(parts);

  std::int64_t most = 0;
  for (const Part& part : parts) {
    most = std::max(most, part.rows);
  }
  const auto count = static_cast<std::int64_t>(ranks);
  const at::Tensor my_indices = at::zeros({most}, at::kLong);
  std::copy(indices.begin(), indices.end(), my_indices.data_ptr<std::int64_t>());
  const at::Tensor all_indices = at::empty({count, most}, at::kLong);
  throw_if_error(group.all_gather(view_of(my_indices), view_of(all_indices), collective).wait());
  const at::Tensor source = sources(parts, all_indices, most);

  std::vector<std::int64_t> shape = rows.sizes().vec();
  shape[0] = most;
  const at::Tensor padded = at::zeros(shape, rows.options().requires_grad(false));
  padded.narrow(0, 0, rows.size(0)).copy_(rows.detach());
  const bool everywhere = options.root == OrderedGatherOptions::kAllRanks;
  const bool here = everywhere || options.root == group.rank();
  shape[0] = here ? most * count : 0;
  const at::Tensor gathered = at::empty(shape, padded.options());
  throw_if_error(
      everywhere
          ? group.all_gather(view_of(padded), view_of(gathered), collective).wait()
          : group.gather(view_of(padded), view_of(gathered), {collective, options.root}).wait());
  return here ? gathered.index_select(0, source) : at::Tensor();
}

}  // namespace gamelan::train
