#pragma once

#include <cstddef>
#include <vector>

#include "dist/collective/operation.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// Collectives over the data connections, whatever hosts the ranks are on. docs/algorithms.md
/// describes the direct exchange.
class LinkCollectives : public Collectives {
 public:
  /// Not owned; must outlive this.
  explicit LinkCollectives(Transport& transport);

  base::Status run(const Operation& operation) override;

 private:
  base::Status broadcast(const Operation& op);
  base::Status wide_broadcast(const Operation& op);
  base::Status all_reduce(const Operation& op);
  base::Status whole_all_reduce(const Operation& op);
  base::Status all_gather(const Operation& op);
  base::Status reduce_scatter(const Operation& op);
  base::Status gather(const Operation& op);

  /// Room for `count` chunks of `bytes`, kept for the next operation.
  std::byte* staging(std::size_t count, std::size_t bytes);

  Transport& transport_;
  const int rank_;
  const int size_;
  std::vector<std::byte> staging_;
  std::vector<const std::byte*> sources_;
};

}  // namespace gamelan::dist
