#include "dist/transport/meeting.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/ranges.h>

#include "base/log.h"

namespace gamelan::dist {
namespace {

using std::chrono::milliseconds;

// How long a rank waits at a stretch before it looks whether another has given up. Long enough for
// 1,000 ranks not to load the store with looking.
constexpr milliseconds kSlice{200};
// Up to this size the list of missing ranks is kept fresh at every slice; beyond, at every log
// line.
constexpr int kSmallGroup = 64;
// How long a rank that gives up stays, for others to read why: several slices.
constexpr milliseconds kFarewell{1'000};

milliseconds left_until(base::TimePoint deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - base::Clock::now());
  return std::max(left, milliseconds(1));
}

}  // namespace

Meeting::Meeting(std::shared_ptr<Store> store, const TransportOptions& options)
    : store_(std::move(store)),
      options_(options),
      prefix_(fmt::format("transport/{}/{}/", options.group_name, options.generation)),
      deadline_(base::deadline_after(options.timeout)) {}

std::string Meeting::key(const std::string& name) const {
  return prefix_ + name;
}

std::string Meeting::phase_key(const std::string& phase, int rank) const {
  return fmt::format("{}{}/{}", prefix_, phase, rank);
}

base::Status Meeting::enter() {
  const auto seat = store_->add(phase_key("seat", options_.rank), 1);
  GAMELAN_RETURN_IF_ERROR(seat.status());
  if (*seat != 1) {
    return base::failed_precondition(
        "two processes joined group '{}' (generation {}) as rank {}: every process needs a rank of "
        "its own, "
        "and a group that is formed again needs the next generation",
        options_.group_name, options_.generation, options_.rank);
  }
  const std::string own_size = std::to_string(options_.world_size);
  GAMELAN_ASSIGN_OR_RETURN(const std::string size, store_->compare_set(key("world"), "", own_size));
  if (size != own_size) {
    return base::invalid_argument(
        "group '{}' (generation {}): rank {} has world size {}, who came before has {}",
        options_.group_name, options_.generation, options_.rank, own_size, size);
  }
  GAMELAN_ASSIGN_OR_RETURN(
      id_, store_->compare_set(key("id"), "", net::Token::random().secret().substr(0, 32)));
  return base::OkStatus();
}

base::Status Meeting::check() const {
  const auto gave_up = store_->check({key("failed")});
  GAMELAN_RETURN_IF_ERROR(gave_up.status());
  if (!*gave_up) {
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::string text, store_->get(key("failed"), kSlice));
  // "<code> <message>"
  int code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || code <= 0 || code > 16 || end == text.data() + text.size()) {
    return base::data_loss("the store's reason for a failed group is '{}'", text);
  }
  [[maybe_unused]] const auto seen = store_->add(key("failed_seen"), 1);
  return base::Status(static_cast<base::StatusCode>(code),
                      std::string(end + 1, text.data() + text.size()));
}

void Meeting::give_up(const base::Status& reason) {
  const std::string text =
      fmt::format("{} {}", static_cast<int>(reason.code()), base::message(reason));
  const auto stored = store_->compare_set(key("failed"), "", text);
  if (!stored.ok() || *stored != text) {
    return;  // no store any more, or somebody else was first
  }
  // When this process hosts the store, the others cannot read the reason after it has gone.
  const base::TimePoint farewell = base::deadline_after(kFarewell);
  while (base::Clock::now() < farewell) {
    const auto present = store_->add(key("records/count"), 0);
    const auto seen = store_->add(key("failed_seen"), 0);
    if (!present.ok() || !seen.ok() || *seen + 1 >= *present) {
      return;
    }
    // A blocking look at a key that never comes: the pause that needs no sleep.
    [[maybe_unused]] const base::Status pause = store_->wait({key("never")}, milliseconds(10));
  }
}

std::vector<int> Meeting::missing(const std::string& phase) const {
  std::vector<int> ranks;
  for (int rank = 0; rank < options_.world_size; ++rank) {
    const auto there = store_->check({phase_key(phase, rank)});
    if (!there.ok()) {
      return {};
    }
    if (!*there) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

std::string Meeting::missing_text(const std::vector<int>& ranks) const {
  const std::size_t shown = std::min<std::size_t>(ranks.size(), 32);
  std::string list =
      fmt::format("{}", fmt::join(ranks.begin(), ranks.begin() + static_cast<long>(shown), ", "));
  if (shown < ranks.size()) {
    list += fmt::format(" and {} more", ranks.size() - shown);
  }
  return fmt::format("rank{} {} of {}", ranks.size() == 1 ? "" : "s", list, options_.world_size);
}

base::StatusOr<std::vector<std::string>> Meeting::exchange(const std::string& phase,
                                                           const std::string& record) {
  GAMELAN_RETURN_IF_ERROR(store_->set(phase_key(phase, options_.rank), record));
  GAMELAN_ASSIGN_OR_RETURN(const std::int64_t present, store_->add(key(phase + "/count"), 1));
  if (present == options_.world_size) {
    GAMELAN_RETURN_IF_ERROR(store_->set(key(phase + "/all"), "1"));
  }
  GAMELAN_RETURN_IF_ERROR(wait_for_all(phase));
  std::vector<std::string> keys;
  for (int rank = 0; rank < options_.world_size; ++rank) {
    keys.push_back(phase_key(phase, rank));
  }
  return store_->multi_get(keys, left_until(deadline_));
}

base::Status Meeting::wait_for_all(const std::string& phase) {
  const milliseconds slice = std::max(kSlice, milliseconds(options_.world_size));
  base::TimePoint next_report = base::deadline_after(options_.report_interval);
  std::vector<int> absent;
  while (true) {
    const base::Status waited =
        store_->wait({key(phase + "/all")}, std::min(slice, left_until(deadline_)));
    if (waited.ok()) {
      return waited;
    }
    if (waited.code() != base::StatusCode::kDeadlineExceeded) {
      return absent.empty() ? waited
                            : base::annotate(waited, "the store was lost while waiting for " +
                                                         missing_text(absent));
    }
    GAMELAN_RETURN_IF_ERROR(check());
    const base::TimePoint now = base::Clock::now();
    const bool report = now >= next_report;
    const bool late = now >= deadline_;
    if (report || late || options_.world_size <= kSmallGroup) {
      absent = missing(phase);
    }
    if (late && !absent.empty()) {
      return base::deadline_exceeded(
          "group '{}' (generation {}) was not formed within {} ms: {} did not arrive",
          options_.group_name, options_.generation, options_.timeout.count(), missing_text(absent));
    }
    if (report && !absent.empty()) {
      base::log().info("group '{}': waiting for {}", options_.group_name, missing_text(absent));
      next_report = now + options_.report_interval;
    }
  }
}

}  // namespace gamelan::dist
