#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace gamelan::base {

/// The progress of long work: a bar that redraws itself on a terminal, plain lines when the output
/// is redirected.
///
///   Epoch 1  45%|#########           | 450/1000 [00:12<00:15, 36.1 step/s] loss 0.412
///   Epoch 1: 450/1000 step (45%), 00:12 elapsed, 00:15 left, 36.1 step/s, loss 0.412
///
/// Not thread-safe: one thread owns it. Write errors are ignored.
class ProgressBar {
 public:
  struct Options {
    /// Stands in front of the bar.
    std::string title;
    /// Units of work in all; 0 = unknown, which shows a count and a rate alone.
    std::int64_t total = 0;
    /// Units done before this process began (a resumed job); they count as done, not into the rate.
    std::int64_t initial = 0;
    /// Name of one unit.
    std::string unit = "it";
    /// Where it is written; the descriptor stays the caller's. Standard error.
    int fd = 2;
    /// False writes nothing at all: ranks other than 0.
    bool enabled = true;
    /// Least time between two redraws on a terminal.
    std::chrono::milliseconds redraw_interval{100};
    /// Least time between two lines when redirected; the last line always appears.
    std::chrono::milliseconds line_interval{10'000};
  };

  explicit ProgressBar(Options options);
  /// finish().
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// `count` more units are done.
  void advance(std::int64_t count = 1);
  /// The text behind the bar, for example "loss 0.412"; shown at the next redraw.
  void set_note(std::string_view note);
  /// Writes `line` to the same descriptor without tearing the bar: the bar moves one line down.
  void print(std::string_view line);
  /// Draws the final state and leaves the cursor below it. Idempotent.
  void finish();

  std::int64_t done() const { return done_; }

 private:
  void draw(bool last);
  std::string bar_text(int columns) const;
  std::string line_text() const;
  /// Units per second since the start, 0 before any.
  double rate() const;
  void write(std::string_view text) const;

  const Options options_;
  const bool terminal_;
  const TimePoint start_;
  TimePoint next_draw_;
  std::int64_t done_;
  std::string note_;
  bool finished_ = false;
};

/// "03:25", "1:02:03" from a duration; negative counts as zero.
std::string clock_text(double seconds);

}  // namespace gamelan::base
