#include "infer/model/kv_storage.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace gamelan::infer {

KvStorage::~KvStorage() {
  if (data_ != nullptr) {
    ::munmap(data_, size_);
  }
}

KvStorage::KvStorage(KvStorage&& other) noexcept
    : layout_(other.layout_),
      layers_(other.layers_),
      blocks_(other.blocks_),
      data_(std::exchange(other.data_, nullptr)),
      size_(other.size_) {}

KvStorage& KvStorage::operator=(KvStorage&& other) noexcept {
  if (this != &other) {
    this->~KvStorage();
    new (this) KvStorage(std::move(other));
  }
  return *this;
}

base::StatusOr<KvStorage> KvStorage::create(const kernels::cpu::KvLayout& layout,
                                            std::int64_t layers, std::int64_t blocks) {
  if (layers < 1 || blocks < 1 || layout.block_tokens < 1) {
    return base::invalid_argument(
        "cache: expected at least one layer, block and token a block, got {}, {} and {}", layers,
        blocks, layout.block_tokens);
  }
  KvStorage storage;
  storage.layout_ = layout;
  storage.layers_ = layers;
  storage.blocks_ = blocks;
  if (__builtin_mul_overflow(layout.block_bytes(), static_cast<std::size_t>(layers),
                             &storage.size_) ||
      __builtin_mul_overflow(storage.size_, static_cast<std::size_t>(blocks), &storage.size_)) {
    return base::resource_exhausted("cache: the size of {} blocks overflows", blocks);
  }
  void* const memory =
      ::mmap(nullptr, storage.size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return base::resource_exhausted("cache: no memory for {} blocks of {} tokens, {} bytes: {}",
                                    blocks, layout.block_tokens, storage.size_,
                                    std::strerror(errno));
  }
  storage.data_ = static_cast<std::byte*>(memory);
  ::madvise(memory, storage.size_, MADV_HUGEPAGE);  // a wish: decoding walks over all of it
  return storage;
}

std::byte* KvStorage::block(std::int64_t layer, std::int64_t index) const {
  return data_ + static_cast<std::size_t>(layer * blocks_ + index) * layout_.block_bytes();
}

kernels::cpu::KvBlocks KvStorage::layer(std::int64_t index) const {
  return {layout_, block(index, 0)};
}

void KvStorage::copy(std::span<const BlockCopy> copies) const {
  for (const BlockCopy& copy : copies) {
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      if (copy.from != copy.to) {
        std::memcpy(block(layer, copy.to), block(layer, copy.from), layout_.block_bytes());
      }
    }
  }
}

}  // namespace gamelan::infer
