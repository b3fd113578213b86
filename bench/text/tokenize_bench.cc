// How fast text becomes token ids, on one thread. bench/peers/tokenize_hf.py runs it beside
// HuggingFace's tokenizers over the same texts.

#include <CLI/CLI.hpp>
#include <vector>

#include "base/clock.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "io/load_tokenizer.h"
#include "io/text_dataset.h"

namespace gamelan::bench {
namespace {

struct Options {
  std::string tokenizer;
  std::string data;
  std::string text_column = "3";
  std::string label_column = "0";
  bool lines = false;
  std::size_t texts = 5000;
  int rounds = 7;
  bool json = false;
};

/// Ids of all texts together; the sum keeps the work from being optimised away.
std::size_t encode_all(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  std::vector<text::TokenId> ids;
  std::size_t total = 0;
  for (const std::string& text : texts) {
    ids.clear();
    tokenizer.encode_to(text, true, ids);
    total += ids.size();
  }
  return total;
}

base::StatusOr<std::vector<std::string>> load_texts(const Options& options) {
  std::vector<std::string> texts;
  if (options.lines) {
    GAMELAN_ASSIGN_OR_RETURN(io::LineReader lines, io::LineReader::open(options.data));
    std::string line;
    GAMELAN_ASSIGN_OR_RETURN(bool any, lines.next(line));
    while (any && texts.size() < options.texts) {
      texts.push_back(line);
      GAMELAN_ASSIGN_OR_RETURN(any, lines.next(line));
    }
    return texts;
  }
  io::TextDatasetOptions dataset_options;
  dataset_options.has_header = false;
  dataset_options.columns = {.text = options.text_column, .label = options.label_column};
  GAMELAN_ASSIGN_OR_RETURN(io::TextDataset dataset,
                           io::load_text_dataset(options.data, dataset_options));
  for (io::TextExample& example : dataset.examples) {
    if (texts.size() < options.texts) {
      texts.push_back(std::move(example.text));
    }
  }
  return texts;
}

int fail(const base::Status& status) {
  fmt::print(stderr, "{}\n", base::message(status));
  return 1;
}

int run(const Options& options) {
  const Machine machine = this_machine();
  const auto tokenizer = io::load_tokenizer(options.tokenizer);
  if (!tokenizer.ok()) {
    return fail(tokenizer.status());
  }
  const auto texts = load_texts(options);
  if (!texts.ok()) {
    return fail(texts.status());
  }
  std::size_t bytes = 0;
  for (const std::string& text : *texts) {
    bytes += text.size();
  }
  pin_to_cpu(0);
  std::size_t ids = encode_all(**tokenizer, *texts);  // warms up
  std::vector<double> seconds;
  for (int round = 0; round < options.rounds; ++round) {
    const auto start = base::Clock::now();
    ids = encode_all(**tokenizer, *texts);
    seconds.push_back(base::seconds(base::Clock::now() - start));
  }
  const double middle = median(seconds);
  const double megabytes = static_cast<double>(bytes) / 1e6;
  if (options.json) {
    const nlohmann::json result = {{"machine", to_json(machine)},
                                   {"texts", texts->size()},
                                   {"bytes", bytes},
                                   {"ids", ids},
                                   {"seconds", seconds},
                                   {"megabytes_per_second", megabytes / middle}};
    fmt::print("{}\n", result.dump(2));
    return 0;
  }
  fmt::print("{}\n", describe(machine));
  fmt::print("{} texts, {:.1f} MB, {} ids; {} rounds, one thread\n", texts->size(), megabytes, ids,
             options.rounds);
  fmt::print("{:.1f} MB/s ({:.1f}…{:.1f}), {:.2f} million ids/s\n", megabytes / middle,
             megabytes / quantile(seconds, 1), megabytes / quantile(seconds, 0),
             static_cast<double>(ids) / middle / 1e6);
  return 0;
}

}  // namespace
}  // namespace gamelan::bench

int main(int argc, char** argv) {
  gamelan::bench::Options options;
  CLI::App app{
      "Speed of a tokenizer on one thread.\nExample: gamelan_tokenize_bench --tokenizer gpt2 "
      "--data wikitext2_test.raw.txt --lines"};
  app.add_option("--tokenizer", options.tokenizer, "Model folder, or one tokenizer file")
      ->required();
  app.add_option("--data", options.data, "TSV without a header, CSV, JSONL or text, also .gz")
      ->required();
  app.add_flag("--lines", options.lines, "Every line is a text");
  app.add_option("--text-column", options.text_column, "Number or key of the text");
  app.add_option("--label-column", options.label_column, "Number or key of the label");
  app.add_option("--texts", options.texts, "The first so many texts");
  app.add_option("--rounds", options.rounds, "Timed repetitions");
  app.add_flag("--json", options.json, "Print figures for programs");
  CLI11_PARSE(app, argc, argv);
  return gamelan::bench::run(options);
}
