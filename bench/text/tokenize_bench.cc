// How fast WordPiece turns text into ids, on one thread. bench/peers/tokenize_hf.py runs it beside
// HuggingFace's tokenizers over the same texts.

#include <CLI/CLI.hpp>
#include <vector>

#include "base/clock.h"
#include "bench/support/machine.h"
#include "bench/support/statistics.h"
#include "io/text_dataset.h"
#include "io/tokenizer_files.h"

namespace gamelan::bench {
namespace {

struct Options {
  std::string vocabulary;
  std::string data;
  std::string text_column = "3";
  std::string label_column = "0";
  std::size_t texts = 5000;
  std::size_t max_length = 0;
  int rounds = 7;
  bool json = false;
};

/// Ids of all texts together; the sum keeps the work from being optimised away.
std::size_t encode_all(const text::WordPieceTokenizer& tokenizer,
                       const std::vector<io::TextExample>& examples, std::size_t max_length) {
  text::EncodeOptions options;
  options.max_length = max_length;
  std::vector<text::TokenId> ids;
  std::size_t total = 0;
  for (const io::TextExample& example : examples) {
    ids.clear();
    tokenizer.encode_to(example.text, options, ids);
    total += ids.size();
  }
  return total;
}

int fail(const base::Status& status) {
  fmt::print(stderr, "{}\n", base::message(status));
  return 1;
}

int run(const Options& options) {
  const Machine machine = this_machine();
  const auto tokenizer = io::load_word_piece_tokenizer(options.vocabulary);
  if (!tokenizer.ok()) {
    return fail(tokenizer.status());
  }
  io::TextDatasetOptions dataset_options;
  dataset_options.has_header = false;
  dataset_options.columns = {.text = options.text_column, .label = options.label_column};
  auto dataset = io::load_text_dataset(options.data, dataset_options);
  if (!dataset.ok()) {
    return fail(dataset.status());
  }
  auto& examples = dataset->examples;
  examples.resize(std::min(examples.size(), options.texts));
  std::size_t bytes = 0;
  for (const io::TextExample& example : examples) {
    bytes += example.text.size();
  }
  pin_to_cpu(0);
  std::size_t ids = encode_all(*tokenizer, examples, options.max_length);  // warms up
  std::vector<double> seconds;
  for (int round = 0; round < options.rounds; ++round) {
    const auto start = base::Clock::now();
    ids = encode_all(*tokenizer, examples, options.max_length);
    seconds.push_back(base::seconds(base::Clock::now() - start));
  }
  const double middle = median(seconds);
  const double megabytes = static_cast<double>(bytes) / 1e6;
  if (options.json) {
    const nlohmann::json result = {{"machine", to_json(machine)},
                                   {"texts", examples.size()},
                                   {"bytes", bytes},
                                   {"ids", ids},
                                   {"seconds", seconds},
                                   {"megabytes_per_second", megabytes / middle}};
    fmt::print("{}\n", result.dump(2));
    return 0;
  }
  fmt::print("{}\n", describe(machine));
  fmt::print("{} texts, {:.1f} MB, {} ids; {} rounds, one thread\n", examples.size(), megabytes,
             ids, options.rounds);
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
      "Speed of WordPiece on one thread.\nExample: gamelan_tokenize_bench --vocab vocab.txt "
      "--data imdb_test.tsv.gz"};
  app.add_option("--vocab", options.vocabulary, "vocab.txt, tokenizer.json or their folder")
      ->required();
  app.add_option("--data", options.data, "TSV without a header, CSV or JSONL, also .gz")
      ->required();
  app.add_option("--text-column", options.text_column, "Number or key of the text");
  app.add_option("--label-column", options.label_column, "Number or key of the label");
  app.add_option("--texts", options.texts, "The first so many texts");
  app.add_option("--max-length", options.max_length, "Truncate to so many ids; 0 = no limit");
  app.add_option("--rounds", options.rounds, "Timed repetitions");
  app.add_flag("--json", options.json, "Print figures for programs");
  CLI11_PARSE(app, argc, argv);
  return gamelan::bench::run(options);
}
