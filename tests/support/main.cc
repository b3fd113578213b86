#include <gtest/gtest.h>

#include "tests/support/entry.h"

namespace gamelan::testing {

Entry& entry() {
  static Entry value = nullptr;
  return value;
}

}  // namespace gamelan::testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (gamelan::testing::entry() != nullptr) {
    if (const auto code = gamelan::testing::entry()()) {
      return *code;
    }
  }
  return RUN_ALL_TESTS();
}
