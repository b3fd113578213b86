#pragma once

// The pickles inside torch.save files (docs/formats/torch_archive.md), read as data: nothing is
// ever imported, called or executed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gamelan::io {

/// The place of a value in a Pickle.
using PickleRef = std::uint32_t;

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  // wider than 64 bits; text holds its bytes
  kFloat,
  kString,
  kTuple,
  kList,
  kDict,        // items are key, value, key, value, …
  kGlobal,      // a name, "torch FloatStorage"; text holds both with a blank between
  kPersistent,  // what torch.save puts for a storage; its one item is the id
  kCall,        // a call of items[0], a global, with items[1], a tuple: not performed
};

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  std::int64_t integer = 0;  // kBool, kInt
  double number = 0;         // kFloat
  std::string_view text =
      {};  // kString, kGlobal, kBigInt: into the pickle's bytes or its own memory
  std::vector<PickleRef> items = {};
};

/// The values of one pickle. Which names a kCall may have is the caller's to check: the reader
/// knows OrderedDict alone, which becomes a kDict. Not thread-safe while it is read, then const.
class Pickle {
 public:
  /// Reads the pickle at the start of `bytes`, which must outlive the object; `name` stands for the
  /// file in messages. Fails on opcodes that a tensor archive does not need, by name and offset.
  static base::StatusOr<Pickle> parse(std::span<const std::byte> bytes, std::string_view name);

  const PickleValue& at(PickleRef ref) const { return values_[ref]; }
  const PickleValue& root() const { return values_[root_]; }
  /// Item `index` of `value`, which has that many.
  const PickleValue& item(const PickleValue& value, std::size_t index) const {
    return values_[value.items[index]];
  }
  /// Bytes that the pickle takes.
  std::size_t size_bytes() const { return size_; }

 private:
  friend class PickleMachine;
  std::vector<PickleValue> values_;
  std::vector<std::vector<char>> texts_;
  PickleRef root_ = 0;
  std::size_t size_ = 0;
};

/// "a tuple", "the global torch.FloatStorage": a value in a message.
std::string describe(const PickleValue& value);

}  // namespace gamelan::io
