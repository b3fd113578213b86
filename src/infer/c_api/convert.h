#pragma once

#include <cstddef>
#include <vector>

#include "base/status.h"
#include "infer/c_api/gamelan.h"
#include "infer/engine/engine.h"
#include "infer/engine/request.h"

namespace gamelan::infer {

/// What gamelan_default_options() and gamelan_default_request() give.
gamelan_options default_c_options();
gamelan_request default_c_request();

/// The options, with the defaults of fields that the caller does not know. kInvalidArgument unless
/// gamelan_default_options() has filled them.
base::StatusOr<gamelan_options> complete(const gamelan_options& options);

/// The options' share that concerns the engine alone.
base::StatusOr<EngineOptions> engine_options(const gamelan_options& options,
                                             const CausalModel& model);

/// A copy of the request. kInvalidArgument naming a pointer that is missing, and as complete().
base::StatusOr<Request> request_of(const gamelan_request& request);

/// The events of a step as C sees them.
class CEvents {
 public:
  void assign(std::vector<Event> events);
  std::size_t size() const { return told_.size(); }
  const gamelan_event* at(std::size_t index) const {
    return index < told_.size() ? &told_[index] : nullptr;
  }

 private:
  std::vector<Event> events_;
  std::vector<std::vector<gamelan_alternative>> alternatives_;  // one an event
  std::vector<gamelan_event> told_;
};

gamelan_statistics statistics_of(const EngineStatistics& statistics);

}  // namespace gamelan::infer
