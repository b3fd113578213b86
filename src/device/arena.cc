#include "device/arena.h"

#include <algorithm>
#include <new>
#include <utility>

namespace gamelan::device {
namespace {

constexpr std::size_t kAlignment = 64;
// The smallest block asked of the heap: less would fragment a step's first pass needlessly.
constexpr std::size_t kMinBlock = std::size_t{1} << 20;

}  // namespace

Arena::Arena(std::size_t reserve_bytes) {
  reserve(reserve_bytes);
}

std::size_t Arena::rounded(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void Arena::reserve(std::size_t bytes) {
  reset();
  if (bytes > (blocks_.empty() ? 0 : blocks_.front().size)) {
    blocks_.clear();
    add_block(rounded(bytes));
  }
}

void Arena::add_block(std::size_t bytes) {
  AlignedBytes data = allocate_aligned(bytes);
  if (data == nullptr) {
    throw std::bad_alloc();
  }
  blocks_.push_back({std::move(data), bytes});
  ++allocations_;
}

void* Arena::take_bytes(std::size_t bytes) {
  bytes = rounded(bytes);
  // Blocks after the current one are empty: a scope that ended may have left some.
  while (block_ < blocks_.size() && blocks_[block_].size - offset_ < bytes) {
    ++block_;
    offset_ = 0;
  }
  if (block_ == blocks_.size()) {
    add_block(std::max(bytes, kMinBlock));
  }
  void* result = blocks_[block_].data.get() + offset_;
  offset_ += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return result;
}

void Arena::reset() {
  block_ = 0;
  offset_ = 0;
  used_ = 0;
  if (blocks_.size() <= 1) {
    return;
  }
  // One block that holds what all of them together did: gaps at their ends cannot come again.
  std::size_t total = 0;
  for (const Block& block : blocks_) {
    total += block.size;
  }
  blocks_.clear();
  add_block(total);
}

Arena::Scope::Scope(Arena& arena)
    : arena_(arena), block_(arena.block_), offset_(arena.offset_), used_(arena.used_) {}

Arena::Scope::~Scope() {
  arena_.block_ = block_;
  arena_.offset_ = offset_;
  arena_.used_ = used_;
}

}  // namespace gamelan::device
