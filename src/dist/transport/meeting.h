#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "dist/store/store.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {

/// Where the ranks of one generation of a group find each other: some keys of a store. Whoever
/// gives up says so there, so that the others need not wait for their own deadline. Thread-safe.
class Meeting {
 public:
  Meeting(std::shared_ptr<Store> store, const TransportOptions& options);

  /// Claims this rank's seat and learns the group's random id; an error when the seat is taken.
  base::Status enter();
  /// The same on every rank, different for every group that was ever formed.
  const std::string& id() const { return id_; }
  /// Publishes `record` under `phase` and returns those of all ranks, by rank. While ranks are
  /// missing it logs who; at the deadline the error says so.
  base::StatusOr<std::vector<std::string>> exchange(const std::string& phase,
                                                    const std::string& record);
  /// What some rank gave as its reason for giving up; OK when none has.
  base::Status check() const;
  /// Tells the others that this rank gives up, and gives those who are there a moment to read it.
  void give_up(const base::Status& reason);

  base::TimePoint deadline() const { return deadline_; }

 private:
  std::string key(const std::string& name) const;
  std::string phase_key(const std::string& phase, int rank) const;
  std::vector<int> missing(const std::string& phase) const;
  base::Status wait_for_all(const std::string& phase);
  std::string missing_text(const std::vector<int>& ranks) const;

  const std::shared_ptr<Store> store_;
  const TransportOptions options_;
  const std::string prefix_;
  const base::TimePoint deadline_;
  std::string id_;
};

}  // namespace gamelan::dist
