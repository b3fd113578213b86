#pragma once

// The container of GGUF, versions 2 and 3 (docs/formats/gguf.md): key-value pairs and tensors,
// whatever model they are of.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/status.h"
#include "io/gguf_formats.h"
#include "tensor/shape.h"

namespace gamelan::io {

/// Types of values, as the file numbers them.
enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

/// Numbers of one type, or strings. Points into the file.
struct GgufArray {
  GgufType type = GgufType::kU8;
  std::uint64_t count = 0;
  std::span<const std::byte> numbers;
  std::vector<std::string_view> strings;

  /// Any whole numbers, or floating-point ones, as such; nullopt when the elements are others.
  std::optional<std::vector<std::int64_t>> integers() const;
  std::optional<std::vector<float>> floats() const;
};

/// A whole number over 2^63 - 1 is kept as a double.
using GgufValue = std::variant<std::int64_t, double, bool, std::string_view, GgufArray>;

struct GgufTensor {
  std::string_view name;
  tensor::Shape shape;  // row-major: the file's dimensions in reverse
  const GgufFormat* format = nullptr;
  std::span<const std::byte> bytes;
  std::size_t part = 0;  // the file that has it, in the order of append()
};

/// A parsed file, or several of one model joined. Everything points into their bytes, which must
/// outlive the object. const methods are thread-safe.
class GgufFile {
 public:
  /// `name` stands in messages. kDataLoss when something does not lie within the file, tensors
  /// overlap or are not aligned; kUnimplemented for other versions, big-endian files, tensors of
  /// types that are not read (the message lists the known ones).
  static base::StatusOr<GgufFile> parse(std::span<const std::byte> bytes, std::string_view name);

  /// Adds the tensors, not the keys, of another file of the same model. kDataLoss when both have
  /// one.
  base::Status append(GgufFile part);

  /// nullptr when there is no such key.
  const GgufValue* find(std::string_view key) const;
  const GgufTensor* find_tensor(std::string_view name) const;
  /// In the order of the files.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const std::string& name() const { return names_.front(); }
  /// The file that has it.
  const std::string& name_of(const GgufTensor& tensor) const { return names_[tensor.part]; }

 private:
  friend class GgufParser;
  std::vector<std::string> names_ = {""};  // of the parts
  std::unordered_map<std::string_view, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> tensor_index_;
};

/// Whether `bytes` begin as a GGUF file does.
bool is_gguf(std::span<const std::byte> bytes);

/// Typed reads of a file's values. The first mistake is kept and later reads give defaults, as
/// JsonReader does. Not thread-safe; the file must outlive the reader.
class GgufReader {
 public:
  explicit GgufReader(const GgufFile& file) : file_(file) {}

  /// A mistake when the key is absent and there is no fallback, or when the value is another.
  std::int64_t integer(std::string_view key, std::optional<std::int64_t> fallback,
                       std::int64_t least, std::int64_t most);
  std::optional<std::int64_t> optional_integer(std::string_view key, std::int64_t least,
                                               std::int64_t most);
  double number(std::string_view key, std::optional<double> fallback);
  bool boolean(std::string_view key, bool fallback);
  std::string text(std::string_view key, const std::optional<std::string>& fallback);
  /// nullptr when absent.
  const GgufArray* array(std::string_view key);

  void fail(std::string_view key, std::string_view expected, std::string_view got);
  const base::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

 private:
  template <class T>
  const T* get(std::string_view key, std::string_view expected, bool required);

  const GgufFile& file_;
  base::Status status_;
};

}  // namespace gamelan::io
