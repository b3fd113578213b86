#pragma once

#include <optional>

namespace gamelan::testing {

/// What main runs before the tests; the program ends with its result when it has one. Set by a
/// support library that starts the test program as something else (ranks.cc), at static
/// initialisation.
using Entry = std::optional<int> (*)();
Entry& entry();

}  // namespace gamelan::testing
