#include "io/safetensors_header.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

namespace gamelan::io {
namespace {

using tensor::DType;
using Json = nlohmann::json;

struct TypeName {
  DType dtype;
  std::string_view name;
};

constexpr std::array<TypeName, tensor::kDTypeCount> kTypeNames = {{{DType::kF32, "F32"},
                                                                   {DType::kF64, "F64"},
                                                                   {DType::kF16, "F16"},
                                                                   {DType::kBF16, "BF16"},
                                                                   {DType::kI64, "I64"},
                                                                   {DType::kI32, "I32"},
                                                                   {DType::kI16, "I16"},
                                                                   {DType::kI8, "I8"},
                                                                   {DType::kU8, "U8"},
                                                                   {DType::kBool, "BOOL"}}};

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::size_t kMaxDimensions = 64;

/// Receives the events of nlohmann's parser and builds the header without a JSON tree in between,
/// so that a hostile header costs no more memory than its own text.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  HeaderHandler(std::string_view file, SafetensorsHeader& header) : file_(file), header_(header) {}

  base::Status status() const {
    return error_.empty() ? base::OkStatus() : base::invalid_argument("{}: {}", file_, error_);
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool /*value*/) override { return unexpected("true or false"); }
  bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return unexpected(text);
  }
  bool number_integer(number_integer_t value) override { return unexpected(std::to_string(value)); }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ == Where::kShape) {
      if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
        return fail("tensor '{}': dimension {} is out of range", entry_.name, value);
      }
      if (entry_.shape.size() == kMaxDimensions) {
        return fail("tensor '{}': more than {} dimensions", entry_.name, kMaxDimensions);
      }
      entry_.shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (where_ == Where::kOffsets && offset_count_ < 2) {
      (offset_count_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    if (where_ == Where::kOffsets) {
      return fail("tensor '{}': data_offsets has more than 2 numbers", entry_.name);
    }
    return unexpected(std::to_string(value));
  }

  bool string(string_t& value) override {
    if (where_ == Where::kMetadata) {
      header_.metadata[key_] = std::move(value);
      return true;
    }
    if (where_ == Where::kEntry && key_ == "dtype") {
      return set_dtype(value);
    }
    return unexpected("the string \"" + value.substr(0, 40) + "\"");
  }

  bool start_object(std::size_t /*size*/) override {
    if (where_ == Where::kOutside) {
      where_ = Where::kRoot;
      return true;
    }
    if (where_ == Where::kRoot) {
      where_ = key_ == kMetadataKey ? Where::kMetadata : Where::kEntry;
      if (where_ == Where::kEntry) {
        entry_ = {};
        entry_.name = key_;
        has_dtype_ = has_shape_ = has_offsets_ = false;
      }
      return true;
    }
    return unexpected("an object");
  }

  bool key(string_t& value) override {
    if (where_ == Where::kRoot && !names_.insert(value).second) {
      return fail("duplicate tensor name '{}'", value);
    }
    if (where_ == Where::kMetadata && header_.metadata.contains(value)) {
      return fail("duplicate key '{}' in __metadata__", value);
    }
    if (where_ == Where::kEntry && !claim(value)) {
      return false;
    }
    key_ = std::move(value);
    return true;
  }

  bool end_object() override {
    if (where_ == Where::kRoot) {
      where_ = Where::kOutside;
      return true;
    }
    if (where_ == Where::kEntry) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        return fail("tensor '{}': {} is missing", entry_.name,
                    !has_dtype_ ? "dtype" : (!has_shape_ ? "shape" : "data_offsets"));
      }
      header_.entries.push_back(std::move(entry_));
    }
    where_ = Where::kRoot;
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    if (where_ == Where::kEntry && key_ == "shape") {
      where_ = Where::kShape;
      return true;
    }
    if (where_ == Where::kEntry && key_ == "data_offsets") {
      where_ = Where::kOffsets;
      offset_count_ = 0;
      return true;
    }
    return unexpected("an array");
  }

  bool end_array() override {
    if (where_ == Where::kOffsets && offset_count_ != 2) {
      return fail("tensor '{}': data_offsets has {} numbers, expected 2", entry_.name,
                  offset_count_);
    }
    where_ = Where::kEntry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& error) override {
    return fail("the header is not valid JSON at byte {}: {}", position, error.what());
  }

 private:
  enum class Where { kOutside, kRoot, kMetadata, kEntry, kShape, kOffsets };

  template <class... Args>
  bool fail(fmt::format_string<Args...> format, Args&&... args) {
    error_ = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  /// Notes that an entry has `field`; refuses a second one and unknown ones.
  bool claim(const std::string& field) {
    bool* seen = field == "dtype"          ? &has_dtype_
                 : field == "shape"        ? &has_shape_
                 : field == "data_offsets" ? &has_offsets_
                                           : nullptr;
    if (seen == nullptr) {
      return fail("tensor '{}': unknown key '{}'; expected dtype, shape and data_offsets",
                  entry_.name, field);
    }
    if (std::exchange(*seen, true)) {
      return fail("tensor '{}': {} is given twice", entry_.name, field);
    }
    return true;
  }

  bool set_dtype(const std::string& name) {
    for (const TypeName& type : kTypeNames) {
      if (type.name == name) {
        entry_.dtype = type.dtype;
        return true;
      }
    }
    std::string known;
    for (const TypeName& type : kTypeNames) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", type.name);
    }
    return fail("tensor '{}': unsupported element type '{}'; supported are {}", entry_.name,
                name.substr(0, 40), known);
  }

  bool unexpected(const std::string& what) {
    switch (where_) {
      case Where::kOutside:
        return fail("the header must be a JSON object, got {}", what);
      case Where::kRoot:
        return fail("'{}': expected an object with dtype, shape and data_offsets, got {}", key_,
                    what);
      case Where::kMetadata:
        return fail("__metadata__: '{}' must be a string, got {}", key_, what);
      case Where::kEntry:
        return fail("tensor '{}': {} must be {}, got {}", entry_.name, key_,
                    key_ == "dtype" ? "a string" : "an array of whole numbers", what);
      case Where::kShape:
      case Where::kOffsets:
        break;
    }
    return fail("tensor '{}': {} must hold whole numbers of at least 0, got {}", entry_.name, key_,
                what);
  }

  std::string_view file_;
  SafetensorsHeader& header_;
  Where where_ = Where::kOutside;
  std::string key_;
  SafetensorsEntry entry_;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offset_count_ = 0;
  std::unordered_set<std::string> names_;
  std::string error_;
};

}  // namespace

std::string_view safetensors_name_of(tensor::DType dtype) {
  for (const TypeName& type : kTypeNames) {
    if (type.dtype == dtype) {
      return type.name;
    }
  }
  return "?";
}

base::StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view json,
                                                           std::string_view file) {
  SafetensorsHeader header;
  HeaderHandler handler(file, header);
  Json::sax_parse(json.begin(), json.end(), &handler);
  GAMELAN_RETURN_IF_ERROR(handler.status());
  return header;
}

std::optional<std::uint64_t> checked_size_bytes(tensor::DType dtype, const tensor::Shape& shape) {
  constexpr auto kLimit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t size = tensor::size_of(dtype);
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) {
      return std::nullopt;
    }
    if (dimension == 0) {
      empty = true;  // the others must still be sane on their own
      continue;
    }
    if (__builtin_mul_overflow(size, static_cast<std::uint64_t>(dimension), &size) ||
        size > kLimit) {
      return std::nullopt;
    }
  }
  return empty ? 0 : size;
}

}  // namespace gamelan::io
