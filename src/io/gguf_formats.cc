#include "io/gguf_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/gguf_blocks.h"
#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

using tensor::DType;

constexpr std::array<GgufFormat, 12> kFormats = {{
    {0, "F32", 1, 4, DType::kF32, nullptr},
    {1, "F16", 1, 2, DType::kF16, nullptr},
    {2, "Q4_0", kGgufBlock, 18, DType::kF32, decode_q4_0},
    {3, "Q4_1", kGgufBlock, 20, DType::kF32, decode_q4_1},
    {6, "Q5_0", kGgufBlock, 22, DType::kF32, decode_q5_0},
    {7, "Q5_1", kGgufBlock, 24, DType::kF32, decode_q5_1},
    {8, "Q8_0", kGgufBlock, 34, DType::kF32, decode_q8_0},
    {12, "Q4_K", kGgufSuperBlock, 144, DType::kF32, decode_q4_k},
    {13, "Q5_K", kGgufSuperBlock, 176, DType::kF32, decode_q5_k},
    {14, "Q6_K", kGgufSuperBlock, 210, DType::kF32, decode_q6_k},
    {28, "F64", 1, 8, DType::kF64, nullptr},
    {30, "BF16", 1, 2, DType::kBF16, nullptr},
}};

struct Unread {
  std::uint32_t id;
  std::string_view name;
};
constexpr std::array<Unread, 20> kUnread = {
    {{9, "Q8_1"},    {10, "Q2_K"},    {11, "Q3_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"},
     {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
     {22, "IQ2_S"},  {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},    {26, "I32"},
     {27, "I64"},    {29, "IQ1_M"},   {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"}}};

class BlockDecoder : public WeightDecoder {
 public:
  explicit BlockDecoder(const GgufFormat& format) : format_(format) {}
  std::string_view name() const override { return format_.name; }

  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override {
    const std::int64_t size = format_.block_size;
    const std::int64_t row_bytes = columns_of(view) / size * format_.block_bytes;
    const std::int64_t last = block.first_column + block.columns;
    float* to = out.data();
    for (std::int64_t r = block.first_row; r < block.first_row + block.rows; ++r) {
      const std::byte* const row = view.bytes.data() + r * row_bytes;
      for (std::int64_t c = block.first_column; c < last;) {
        const std::int64_t begin = c / size * size;
        const std::byte* const from = row + c / size * format_.block_bytes;
        if (begin == c && begin + size <= last) {
          format_.decode(from, to);
          c += size;
          to += size;
          continue;
        }
        std::array<float, kGgufSuperBlock> whole;
        format_.decode(from, whole.data());
        const std::int64_t end = std::min(begin + size, last);
        to = std::copy(whole.data() + (c - begin), whole.data() + (end - begin), to);
        c = end;
      }
    }
  }

 private:
  const GgufFormat& format_;
};

}  // namespace

const GgufFormat* find_gguf_format(std::uint32_t id) {
  const auto* const found = std::find_if(kFormats.begin(), kFormats.end(),
                                         [id](const GgufFormat& f) { return f.id == id; });
  return found == kFormats.end() ? nullptr : found;
}

std::string gguf_format_name(std::uint32_t id) {
  if (const GgufFormat* format = find_gguf_format(id)) {
    return std::string(format->name);
  }
  const auto* const found =
      std::find_if(kUnread.begin(), kUnread.end(), [id](const Unread& u) { return u.id == id; });
  return found == kUnread.end() ? fmt::format("type {}", id) : std::string(found->name);
}

std::string known_gguf_formats() {
  std::string names;
  for (const GgufFormat& format : kFormats) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", format.name);
  }
  return names;
}

const WeightDecoder* gguf_decoder(const GgufFormat& format) {
  static const std::array<BlockDecoder, 8> decoders = {
      BlockDecoder(kFormats[2]), BlockDecoder(kFormats[3]), BlockDecoder(kFormats[4]),
      BlockDecoder(kFormats[5]), BlockDecoder(kFormats[6]), BlockDecoder(kFormats[7]),
      BlockDecoder(kFormats[8]), BlockDecoder(kFormats[9])};
  for (const BlockDecoder& decoder : decoders) {
    if (decoder.name() == format.name) {
      return &decoder;
    }
  }
  return nullptr;
}

}  // namespace gamelan::io
