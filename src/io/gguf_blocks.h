#pragma once

// The blocks of ggml's quantised types as f32, bit for bit what ggml's dequantize_row gives.
// Layouts: docs/formats/gguf.md. `block` needs no alignment; `out` has room for the whole block.

#include <cstddef>

namespace gamelan::io {

inline constexpr int kGgufBlock = 32;        // numbers in a block of Q4_0 to Q8_0
inline constexpr int kGgufSuperBlock = 256;  // in one of the K types

void decode_q4_0(const std::byte* block, float* out);
void decode_q4_1(const std::byte* block, float* out);
void decode_q5_0(const std::byte* block, float* out);
void decode_q5_1(const std::byte* block, float* out);
void decode_q8_0(const std::byte* block, float* out);
void decode_q4_k(const std::byte* block, float* out);
void decode_q5_k(const std::byte* block, float* out);
void decode_q6_k(const std::byte* block, float* out);

}  // namespace gamelan::io
