#pragma once

// The named tensors of a model, whatever files hold them (docs/formats/model_folder.md).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace gamelan::io {

struct WeightView;

/// A rectangle of a tensor seen as a matrix (rows_of x columns_of).
struct WeightBlock {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_column = 0;
  std::int64_t columns = 0;
};

/// Turns bytes that are not plain row-major numbers into such: quantised blocks, a matrix that is
/// stored transposed or in several files, rows in another order. Thread-safe.
class WeightDecoder {
 public:
  virtual ~WeightDecoder() = default;
  /// What the bytes are, for messages and for those who read them directly: "Q8_0", "transposed".
  virtual std::string_view name() const = 0;
  /// Writes the block's numbers row-major, [block.rows, block.columns]. The block lies within the
  /// tensor and `out` has exactly its size: read_block has checked both.
  virtual void read(const WeightView& view, const WeightBlock& block,
                    std::span<float> out) const = 0;
  /// Lets go of the mapped pages that the numbers were read from: view.bytes, unless a decoder
  /// knows of others.
  virtual void release_pages(const WeightView& view) const;
};

/// One tensor. Copying copies the view, not the numbers.
struct WeightView {
  std::string name;
  /// What the numbers are, or the type that a decoder's values were rounded to when they were
  /// stored (kF32 for quantised ones).
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  /// Without a decoder the numbers: contiguous, row-major, little-endian, and not necessarily
  /// aligned to their type (copy with memcpy). With one whatever the file holds; may be empty when
  /// that lies in several places.
  std::span<const std::byte> bytes;
  /// nullptr for plain numbers.
  const WeightDecoder* decoder = nullptr;
  /// The file, for messages.
  std::string_view file;
  /// `bytes` lie in a mapped file, whose pages a reader may let go (release_pages).
  bool mapped = false;

  bool plain() const { return decoder == nullptr; }
};

/// "F16", "Q8_0": how a tensor's numbers are stored, for messages and tables.
std::string_view storage_name_of(const WeightView& view);

/// The tensors of one model. Nothing is copied on opening: the views point into mapped files and
/// live as long as the object (moving it keeps them valid). const methods are thread-safe.
class Weights {
 public:
  /// Tensors and what keeps their bytes, decoders and file names alive.
  struct Part {
    std::vector<WeightView> tensors;
    std::shared_ptr<const void> owner;
  };

  /// Joins the parts of a model. `path` (a folder or a file) stands in messages. Fails when a name
  /// occurs twice.
  static base::StatusOr<Weights> create(std::string path, std::vector<Part> parts);

  /// Every tensor, in the order of the parts.
  const std::vector<WeightView>& tensors() const { return tensors_; }
  /// nullptr when there is no tensor of that name.
  const WeightView* find(std::string_view name) const;
  /// kNotFound, with the names that come closest, when there is no tensor of that name.
  base::StatusOr<WeightView> get(std::string_view name) const;
  /// The same, and kInvalidArgument unless the tensor holds floating-point numbers of `shape`.
  base::StatusOr<WeightView> get(std::string_view name, const tensor::Shape& shape) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<WeightView> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<std::shared_ptr<const void>> owners_;
};

/// kInvalidArgument when a file of the weights lies in `folder`, which somebody is about to
/// replace.
base::Status check_not_source(const Weights& weights, std::string_view folder);

/// kInvalidArgument, naming file and tensor, unless `view` holds floating-point numbers of `shape`.
base::Status check_weight(const WeightView& view, const tensor::Shape& shape);

/// The weights of a HuggingFace folder. The first of these that it has:
/// model.safetensors, model.safetensors.index.json (shards), pytorch_model.bin,
/// pytorch_model.bin.index.json (shards). Every file is mapped and checked, an index against its
/// shards. A Git LFS pointer in place of a file is recognised.
base::StatusOr<Weights> open_weights(std::string_view folder);

}  // namespace gamelan::io
