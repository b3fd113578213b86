#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "dist/collective/process_group.h"
#include "tensor/buffer_view.h"

namespace gamelan::dist {

/// The numbers go over the wire: append only.
enum class OpKind : std::uint8_t {
  kBroadcast = 1,
  kAllReduce = 2,
  kAllGather = 3,
  kReduceScatter = 4,
  kGather = 5,
  kBarrier = 6,
  kSend = 7,
  kRecv = 8,
};
inline constexpr int kLastOpKind = 8;

/// What every rank must have called alike.
struct OpSignature {
  OpKind kind = OpKind::kBarrier;
  tensor::DType dtype = tensor::DType::kU8;
  ReduceOp reduce = ReduceOp::kSum;
  std::uint32_t root = 0;   ///< send, recv: the peer
  std::uint64_t count = 0;  ///< elements that one rank contributes or receives, the smaller of both
  std::uint64_t sequence = 0;
  bool operator==(const OpSignature&) const = default;
};

/// "all_reduce #1841 (f32[6553600])"; with the reduction when it is not a sum, the root where there
/// is one.
std::string to_string(const OpSignature& signature);

/// A collective that has been called. `input` and `output` are the same for operations in place.
struct Operation {
  OpSignature signature;
  tensor::BufferView input;
  tensor::BufferView output;
  base::TimePoint deadline;
  std::chrono::milliseconds timeout{0};

  std::size_t element_bytes() const { return tensor::size_of(signature.dtype); }
  const std::byte* in() const { return static_cast<const std::byte*>(input.data); }
  std::byte* out() const { return static_cast<std::byte*>(output.data); }
};

/// What the part of `rank` is when `count` elements are divided among `ranks`: parts begin at
/// 64-byte boundaries, the last ones may be short or empty.
struct Part {
  std::size_t begin = 0;
  std::size_t count = 0;
};
Part part_of(std::size_t count, std::size_t element_bytes, int ranks, int rank);

/// How a group performs its collectives. One thread at a time.
class Collectives {
 public:
  virtual ~Collectives() = default;
  /// Performs the operation to its local end. An error has broken the group.
  virtual base::Status run(const Operation& operation) = 0;
};

}  // namespace gamelan::dist
