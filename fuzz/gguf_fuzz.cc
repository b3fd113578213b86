#include "fuzz/parsers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  gamelan::fuzz::gguf({reinterpret_cast<const char*>(data), size});
  return 0;
}
