#include "gamelan/generate_arguments.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <utility>

#include "infer/engine/check_request.h"

namespace gamelan::apps {
namespace {

constexpr int kDefaultNewTokens = 64;

void add_input_options(CLI::App& app, GenerateArguments& a) {
  app.add_option("--prompt", a.prompts, "Text to continue; may be given several times")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--prompt-file", a.prompt_file,
                 "File whose text is continued; - = standard input");
  app.add_option("--input-ids", a.input_ids,
                 "Tokens to continue, 5,17,... instead of text; may be given several times")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--max-new-tokens", a.request.max_new_tokens, "Tokens to generate (default: 64)")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--min-new-tokens", a.request.min_new_tokens,
                 "No end of the text before so many tokens");
  app.add_option("--stop", a.stop, "Text that ends the output; may be given several times")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--bad-words", a.bad_words,
                 "Text that is never generated; may be given several times")
      ->take_all()
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", a.ignore_eos, "Goes on after the model's end token");
}

void add_choice_options(CLI::App& app, GenerateArguments& a) {
  infer::SamplingOptions& s = a.request.sampling;
  app.add_option("--temperature", s.temperature, "0 = the most probable token each time")
      ->capture_default_str();
  app.add_option("--top-k", s.top_k, "Only the k most probable tokens; 0 = all")
      ->capture_default_str();
  app.add_option("--top-p", s.top_p, "Only the most probable tokens that make up this probability")
      ->capture_default_str();
  app.add_option("--min-p", s.min_p,
                 "Only tokens at least this fraction as probable as the most probable one")
      ->capture_default_str();
  app.add_option("--repetition-penalty", s.repetition_penalty,
                 "Makes tokens that have occurred less probable; 1 = off")
      ->capture_default_str();
  app.add_option("--presence-penalty", s.presence_penalty,
                 "Subtracted from the logits of generated tokens")
      ->capture_default_str();
  app.add_option("--frequency-penalty", s.frequency_penalty,
                 "The same, for each time that a token was generated")
      ->capture_default_str();
  app.add_option("--seed", a.seed, "The same seed gives the same text");
  app.add_option("--n,--num-return-sequences", a.request.n, "Texts for each prompt")
      ->capture_default_str();
  app.add_option("--best-of", a.request.best_of,
                 "Texts to generate, of which the --n most probable ones are returned");
  app.add_option("--num-beams", a.request.beam.width, "Beam search with so many beams")
      ->capture_default_str();
  app.add_option("--length-penalty", a.request.beam.length_penalty,
                 "Beams score their log-probability / length^penalty")
      ->capture_default_str();
  app.add_flag("--early-stopping", a.request.beam.early_stopping,
               "Beam search ends when --num-beams texts have ended");
  app.add_option("--num-beam-groups", a.request.beam.groups, "Groups of beams that differ")
      ->capture_default_str();
  app.add_option("--diversity-penalty", a.request.beam.diversity_penalty,
                 "How much groups of beams avoid each other's tokens")
      ->capture_default_str();
}

void add_speed_and_output_options(CLI::App& app, GenerateArguments& a) {
  app.add_option("--prompt-lookup-num-tokens", a.request.lookup_tokens,
                 "Speculation: tokens proposed a step, from what followed the same words before");
  app.add_option("--max-matching-ngram-size", a.request.lookup_ngram,
                 "Tokens that must be the same for that")
      ->capture_default_str();
  app.add_option("--assistant-model", a.assistant_model,
                 "Speculation: a smaller model with the same vocabulary proposes tokens");
  app.add_option("--num-assistant-tokens", a.request.draft_tokens,
                 "Tokens that it proposes a step (default: 4)");
  app.add_option("--logprobs", a.log_probabilities,
                 "Log-probabilities of the tokens, and of so many alternatives, in --json")
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--json", a.json, "Prints one JSON object, with token ids");
  app.add_flag("--stream", a.stream, "Prints text as it comes, also when this is no terminal");
  app.add_flag("--echo", a.echo, "Prints the prompt before what follows it");
  app.add_flag("--verbose", a.verbose, "Prints sizes and times to standard error");
}

base::StatusOr<std::vector<text::TokenId>> parse_ids(const std::string& list) {
  std::vector<text::TokenId> ids;
  std::stringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) {
    text::TokenId id = 0;
    word.erase(0, word.find_first_not_of(" \t\n"));
    word.erase(word.find_last_not_of(" \t\n") + 1);
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      return base::invalid_argument(
          "--input-ids: expected token ids as in 5,17,3, got '{}' in '{}'", word, list);
    }
    ids.push_back(id);
  }
  if (ids.empty()) {
    return base::invalid_argument("--input-ids: expected at least one token id, got '{}'", list);
  }
  return ids;
}

/// Options that ask for what would not happen: each says what it needs.
base::Status check_needs(const GenerateArguments& a) {
  const infer::Request& r = a.request;
  const infer::Request unset;
  const std::size_t prompts =
      a.prompts.size() + a.input_ids.size() + (a.prompt_file.empty() ? 0 : 1);
  const struct {
    bool missing;
    std::string_view option;
    std::string_view needs;
  } all[] = {
      {r.draft_tokens > 0 && a.assistant_model.empty(), "--num-assistant-tokens",
       "--assistant-model with it"},
      {r.lookup_ngram != unset.lookup_ngram && r.lookup_tokens == 0, "--max-matching-ngram-size",
       "--prompt-lookup-num-tokens with it"},
      {r.beam.length_penalty != unset.beam.length_penalty && r.beam.width == 1, "--length-penalty",
       "--num-beams of more than 1 with it"},
      {r.beam.early_stopping && r.beam.width == 1, "--early-stopping",
       "--num-beams of more than 1 with it"},
      {r.beam.groups != 1 && r.beam.width == 1, "--num-beam-groups",
       "--num-beams of more than 1 with it"},
      {r.beam.diversity_penalty != 0 && r.beam.groups == 1, "--diversity-penalty",
       "--num-beam-groups of more than 1 with it"},
      {a.log_probabilities >= 0 && !a.json, "--logprobs", "--json with it, where they are printed"},
      {a.echo && a.json, "--echo",
       "no --json with it, where the prompt's tokens are printed anyway"},
      {a.echo && !a.input_ids.empty(), "--echo", "a prompt of text, got --input-ids"},
      {a.stream && (prompts > 1 || r.n > 1), "--stream", "one text, got several"},
      {a.stream && a.json, "--json", "either --json or --stream, got both"},
  };
  for (const auto& [missing, option, needs] : all) {
    if (missing) {
      return base::invalid_argument("{}: expected {}", option, needs);
    }
  }
  return base::OkStatus();
}

base::StatusOr<std::string> read_prompt(const std::string& path) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored)) {  // reading a folder throws
    return base::not_found("--prompt-file: cannot read {}", path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

base::StatusOr<std::vector<std::vector<text::TokenId>>> tokens_of_prompts(
    const GenerateArguments& arguments, const io::ModelConfig& config,
    const text::Tokenizer* tokenizer) {
  std::vector<std::vector<text::TokenId>> all;
  for (const std::string& list : arguments.input_ids) {
    GAMELAN_ASSIGN_OR_RETURN(auto ids, parse_ids(list));
    all.push_back(std::move(ids));
  }
  for (const std::string& text : arguments.prompts) {
    std::vector<text::TokenId> ids = tokenizer->encode(text);
    if (ids.empty() && config.bos_token_id) {
      ids.push_back(static_cast<text::TokenId>(*config.bos_token_id));
    }
    if (ids.empty()) {
      return base::invalid_argument(
          "--prompt: expected text; '{}' has no tokens, and the model has no token for the "
          "beginning of a text",
          text);
    }
    all.push_back(std::move(ids));
  }
  return all;
}

std::vector<std::vector<text::TokenId>> encode_words(const std::vector<std::string>& words,
                                                     const text::Tokenizer& tokenizer) {
  std::vector<std::vector<text::TokenId>> encoded;
  for (const std::string& word : words) {
    if (word.empty()) {
      continue;  // else the space that begins a word would be one
    }
    // In the middle of a text a word begins with a space.
    for (const std::string& form : {word, " " + word}) {
      encoded.push_back(tokenizer.encode(form, false));
    }
  }
  std::erase_if(encoded, [](const auto& tokens) { return tokens.empty(); });
  return encoded;
}

}  // namespace

void add_generate_options(CLI::App& app, GenerateArguments& arguments) {
  arguments.request.max_new_tokens = 0;
  add_model_options(app, arguments.engine.model);
  add_tokenizer_option(app, arguments.engine.model);
  add_input_options(app, arguments);
  add_choice_options(app, arguments);
  add_speed_and_output_options(app, arguments);
  add_engine_options(app, arguments.engine);
}

base::Status check_arguments(const GenerateArguments& a) {
  GAMELAN_RETURN_IF_ERROR(a.engine.check());
  if (a.prompts.empty() && a.prompt_file.empty() && a.input_ids.empty()) {
    return base::invalid_argument("expected --prompt, --prompt-file or --input-ids");
  }
  if (!a.input_ids.empty() && (!a.prompts.empty() || !a.prompt_file.empty())) {
    return base::invalid_argument("--input-ids: expected either tokens or text, got both");
  }
  GAMELAN_RETURN_IF_ERROR(check_needs(a));
  for (const std::string& list : a.input_ids) {
    GAMELAN_RETURN_IF_ERROR(parse_ids(list).status());
  }
  return base::OkStatus();
}

std::vector<std::string> without_effect(const GenerateArguments& a) {
  const infer::SamplingOptions& s = a.request.sampling;
  std::vector<std::string> names;
  if (s.temperature > 0) {
    return names;
  }
  for (const auto& [given, name] :
       {std::pair{s.top_k > 1, "--top-k"}, {s.top_p < 1, "--top-p"}, {s.min_p > 0, "--min-p"}}) {
    if (given) {
      names.emplace_back(name);
    }
  }
  return names;
}

base::Status read_prompt_file(GenerateArguments& arguments) {
  if (!arguments.prompt_file.empty()) {
    GAMELAN_ASSIGN_OR_RETURN(std::string text, read_prompt(arguments.prompt_file));
    arguments.prompts.push_back(std::move(text));
  }
  return base::OkStatus();
}

base::StatusOr<std::vector<infer::Request>> make_requests(const GenerateArguments& arguments,
                                                          const io::ModelConfig& config,
                                                          const text::Tokenizer* tokenizer) {
  infer::Request common = arguments.request;
  common.sampling.seed = arguments.seed;
  if (arguments.ignore_eos) {
    common.end_tokens.emplace();
  }
  if (arguments.log_probabilities >= 0) {
    common.log_probabilities = true;
    common.top_log_probabilities = arguments.log_probabilities;
  }
  if (!arguments.assistant_model.empty() && common.draft_tokens == 0) {
    common.draft_tokens = 4;
  }
  if (!arguments.bad_words.empty()) {
    common.bad_words = encode_words(arguments.bad_words, *tokenizer);
  }
  if ((common.beam.width > 1 || common.best_of > common.n) && !arguments.stop.empty()) {
    // Texts must end before the best one is chosen; a word that is spelled with other tokens is cut
    // off afterwards, as from every text.
    common.stop_words = encode_words(arguments.stop, *tokenizer);
  }
  GAMELAN_ASSIGN_OR_RETURN(const auto prompts, tokens_of_prompts(arguments, config, tokenizer));
  std::vector<infer::Request> requests;
  for (const std::vector<text::TokenId>& prompt : prompts) {
    infer::Request request = common;
    request.prompt = prompt;
    if (request.max_new_tokens == 0) {
      const std::int64_t limit = infer::longest_text(config);
      const std::int64_t room = limit - static_cast<std::int64_t>(prompt.size()) + 1;
      request.max_new_tokens =
          limit > 0 ? static_cast<int>(std::clamp<std::int64_t>(room, 1, kDefaultNewTokens))
                    : kDefaultNewTokens;
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace gamelan::apps
