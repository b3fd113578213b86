#pragma once

#include <vector>

#include "base/status.h"
#include "dist/collective/operation.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// The deadline of `operation` has passed while `missing` ranks were awaited: asks them what they
/// are doing, fails the group with that and returns the group's failure.
base::Status fail_late(Transport& transport, const Operation& operation,
                       const std::vector<int>& missing);

/// Two ranks have called different operations: fails the group with both names.
base::Status fail_mismatch(Transport& transport, const OpSignature& own, int peer,
                           const OpSignature& other);

}  // namespace gamelan::dist
