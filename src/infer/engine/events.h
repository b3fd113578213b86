#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "infer/engine/request.h"
#include "infer/engine/sequence.h"

namespace gamelan::infer {

/// Tells the tokens of `sequence` that are certain and were not told yet, and its end when it has
/// one. REQUIRES: state.streams().
void tell_progress(const RequestState& state, Sequence& sequence, std::vector<Event>& events);

/// Tells whole texts, the best request.n of them, best first: when all have ended.
void tell_best(const RequestState& state, std::vector<Event>& events);

/// Ends every text that has not ended, with `reason`; the last event of the request.
void tell_end(RequestState& state, FinishReason reason, std::string_view error,
              std::vector<Event>& events);

/// Why `sequence` ends with the token appended last; kNone when it goes on. A stop word is cut off.
FinishReason finish_of(const RequestState& state, Sequence& sequence);

}  // namespace gamelan::infer
