#include "base/progress_bar.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/fd.h"

namespace gamelan::base {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

// A pseudo-terminal of a given width: what is written to `slave` is read from `master`.
struct Pty {
  explicit Pty(unsigned short columns) : master(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)) {
    grantpt(master.get());
    unlockpt(master.get());
    slave = Fd(open(ptsname(master.get()), O_RDWR | O_NOCTTY));
    const winsize size = {.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(slave.get(), TIOCSWINSZ, &size);
  }
  Fd master;
  Fd slave;
};

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_NONBLOCK), 0);
    in = Fd(ends[0]);
    out = Fd(ends[1]);
  }
  Fd in;
  Fd out;
};

TEST(ProgressBarTest, DrawsABarOnATerminal) {
  Pty pty(80);
  ProgressBar bar({.title = "Epoch 1",
                   .total = 4,
                   .unit = "step",
                   .fd = pty.slave.get(),
                   .redraw_interval = {}});
  bar.set_note("loss 0.412");
  bar.advance(2);
  const std::string half = read_all(pty.master.get());
  EXPECT_THAT(half, StartsWith("\rEpoch 1   0%|"));
  EXPECT_THAT(half, HasSubstr("\rEpoch 1  50%|#"));
  EXPECT_THAT(half, HasSubstr(" 2/4 [00:00<00:00, "));
  EXPECT_THAT(half, HasSubstr(" step/s] loss 0.412"));
  EXPECT_THAT(half, Not(HasSubstr("\n")));
  bar.advance(2);
  bar.finish();
  bar.finish();
  const std::string end = read_all(pty.master.get());
  EXPECT_THAT(end, HasSubstr("\rEpoch 1 100%|#"));
  EXPECT_EQ(std::count(end.begin(), end.end(), '\n'), 1);
}

TEST(ProgressBarTest, FitsTheWidthOfTheTerminal) {
  for (const unsigned short columns : {1, 20, 40, 60, 200}) {
    Pty pty(columns);
    {
      ProgressBar bar({.title = "Epoch 1", .total = 10, .fd = pty.slave.get()});
      bar.advance(3);
    }
    const std::string text = read_all(pty.master.get());
    std::size_t start = 0;
    for (std::size_t end; (end = text.find("\x1b[K", start)) != std::string::npos;
         start = end + 3) {
      EXPECT_LT(end - start - 1, columns) << "'" << text.substr(start, end - start) << "'";
    }
  }
}

TEST(ProgressBarTest, WritesPlainLinesWhenRedirected) {
  Pipe pipe;
  ProgressBar bar({.title = "Epoch 1",
                   .total = 4,
                   .unit = "step",
                   .fd = pipe.out.get(),
                   .line_interval = milliseconds(0)});
  bar.set_note("loss 0.412");
  bar.advance();
  EXPECT_THAT(
      read_all(pipe.in.get()),
      MatchesRegex("Epoch 1: 1/4 step \\(25%\\), 00:00 elapsed, 00:00 left, [0-9.]+ step/s, "
                   "loss 0.412\n"));
  bar.advance(3);
  read_all(pipe.in.get());
  bar.finish();
  EXPECT_THAT(read_all(pipe.in.get()), StartsWith("Epoch 1: 4/4 step (100%), 00:00 elapsed, "));
}

TEST(ProgressBarTest, RedirectedLinesAreRare) {
  Pipe pipe;
  {
    ProgressBar bar({.title = "work", .total = 1000, .fd = pipe.out.get()});
    for (int i = 0; i < 1000; ++i) {
      bar.advance();
    }
  }
  const std::string text = read_all(pipe.in.get());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(ProgressBarTest, PrintMovesTheBarDown) {
  Pty pty(60);
  ProgressBar bar({.title = "work", .total = 2, .fd = pty.slave.get()});
  read_all(pty.master.get());
  bar.print("a line");
  EXPECT_THAT(read_all(pty.master.get()), StartsWith("\r\x1b[Ka line\r\n\rwork   0%|"));
}

TEST(ProgressBarTest, DisabledWritesNothing) {
  Pipe pipe;
  {
    ProgressBar bar({.title = "work", .total = 2, .fd = pipe.out.get(), .enabled = false});
    bar.advance(2);
    bar.print("a line");
  }
  EXPECT_EQ(read_all(pipe.in.get()), "");
}

TEST(ProgressBarTest, CountsWithoutATotalAndFromAnEarlierStart) {
  Pipe pipe;
  {
    ProgressBar bar({.title = "tokens", .unit = "tok", .fd = pipe.out.get()});
    bar.advance(7);
  }
  EXPECT_THAT(read_all(pipe.in.get()), StartsWith("tokens: 7 tok, 00:00 elapsed, "));
  {
    ProgressBar bar({.title = "epoch", .total = 10, .initial = 5, .fd = pipe.out.get()});
    bar.advance(1);
    EXPECT_EQ(bar.done(), 6);
  }
  EXPECT_THAT(read_all(pipe.in.get()), StartsWith("epoch: 6/10 it (60%)"));
}

TEST(ProgressBarTest, SurvivesAClosedReader) {
  ProgressBar bar({.title = "work", .total = 2, .fd = -1});
  bar.advance(2);
  bar.finish();
}

TEST(ProgressBarTest, ClockText) {
  EXPECT_EQ(clock_text(-1), "00:00");
  EXPECT_EQ(clock_text(59.9), "00:59");
  EXPECT_EQ(clock_text(3723), "1:02:03");
}

}  // namespace
}  // namespace gamelan::base
