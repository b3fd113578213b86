#include "base/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gamelan::base {
namespace {

constexpr int kDefaultColumns = 80;
// Narrower than this a bar says nothing; the figures alone are shown.
constexpr int kMinimumBar = 5;
constexpr int kMaximumBar = 40;

// Columns of the terminal at `fd`. Asked anew at each redraw: windows are resized.
int columns_of(int fd) {
  winsize size = {};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultColumns;
}

}  // namespace

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::clamp(seconds, 0.0, 1e9));
  const std::int64_t hours = whole / 3600;
  const std::int64_t minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{:02}:{:02}", minutes, whole % 60);
}

ProgressBar::ProgressBar(Options options)
    : options_(std::move(options)),
      terminal_(options_.enabled && isatty(options_.fd) == 1),
      start_(Clock::now()),
      next_draw_(terminal_ ? start_ : start_ + options_.line_interval),
      done_(options_.initial) {
  if (terminal_) {
    draw(false);
  }
}

ProgressBar::~ProgressBar() {
  finish();
}

void ProgressBar::advance(std::int64_t count) {
  done_ += count;
  if (options_.enabled && !finished_ && Clock::now() >= next_draw_) {
    draw(false);
  }
}

void ProgressBar::set_note(std::string_view note) {
  note_ = note;
}

void ProgressBar::print(std::string_view line) {
  if (!options_.enabled) {
    return;
  }
  if (terminal_ && !finished_) {
    write(fmt::format("\r\x1b[K{}\n", line));
    draw(false);
  } else {
    write(fmt::format("{}\n", line));
  }
}

void ProgressBar::finish() {
  if (!std::exchange(finished_, true) && options_.enabled) {
    draw(true);
  }
}

void ProgressBar::draw(bool last) {
  const Duration interval = terminal_ ? options_.redraw_interval : options_.line_interval;
  next_draw_ = Clock::now() + interval;
  if (terminal_) {
    // The last column stays free: a character there makes some terminals wrap.
    write(fmt::format("\r{}\x1b[K{}", bar_text(columns_of(options_.fd) - 1), last ? "\n" : ""));
  } else {
    write(line_text() + "\n");
  }
}

double ProgressBar::rate() const {
  const double elapsed = seconds(Clock::now() - start_);
  return elapsed > 0 ? static_cast<double>(done_ - options_.initial) / elapsed : 0.0;
}

std::string ProgressBar::bar_text(int columns) const {
  const double per_second = rate();
  const std::string elapsed = clock_text(seconds(Clock::now() - start_));
  const std::string note = note_.empty() ? "" : " " + note_;
  std::string text;
  if (options_.total <= 0) {
    text = fmt::format("{} {} {} [{}, {:.1f} {}/s]{}", options_.title, done_, options_.unit,
                       elapsed, per_second, options_.unit, note);
  } else {
    const double part =
        std::clamp(static_cast<double>(done_) / static_cast<double>(options_.total), 0.0, 1.0);
    const std::string left =
        per_second > 0 ? clock_text(static_cast<double>(options_.total - done_) / per_second) : "?";
    const std::string before =
        fmt::format("{} {:3}%", options_.title, static_cast<int>(part * 100));
    const std::string after = fmt::format(" {}/{} [{}<{}, {:.1f} {}/s]{}", done_, options_.total,
                                          elapsed, left, per_second, options_.unit, note);
    const int room = columns - static_cast<int>(before.size() + after.size()) - 2;
    text = before;
    if (room >= kMinimumBar) {
      const int width = std::min(room, kMaximumBar);
      const int filled = static_cast<int>(part * width);
      text += fmt::format("|{:#<{}}{: <{}}|", "", filled, "", width - filled);
    }
    text += after;
  }
  if (std::cmp_greater(text.size(), std::max(columns, 0))) {
    text.resize(static_cast<std::size_t>(std::max(columns, 0)));
  }
  return text;
}

std::string ProgressBar::line_text() const {
  const double per_second = rate();
  std::string text = fmt::format("{}: {}", options_.title, done_);
  if (options_.total > 0) {
    text +=
        fmt::format("/{} {} ({}%)", options_.total, options_.unit, done_ * 100 / options_.total);
  } else {
    text += fmt::format(" {}", options_.unit);
  }
  text += fmt::format(", {} elapsed", clock_text(seconds(Clock::now() - start_)));
  if (options_.total > done_ && per_second > 0) {
    text += fmt::format(", {} left",
                        clock_text(static_cast<double>(options_.total - done_) / per_second));
  }
  text += fmt::format(", {:.1f} {}/s", per_second, options_.unit);
  return note_.empty() ? text : text + ", " + note_;
}

void ProgressBar::write(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = ::write(options_.fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace gamelan::base
