#pragma once

// Tensors whose file has their rows in another order, or their transpose, than HuggingFace's.

#include <cstdint>
#include <memory>
#include <string_view>

#include "io/weights.h"

namespace gamelan::io {

/// Where the rows of a tensor lie in its source.
struct RowOrder {
  enum class Kind {
    /// Rotary pairs: the source rotates rows 2j and 2j + 1 of a head together, HuggingFace j and
    /// j + head_dim / 2.
    kRotaryPairs,
    /// The source has all queries, all keys, all values; HuggingFace (BLOOM, GPT-NeoX) those of
    /// one head after the other.
    kHeadsOfQkv,
  };
  Kind kind = Kind::kRotaryPairs;
  std::int64_t heads = 1;
  std::int64_t head_dim = 2;

  /// The row of the source that becomes row `row`.
  std::int64_t source_row(std::int64_t row) const;
};

/// A tensor whose rows (elements of a vector) are those of `source` in another order. What
/// `source` needs must live as long as the decoder.
class ReorderedRows : public WeightDecoder {
 public:
  ReorderedRows(WeightView source, RowOrder order);
  std::string_view name() const override { return name_; }
  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override;
  void release_pages(const WeightView& view) const override;

 private:
  WeightView source_;  // a vector as one column
  RowOrder order_;
  std::string name_;
};

/// The transpose of the matrix `source`.
class TransposedMatrix : public WeightDecoder {
 public:
  explicit TransposedMatrix(WeightView source);
  /// The tensor that this object reads, and must outlive.
  WeightView view() const;
  std::string_view name() const override { return name_; }
  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override;
  void release_pages(const WeightView& view) const override;

 private:
  WeightView source_;
  std::string name_;
};

}  // namespace gamelan::io
