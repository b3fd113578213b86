#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/clock.h"
#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "io/atomic_file.h"
#include "io/bpe_writer.h"
#include "io/count_pieces.h"
#include "io/load_tokenizer.h"
#include "text/bpe_trainer.h"
#include "text/utf8.h"

namespace gamelan::apps {
namespace {

using text::TokenId;

struct Options {
  std::string model;
  std::vector<std::string> texts;
  std::string file;
  bool decode = false;
  bool no_special_tokens = false;
  bool skip_special_tokens = false;
  bool json = false;
  std::vector<std::string> train;
  std::string output_dir;
  text::BpeTrainerOptions trainer;
  io::BpeFilesOptions files;
};

std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// Calls `on_text` for each text on the command line, or each line of the file or of the standard
/// input.
template <class OnText>
base::Status for_each_text(const Options& options, OnText&& on_text) {
  if (!options.texts.empty()) {
    for (const std::string& text : options.texts) {
      GAMELAN_RETURN_IF_ERROR(on_text(text));
    }
    return base::OkStatus();
  }
  std::string line;
  if (options.file.empty()) {
    while (std::getline(std::cin, line)) {
      GAMELAN_RETURN_IF_ERROR(on_text(line));
    }
    return base::OkStatus();
  }
  GAMELAN_ASSIGN_OR_RETURN(io::LineReader lines, io::LineReader::open(options.file));
  while (true) {
    GAMELAN_ASSIGN_OR_RETURN(const bool any, lines.next(line));
    if (!any) {
      return base::OkStatus();
    }
    GAMELAN_RETURN_IF_ERROR(on_text(line));
  }
}

void print_ids(const text::Tokenizer& tokenizer, const std::string& text, const Options& options) {
  const std::vector<TokenId> ids = tokenizer.encode(text, !options.no_special_tokens);
  if (!options.json) {
    fmt::print("{}\n", fmt::join(ids, " "));
    return;
  }
  auto tokens = nlohmann::ordered_json::array();
  for (const TokenId id : ids) {
    tokens.push_back(tokenizer.token_of(id));
  }
  fmt::print("{}\n", dump({{"text", text}, {"ids", ids}, {"tokens", std::move(tokens)}}));
}

/// Ids with blanks or commas between them.
base::StatusOr<std::vector<TokenId>> parse_ids(std::string_view text) {
  std::vector<TokenId> ids;
  constexpr std::string_view kBetween = " \t\r,";
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kBetween), text.size()));
    if (text.empty()) {
      return ids;
    }
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    TokenId id = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0) {
      return base::invalid_argument("--decode: expected token ids, got '{}'",
                                    text::replace_invalid_utf8(word.substr(0, 60)));
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

base::Status print_text(const text::Tokenizer& tokenizer, const std::string& line,
                        const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, parse_ids(line));
  for (const TokenId id : ids) {
    if (id >= tokenizer.vocabulary_size()) {
      return base::invalid_argument("--decode: expected ids below {}, got {}",
                                    tokenizer.vocabulary_size(), id);
    }
  }
  const std::string text = tokenizer.decode(ids, options.skip_special_tokens);
  if (options.json) {
    fmt::print("{}\n", dump({{"ids", ids}, {"text", text}}));
  } else {
    fmt::print("{}\n", text);
  }
  return base::OkStatus();
}

base::Status tokenize(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const auto tokenizer, io::load_tokenizer(options.model));
  return for_each_text(options, [&](const std::string& text) {
    if (options.decode) {
      return print_text(*tokenizer, text, options);
    }
    print_ids(*tokenizer, text, options);
    return base::OkStatus();
  });
}

base::Status train(Options options) {
  const auto start = base::Clock::now();
  const auto splitter =
      text::make_pattern_splitter(options.files.pattern, text::SplitBehavior::kIsolated, false);
  text::PieceCounts counts;
  std::uint64_t size_bytes = 0;
  for (const std::string& file : options.train) {
    GAMELAN_ASSIGN_OR_RETURN(const std::uint64_t size, io::count_pieces(file, *splitter, counts));
    size_bytes += size;
  }
  const auto counted = base::Clock::now();
  options.trainer.special_tokens = io::special_tokens_of(options.files);
  GAMELAN_ASSIGN_OR_RETURN(const text::BpeVocabulary trained,
                           text::train_bpe(counts, options.trainer));
  const double counting = base::seconds(counted - start);
  const double merging = base::seconds(base::Clock::now() - counted);
  GAMELAN_RETURN_IF_ERROR(io::make_folders(options.output_dir));
  GAMELAN_RETURN_IF_ERROR(io::save_bpe_files(options.output_dir, trained, options.files));
  if (options.json) {
    fmt::print("{}\n", dump({{"output_dir", options.output_dir},
                             {"bytes", size_bytes},
                             {"pieces", counts.total()},
                             {"distinct_pieces", counts.entries().size()},
                             {"vocab_size", trained.tokens.size()},
                             {"merges", trained.merges.size()},
                             {"counting_seconds", counting},
                             {"merging_seconds", merging}}));
    return base::OkStatus();
  }
  fmt::print("{:.1f} MB, {} pieces, {} distinct ones: counted in {:.1f} s\n",
             static_cast<double>(size_bytes) / 1e6, counts.total(), counts.entries().size(),
             counting);
  fmt::print("{} tokens, {} merges: trained in {:.1f} s\n", trained.tokens.size(),
             trained.merges.size(), merging);
  if (trained.tokens.size() < options.trainer.vocabulary_size) {
    fmt::print("Fewer than {}: no pair left occurs {} times\n", options.trainer.vocabulary_size,
               options.trainer.min_frequency);
  }
  fmt::print("Saved {0}/tokenizer.json and {0}/tokenizer_config.json\n", options.output_dir);
  return base::OkStatus();
}

void add_training_options(CLI::App& app, Options& options) {
  const char* const group = "Training";
  CLI::Option* const train =
      app.add_option("--train", options.train,
                     "Text files, plain or gzip, to make a byte-level BPE vocabulary of")
          ->group(group);
  app.add_option("--vocab-size", options.trainer.vocabulary_size,
                 "Tokens in all, special ones and the 256 bytes included")
      ->group(group)
      ->capture_default_str();
  app.add_option("--min-frequency", options.trainer.min_frequency,
                 "Pairs that occur less often are not merged")
      ->group(group)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--output-dir", options.output_dir,
                 "Folder for tokenizer.json and tokenizer_config.json")
      ->group(group);
  options.files.eos_token = "<|endoftext|>";
  app.add_option("--eos-token", options.files.eos_token, "Ends a text; '' = none")
      ->group(group)
      ->capture_default_str();
  app.add_option("--bos-token", options.files.bos_token, "Begins a text")->group(group);
  app.add_option("--unk-token", options.files.unk_token, "Stands for what is unknown")
      ->group(group);
  app.add_option("--pad-token", options.files.pad_token, "Fills a batch up")->group(group);
  app.add_option("--special-tokens", options.files.special_tokens, "Further special tokens")
      ->group(group);
  static const std::map<std::string, text::SplitPattern> patterns = {
      {"gpt2", text::SplitPattern::kGpt2},
      {"llama3", text::SplitPattern::kLlama3},
      {"qwen2", text::SplitPattern::kQwen2},
      {"bloom", text::SplitPattern::kBloom}};
  app.add_option("--pre-tokenizer", options.files.pattern,
                 "Whose way of cutting a text into pieces [gpt2]")
      ->group(group)
      ->transform(CLI::CheckedTransformer(patterns));
  app.add_option("--model-max-length", options.files.model_max_length,
                 "The most tokens that the model takes; 0 = not said")
      ->group(group)
      ->capture_default_str();
  for (CLI::Option* const option : app.get_options()) {
    if (option->get_group() == group && option != train) {
      option->needs(train);
    }
  }
}

void add_options(CLI::App& app, Options& options) {
  CLI::Option* const model =
      app.add_option("--model", options.model, "Model folder, or one tokenizer file");
  CLI::Option* const text =
      app.add_option("TEXT", options.texts,
                     "Texts; without any, every line of --file or of the standard input is one")
          ->needs(model);
  app.add_option("--file", options.file, "Text file, plain or gzip")->needs(model)->excludes(text);
  CLI::Option* const decode =
      app.add_flag("--decode", options.decode, "The texts are token ids: print what they stand for")
          ->needs(model);
  app.add_flag("--no-special-tokens", options.no_special_tokens,
               "Adds no special tokens around a text")
      ->needs(model)
      ->excludes(decode);
  app.add_flag("--skip-special-tokens", options.skip_special_tokens,
               "Leaves special tokens out of decoded text")
      ->needs(decode);
  app.add_flag("--json", options.json, "Prints one JSON object for each text");
  add_training_options(app, options);
}

}  // namespace

int tokenize_command(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan tokenize");
  cli::describe(app, "gamelan tokenize --model gpt2 \"Hello, gamelan!\"",
                "Prints the token ids of each text, a line a text, or with --decode the text of "
                "ids.\nWith --train it makes a vocabulary instead:\n"
                "  gamelan tokenize --train reviews.txt.gz --vocab-size 16000 --output-dir out");
  add_options(app, options);
  if (const auto exit_code = cli::parse(app, arguments)) {
    return *exit_code;
  }
  const bool trains = !options.train.empty();
  if (trains == !options.model.empty()) {
    return cli::usage_error(app, "expected either --model or --train");
  }
  if (trains && options.output_dir.empty()) {
    return cli::usage_error(app, "--train needs --output-dir");
  }
  const base::Status status = trains ? train(options) : tokenize(options);
  if (!status.ok()) {
    std::fflush(stdout);
    fmt::print(stderr, "gamelan tokenize: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
