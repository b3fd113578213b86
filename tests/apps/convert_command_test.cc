#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>

#include "base/fd.h"
#include "tests/apps/bloom_folder.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsMeasurable = false;
#else
constexpr bool kMemoryIsMeasurable = true;
#endif

/// How a `gamelan` process ended, and what it needed.
struct Outcome {
  int status = 0;  // of waitpid
  std::int64_t peak_kib = 0;
};

/// A `gamelan` whose standard output is a pipe of one page that nobody reads by itself: it stands
/// still when it has printed more than its own buffer and the pipe hold.
class Stalled {
 public:
  explicit Stalled(std::vector<std::string> arguments, rlim_t largest_file = RLIM_INFINITY) {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    base::Fd write_end(fds[1]);
    output_ = base::Fd(fds[0]);
    ::fcntl(fds[0], F_SETPIPE_SZ, 4096);
    arguments.insert(arguments.begin(), GAMELAN_PROGRAM);
    std::vector<char*> argv;
    for (std::string& argument : arguments) {
      argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(write_end.get(), 1);
      ::dup2(write_end.get(), 2);
      const rlimit limit = {largest_file, largest_file};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_IGN);
      ::execv(argv[0], argv.data());
      ::_exit(126);
    }
  }

  /// At least `bytes` of the output.
  std::string read(std::size_t bytes) {
    std::string text;
    char buffer[512];
    while (text.size() < bytes) {
      const ssize_t got = ::read(output_.get(), buffer, sizeof(buffer));
      if (got <= 0) {
        break;
      }
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }

  void kill() const { ::kill(pid_, SIGKILL); }

  Outcome wait() const {
    Outcome outcome;
    rusage usage = {};
    ::wait4(pid_, &outcome.status, 0, &usage);
    outcome.peak_kib = usage.ru_maxrss;
    return outcome;
  }

 private:
  pid_t pid_ = -1;
  base::Fd output_;
};

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

/// The numbers of a NumPy file of f32.
std::vector<float> read_npy(const std::string& path) {
  const std::string bytes = read_file(path);
  std::uint16_t header = 0;
  EXPECT_GT(bytes.size(), 10U);
  std::memcpy(&header, bytes.data() + 8, sizeof(header));
  std::vector<float> numbers((bytes.size() - 10 - header) / sizeof(float));
  std::memcpy(numbers.data(), bytes.data() + 10 + header, numbers.size() * sizeof(float));
  return numbers;
}

class ConvertCommand : public ::testing::Test {
 protected:
  std::string in() const { return folder_.file("in"); }
  std::string out() const { return folder_.file("out"); }
  std::vector<std::string> convert(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"convert", "-i", in(), "-o", out()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  io::TemporaryFolder folder_;
};

TEST_F(ConvertCommand, PrintsWhatTheOriginalPrints) {
  write_bloom_folder(in(), {});
  const Result result = run_gamelan(convert({"-tp", "2", "-dt", "fp16", "-v"}));
  ASSERT_EQ(result.exit, 0) << result.errors;
  std::string text = result.output;
  for (std::size_t at = text.find(folder_.path()); at != std::string::npos;
       at = text.find(folder_.path())) {
    text.replace(at, folder_.path().size(), "DIR");
  }
  const std::string before = "(elapsed time: ";
  const std::size_t time = text.find(before) + before.size();
  ASSERT_LT(time, text.size());
  text.replace(time, text.find(" sec", time) - time, "TIME");
  EXPECT_EQ(text,
            read_file(std::string(GAMELAN_SOURCE_DIR) + "/tests/apps/data/convert_console.txt"));
}

/// -p is the only thing that may raise the peak, by 64 MiB a worker.
TEST_F(ConvertCommand, MemoryIsBoundedByTheLargestTensor) {
  if (!kMemoryIsMeasurable) {
    GTEST_SKIP() << "a sanitizer's own memory hides the program's";
  }
  const BloomSizes sizes = {16, 128, 1, 10};
  write_bloom_folder(in(), sizes);
  const std::int64_t largest_kib = 4 * sizes.hidden() * sizes.hidden() * 4 / 1024;
  ASSERT_GT(sizes.numbers() * 4 / 1024, largest_kib * 3 / 2 + 64 * 1024)
      << "else mapped pages that stay would not be seen";
  for (const std::int64_t workers : {1, 3}) {
    const Stalled process(
        convert({"-tp", "2", "-dt", "fp16", "-p", std::to_string(workers), "--overwrite"}));
    const Outcome outcome = process.wait();
    ASSERT_EQ(outcome.status, 0);
    EXPECT_LT(outcome.peak_kib, largest_kib * 3 / 2 + 64 * 1024 * workers) << workers;
  }
  // And back, where the numbers of a tensor lie in two files, transposed.
  const Stalled back({"convert", "--to", "huggingface", "-i", out(), "-o", folder_.file("back"),
                      "--quantize", "int8"});
  const Outcome outcome = back.wait();
  ASSERT_EQ(outcome.status, 0);
  EXPECT_LT(outcome.peak_kib, largest_kib * 3 / 2 + 64 * 1024);
}

TEST_F(ConvertCommand, AKillLeavesNothingHalfWritten) {
  write_bloom_folder(in(), {2, 2, 12, 3});
  {
    Stalled process(convert({"-v"}));
    EXPECT_THAT(process.read(2000), HasSubstr("Start the checkpoint conversion"));
    process.kill();
    ASSERT_TRUE(WIFSIGNALED(process.wait().status)) << "it cannot have ended: nobody reads";
  }
  EXPECT_FALSE(fs::exists(out() + "/1-gpu"));
  ASSERT_EQ(names_in(out()).size(), 1U);
  EXPECT_THAT(names_in(out()).front(), StartsWith(".1-gpu."));
  ASSERT_EQ(run_gamelan(convert({})).exit, 0);
  EXPECT_EQ(names_in(out()), std::vector<std::string>{"1-gpu"});
}

TEST_F(ConvertCommand, AFileThatIsTooLargeForTheDiskLeavesNothing) {
  write_bloom_folder(in(), {4, 16, 1, 100});
  for (const char* to : {"fastertransformer", "huggingface"}) {
    Stalled process(convert({"--to", to}), 20'000);
    const std::string output = process.read(1 << 20);
    EXPECT_EQ(WEXITSTATUS(process.wait().status), 1);
    EXPECT_THAT(output, HasSubstr("File too large"));
    EXPECT_THAT(output, HasSubstr(to[0] == 'f' ? "model.wte.bin" : "model.safetensors"));
    EXPECT_FALSE(fs::exists(out()));
  }
}

TEST_F(ConvertCommand, AFullDiskLeavesNothing) {
  write_bloom_folder(in(), {8, 32, 1, 100});
  fs::create_directory(out());
  if (::mount("none", out().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "needs the right to mount a small tmpfs (root)";
  }
  std::vector<std::string> to_huggingface = convert({"--to", "huggingface"});
  to_huggingface[4] += "/model";
  for (const std::vector<std::string>& arguments :
       {convert({"-tp", "4", "-p", "2"}), to_huggingface}) {
    const Result result = run_gamelan(arguments);
    EXPECT_EQ(result.exit, 1);
    EXPECT_THAT(result.errors, HasSubstr("No space left on device"));
    EXPECT_THAT(result.errors, HasSubstr(out()));
    EXPECT_THAT(names_in(out()), ::testing::IsEmpty());
  }
  EXPECT_EQ(::umount(out().c_str()), 0);
}

TEST_F(ConvertCommand, AFolderThatCannotBeMadeIsNamed) {
  write_bloom_folder(in(), {2, 2, 1, 3});
  const std::string file = folder_.write("file", "in the way");
  for (const char* to : {"fastertransformer", "huggingface"}) {
    const Result result = run_gamelan({"convert", "-i", in(), "-o", file + "/out", "--to", to});
    EXPECT_EQ(result.exit, 1);
    EXPECT_THAT(result.errors, HasSubstr("create folder " + file));
    EXPECT_THAT(result.errors, HasSubstr("Not a directory"));
    EXPECT_EQ(read_file(file), "in the way");
  }
}

/// -s shares the work out otherwise; what is written is the same.
TEST_F(ConvertCommand, ByShardWritesTheSame) {
  write_bloom_folder(in(), {2, 2, 2, 3});
  ASSERT_EQ(run_gamelan(convert({"-tp", "2"})).exit, 0);
  const Result shards = run_gamelan(
      {"convert", "-i", in(), "-o", folder_.file("shards"), "-tp", "2", "-p", "2", "-s"});
  ASSERT_EQ(shards.exit, 0) << shards.errors;
  const std::vector<std::string> names = names_in(out() + "/2-gpu");
  EXPECT_THAT(names_in(folder_.file("shards/2-gpu")), ::testing::UnorderedElementsAreArray(names));
  EXPECT_THAT(names, ::testing::Contains("config.ini"));
  for (const std::string& name : names) {
    EXPECT_EQ(read_file(out() + "/2-gpu/" + name), read_file(folder_.file("shards/2-gpu/" + name)))
        << name;
  }
}

TEST_F(ConvertCommand, AModelOfMiBsGoesThereAndBack) {
  write_bloom_folder(in(), {4, 16, 2, 100});
  ASSERT_EQ(run_gamelan(convert({"-tp", "2"})).exit, 0);
  const Result back = run_gamelan({"convert", "--to", "huggingface", "-i", out(), "-o",
                                   folder_.file("back"), "--tokenizer-path", in()});
  ASSERT_EQ(back.exit, 0) << back.errors;
  EXPECT_THAT(back.output, HasSubstr("back: 29 tensors, 0.4 MiB"));
  EXPECT_THAT(back.output, HasSubstr("out: no tokenizer that HuggingFace reads"));
  EXPECT_THAT(back.errors, HasSubstr("1/1 MiB (100%)"));
}

/// Packing makes of a quantised folder the integers, or codes, that it holds, and the scales to
/// within an ulp; so a model runs from it as from its source, and by itself in that scheme.
TEST_F(ConvertCommand, AQuantisedFolderRunsAsItsSource) {
  const auto logits = [&](const std::string& path, const std::string& dtype) {
    const Result run = run_gamelan({"eval", "logits", "--model", path, "--dtype", dtype,
                                    "--input-ids", "3,7,11,2", "--out", folder_.file("x.npy")});
    EXPECT_EQ(run.exit, 0) << run.errors;
    return read_npy(folder_.file("x.npy"));
  };
  for (const std::string model : {"bloom", "gpt2", "gptneox", "llama", "qwen2"}) {
    for (const std::string scheme : {"int8", "int4"}) {
      SCOPED_TRACE(model + " " + scheme);
      const std::string source =
          std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/gguf/" + model + ".gguf";
      const std::string out = folder_.file(model + scheme);
      const Result converted = run_gamelan({"convert", "--to", "huggingface", "-i", source, "-o",
                                            out, "--quantize", scheme, "--dtype", "f32"});
      ASSERT_EQ(converted.exit, 0) << converted.errors;
      const std::vector<float> expected = logits(source, scheme);
      const std::vector<float> got = logits(out, "auto");
      ASSERT_EQ(got.size(), expected.size());
      float largest = 0;
      for (const float number : expected) {
        largest = std::max(largest, std::fabs(number));
      }
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 1e-5F * largest) << i;
      }
    }
  }
}

TEST_F(ConvertCommand, MistakesAreNamed) {
  write_bloom_folder(in(), {});
  const auto usage = [&](std::vector<std::string> more) {
    const Result result = run_gamelan(convert(std::move(more)));
    EXPECT_EQ(result.exit, 2);
    return result.errors;
  };
  EXPECT_THAT(usage({"-dt", "bf16"}), HasSubstr("FasterTransformer folders hold fp32 or fp16"));
  EXPECT_THAT(usage({"--quantize", "int8"}), HasSubstr("--quantize needs --to huggingface"));
  EXPECT_THAT(usage({"--to", "huggingface", "-tp", "2"}),
              HasSubstr("--tensor-para-size is for --to fastertransformer"));
  EXPECT_THAT(usage({"--to", "huggingface", "-p", "2"}), HasSubstr("--processes is for"));
  EXPECT_THAT(usage({"--to", "huggingface", "-v"}), HasSubstr("--verbose is for"));
  EXPECT_THAT(usage({"--to", "huggingface", "-s"}), HasSubstr("--by-shard is for"));
  EXPECT_THAT(usage({"--to", "gguf"}), HasSubstr("--to"));
  EXPECT_THAT(usage({"--to", "huggingface", "--group-size", "64"}),
              HasSubstr("--group-size needs --quantize int4"));
  const Result missing = run_gamelan({"convert", "-i", folder_.file("none"), "-o", out()});
  EXPECT_EQ(missing.exit, 1);
  EXPECT_THAT(missing.errors, HasSubstr("none: expected a model's folder or file, found nothing"));
}

}  // namespace
}  // namespace gamelan::testing
