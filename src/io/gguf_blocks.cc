#include "io/gguf_blocks.h"

#include <cstdint>
#include <cstring>

#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

float read_f16(const std::byte* from) {
  float value = 0;
  widen(tensor::DType::kF16, from, 1, &value);
  return value;
}

int low(std::byte byte) {
  return std::to_integer<int>(byte) & 0xF;
}
int high(std::byte byte) {
  return std::to_integer<int>(byte) >> 4;
}

std::uint32_t read_u32(const std::byte* from) {
  std::uint32_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

/// Bit `index` of `bits` as the fifth bit of a number.
int fifth(std::uint32_t bits, int index) {
  return static_cast<int>((bits >> index) & 1U) << 4;
}

/// What multiplies the numbers of sub-block `index` (0 to 7) of a K type's block, and what is taken
/// from them: two f16 factors times six bits each. Those of the first four lie in the low six bits
/// of bytes 0 to 7 behind the factors, the others in bytes 8 to 11 and the high two bits.
struct ScaleAndMin {
  float scale = 0;
  float minimum = 0;
};
ScaleAndMin scale_and_min(const std::byte* block, int index) {
  const float d = read_f16(block);
  const float dmin = read_f16(block + 2);
  const auto at = [packed = block + 4](int i) { return std::to_integer<unsigned>(packed[i]); };
  if (index < 4) {
    return {d * static_cast<float>(at(index) & 63U),
            dmin * static_cast<float>(at(index + 4) & 63U)};
  }
  return {d * static_cast<float>((at(index + 4) & 0xFU) | ((at(index - 4) >> 6) << 4)),
          dmin * static_cast<float>((at(index + 4) >> 4) | ((at(index) >> 6) << 4))};
}

}  // namespace

void decode_q4_0(const std::byte* block, float* out) {
  const float d = read_f16(block);
  const std::byte* const q = block + 2;
  for (int i = 0; i < kGgufBlock / 2; ++i) {
    out[i] = static_cast<float>(low(q[i]) - 8) * d;
    out[i + kGgufBlock / 2] = static_cast<float>(high(q[i]) - 8) * d;
  }
}

void decode_q4_1(const std::byte* block, float* out) {
  const float d = read_f16(block);
  const float m = read_f16(block + 2);
  const std::byte* const q = block + 4;
  for (int i = 0; i < kGgufBlock / 2; ++i) {
    out[i] = static_cast<float>(low(q[i])) * d + m;
    out[i + kGgufBlock / 2] = static_cast<float>(high(q[i])) * d + m;
  }
}

void decode_q5_0(const std::byte* block, float* out) {
  const float d = read_f16(block);
  const std::uint32_t bits = read_u32(block + 2);
  const std::byte* const q = block + 6;
  for (int i = 0; i < kGgufBlock / 2; ++i) {
    out[i] = static_cast<float>((low(q[i]) | fifth(bits, i)) - 16) * d;
    out[i + 16] = static_cast<float>((high(q[i]) | fifth(bits, i + 16)) - 16) * d;
  }
}

void decode_q5_1(const std::byte* block, float* out) {
  const float d = read_f16(block);
  const float m = read_f16(block + 2);
  const std::uint32_t bits = read_u32(block + 4);
  const std::byte* const q = block + 8;
  for (int i = 0; i < kGgufBlock / 2; ++i) {
    out[i] = static_cast<float>(low(q[i]) | fifth(bits, i)) * d + m;
    out[i + 16] = static_cast<float>(high(q[i]) | fifth(bits, i + 16)) * d + m;
  }
}

void decode_q8_0(const std::byte* block, float* out) {
  const float d = read_f16(block);
  for (int i = 0; i < kGgufBlock; ++i) {
    out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
  }
}

void decode_q4_k(const std::byte* block, float* out) {
  const std::byte* q = block + 16;
  for (int sub = 0; sub < 8; sub += 2, q += 32) {
    const ScaleAndMin first = scale_and_min(block, sub);
    const ScaleAndMin second = scale_and_min(block, sub + 1);
    for (int i = 0; i < 32; ++i) {
      *out++ = first.scale * static_cast<float>(low(q[i])) - first.minimum;
    }
    for (int i = 0; i < 32; ++i) {
      *out++ = second.scale * static_cast<float>(high(q[i])) - second.minimum;
    }
  }
}

void decode_q5_k(const std::byte* block, float* out) {
  const std::byte* const fifths = block + 16;
  const std::byte* q = block + 48;
  for (int sub = 0; sub < 8; sub += 2, q += 32) {
    const ScaleAndMin first = scale_and_min(block, sub);
    const ScaleAndMin second = scale_and_min(block, sub + 1);
    const auto bit = [&](int i, int which) {
      return fifth(std::to_integer<unsigned>(fifths[i]), which);
    };
    for (int i = 0; i < 32; ++i) {
      *out++ = first.scale * static_cast<float>(low(q[i]) + bit(i, sub)) - first.minimum;
    }
    for (int i = 0; i < 32; ++i) {
      *out++ = second.scale * static_cast<float>(high(q[i]) + bit(i, sub + 1)) - second.minimum;
    }
  }
}

void decode_q6_k(const std::byte* block, float* out) {
  const std::byte* lows = block;
  const std::byte* highs = block + 128;
  const std::byte* scales = block + 192;
  const float d = read_f16(block + 208);
  for (int half = 0; half < 2; ++half, out += 128, lows += 64, highs += 32, scales += 8) {
    for (int i = 0; i < 32; ++i) {
      const auto number = [&](int quarter) {
        const std::byte four = lows[i + (quarter % 2) * 32];
        const int two = (std::to_integer<int>(highs[i]) >> (2 * quarter)) & 3;
        return static_cast<float>(((quarter < 2 ? low(four) : high(four)) | (two << 4)) - 32);
      };
      const auto scale = [&](int quarter) {
        return d * static_cast<float>(static_cast<std::int8_t>(scales[i / 16 + 2 * quarter]));
      };
      for (int quarter = 0; quarter < 4; ++quarter) {
        out[i + 32 * quarter] = scale(quarter) * number(quarter);
      }
    }
  }
}

}  // namespace gamelan::io
