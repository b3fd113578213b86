#include "fuzz/parsers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizer = [] {
    gamelan::text::WordPieceModel model;
    model.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",      "##a",
                    "b",     "##bc",  ",",     "[",     "]",      "\u4e2d", "\u03c3"};
    return *gamelan::text::WordPieceTokenizer::create(model);
  }();
  gamelan::fuzz::encode(tokenizer, {reinterpret_cast<const char*>(data), size});
  return 0;
}
