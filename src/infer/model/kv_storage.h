#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "infer/model/step_plan.h"
#include "kernels/cpu/attention.h"

namespace gamelan::infer {

/// The memory of a cache of keys and values: for every layer `blocks` blocks. Which sequence owns
/// which block is the engine's business. Moves, does not copy.
class KvStorage {
 public:
  KvStorage() = default;
  ~KvStorage();
  KvStorage(KvStorage&& other) noexcept;
  KvStorage& operator=(KvStorage&& other) noexcept;

  /// Pages are taken when they are first written. kResourceExhausted when there is no memory.
  static base::StatusOr<KvStorage> create(const kernels::cpu::KvLayout& layout, std::int64_t layers,
                                          std::int64_t blocks);

  kernels::cpu::KvBlocks layer(std::int64_t index) const;
  /// In every layer, in order.
  void copy(std::span<const BlockCopy> copies) const;
  std::int64_t blocks() const { return blocks_; }
  std::int64_t block_tokens() const { return layout_.block_tokens; }
  bool empty() const { return data_ == nullptr; }

 private:
  std::byte* block(std::int64_t layer, std::int64_t index) const;

  kernels::cpu::KvLayout layout_;
  std::int64_t layers_ = 0;
  std::int64_t blocks_ = 0;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gamelan::infer
