#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "device/stream_ref.h"
#include "dist/collective/work.h"
#include "tensor/buffer_view.h"

namespace gamelan::dist {

class Transport;

/// How elements of several ranks become one. kSum and kAvg combine in rank order for every element,
/// whatever the size, chunking or algorithm, so results are bit-identical from run to run. f16 and bf16
/// accumulate in f32 and round once.
enum class ReduceOp : std::uint8_t { kSum = 0, kAvg = 1, kProduct = 2, kMin = 3, kMax = 4 };

/// What every operation takes.
struct CollectiveOptions {
  /// 0 = the group's timeout.
  std::chrono::milliseconds timeout{0};
  /// The stream that produced the input and will consume the output; empty on the CPU.
  device::StreamRef stream = {};
};
struct ReduceOptions : CollectiveOptions {
  ReduceOp op = ReduceOp::kSum;
};
struct RootOptions : CollectiveOptions {
  /// The rank whose data is sent (broadcast) or that receives (gather).
  int root = 0;
};
struct PointToPointOptions : CollectiveOptions {
  /// Messages between two ranks match by tag, in order within a tag. Below 2^31.
  std::uint32_t tag = 0;
};

/// Memory that every process of the host can reach directly: an operation on it copies nothing. Moves,
/// does not copy; must not outlive its group.
class RegisteredMemory {
 public:
  class Impl;
  RegisteredMemory();
  explicit RegisteredMemory(std::unique_ptr<Impl> impl);
  ~RegisteredMemory();
  RegisteredMemory(RegisteredMemory&&) noexcept;
  RegisteredMemory& operator=(RegisteredMemory&&) noexcept;

  /// 64-byte aligned, pre-faulted, zeroed.
  void* data() const;
  std::size_t size_bytes() const;

 private:
  std::unique_ptr<Impl> impl_;
};

/// The processes of one generation of a job and the operations they perform together.
///
/// Every rank calls the same operations in the same order (checked: a mismatch fails on every rank and
/// names both calls). Operations start in call order on a thread of the group and the returned Work ends
/// when the local part is done: outputs are complete, inputs may be overwritten. An operation that is
/// waited for at once runs on the calling thread.
///
/// Thread-safe, but two threads that start collectives race for their order, which must be the same on
/// all ranks. Views must stay valid until the Work has ended.
///
/// Errors, through Work::wait: kInvalidArgument (counts, dtypes, roots), kDeadlineExceeded (who has not arrived at
/// what), kUnavailable (a peer died: its rank), kAborted (abort() was called here or on a peer). After
/// any error but kInvalidArgument raised before anything was sent, the group is unusable: form the next generation.
class ProcessGroup {
 public:
  struct Options {
    std::chrono::milliseconds timeout{std::chrono::minutes(30)};
  };

  ProcessGroup(std::unique_ptr<Transport> transport, Options options);
  /// close() and join().
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int rank() const;
  int size() const;
  std::uint64_t generation() const;
  /// "shm" when all ranks share this host, otherwise "tcp".
  std::string backend_name() const;

  Work broadcast(tensor::BufferView buffer, const RootOptions& options = {});
  /// In place.
  Work all_reduce(tensor::BufferView buffer, const ReduceOptions& options = {});
  /// output [size * input.count]: the inputs in rank order.
  Work all_gather(tensor::BufferView input, tensor::BufferView output,
                  const CollectiveOptions& options = {});
  /// input [size * output.count]; rank r receives the reduction of part r, with all_reduce's bits.
  Work reduce_scatter(tensor::BufferView input, tensor::BufferView output,
                      const ReduceOptions& options = {});
  /// output [size * input.count] on the root; ignored elsewhere.
  Work gather(tensor::BufferView input, tensor::BufferView output, const RootOptions& options = {});
  Work barrier(const CollectiveOptions& options = {});
  Work send(tensor::BufferView buffer, int peer, const PointToPointOptions& options = {});
  Work recv(tensor::BufferView buffer, int peer, const PointToPointOptions& options = {});

  /// Memory for buffers of many operations (DDP buckets). Local: the ranks need not call it together.
  base::StatusOr<RegisteredMemory> allocate(std::size_t bytes);

  /// Fails everything pending and to come, on every thread here and on every peer, with `reason`.
  void abort(const base::Status& reason);
  /// Says goodbye: peers see an orderly end, not a death. Asynchronous and idempotent.
  void close();
  void join();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::dist
