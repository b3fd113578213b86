#include "dist/collective/lateness.h"

#include <string>

namespace gamelan::dist {
namespace {

// The control connections answer in well under a millisecond; this is for hosts that are
// overloaded.
constexpr std::chrono::milliseconds kQueryTimeout{500};

}  // namespace

base::Status fail_late(Transport& transport, const Operation& operation,
                       const std::vector<int>& missing) {
  const auto reports = transport.query(missing, kQueryTimeout);
  std::string text = fmt::format("{} timed out after {} ms on {}", to_string(operation.signature),
                                 operation.timeout.count(), transport.describe(transport.rank()));
  const char* separator = ": ";
  for (const int rank : missing) {
    const auto report = reports.find(rank);
    const std::string what = report != reports.end()    ? report->second
                             : transport.has_left(rank) ? "has left the group"
                                                        : "does not answer";
    text += fmt::format("{}{} {}", separator, transport.describe(rank), what);
    separator = "; ";
  }
  transport.fail(base::deadline_exceeded("{}", text));
  return transport.failure();
}

base::Status fail_mismatch(Transport& transport, const OpSignature& own, int peer,
                           const OpSignature& other) {
  transport.fail(
      base::invalid_argument("ranks called different operations: {} called {}, but {} called {}",
                             transport.describe(transport.rank()), to_string(own),
                             transport.describe(peer), to_string(other)));
  return transport.failure();
}

}  // namespace gamelan::dist
