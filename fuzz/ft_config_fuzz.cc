#include "fuzz/parsers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  gamelan::fuzz::ft_config({reinterpret_cast<const char*>(data), size});
  return 0;
}
