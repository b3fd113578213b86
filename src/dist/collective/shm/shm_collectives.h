#pragma once

#include <cstddef>
#include <vector>

#include "dist/collective/operation.h"
#include "dist/collective/shm/registered_memory.h"
#include "dist/collective/shm/shm_channel.h"

namespace gamelan::dist {

/// Collectives of ranks that share a host, through shared memory. docs/algorithms.md describes the
/// three ways: short payloads travel with the call, registered memory is read where it lies, the
/// rest goes through staging buffers in rounds.
class ShmCollectives : public Collectives {
 public:
  /// Neither is owned; both must outlive this.
  ShmCollectives(Transport& transport, const RegisteredTable& registered);

  base::Status run(const Operation& operation) override;

 private:
  base::Status broadcast(const Operation& op);
  base::Status all_reduce(const Operation& op);
  base::Status all_gather(const Operation& op);
  base::Status reduce_scatter(const Operation& op);
  base::Status gather(const Operation& op);

  base::Status staged_broadcast(const Operation& op);
  base::Status staged_all_reduce(const Operation& op);
  base::Status staged_all_gather(const Operation& op);
  base::Status staged_reduce_scatter(const Operation& op);
  base::Status staged_gather(const Operation& op);
  void reduce_round(const Operation& op, std::size_t round);
  void stage_round(const Operation& op, std::size_t round);
  void collect_round(const Operation& op, std::size_t round);

  /// Where the registered inputs of all ranks lie here, by rank; empty when one is not registered.
  base::StatusOr<std::vector<std::byte*>> registered_inputs(const Operation& op, std::size_t bytes);
  base::StatusOr<std::byte*> locate(int rank, std::size_t bytes, base::TimePoint deadline);
  /// meet() with a payload when `bytes` is small, else with the spot of the input.
  base::Status meet(const Operation& op, std::size_t bytes, bool small);
  base::Status leave_together(const Operation& op);

  ShmChannel channel_;
  Transport& transport_;
  const RegisteredTable& registered_;
  const int rank_;
  const int size_;
  std::vector<const std::byte*> sources_;
  std::vector<std::shared_ptr<Segment>> used_;  // keeps segments mapped during an operation
};

}  // namespace gamelan::dist
