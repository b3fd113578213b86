#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "gamelan/engine_arguments.h"
#include "gamelan/generate_arguments.h"
#include "gamelan/generate_output.h"
#include "io/model_files.h"

namespace gamelan::apps {
namespace {

using Json = nlohmann::ordered_json;

/// All prompts of the command, from their requests to the output.
class Generation {
 public:
  Generation(const GenerateArguments& arguments, const text::Tokenizer* tokenizer,
             infer::Engine& engine)
      : arguments_(arguments), tokenizer_(tokenizer), engine_(engine) {}

  base::Status run(std::vector<infer::Request> requests);
  /// Prints what was not printed as it came. False when a text failed.
  bool print() const;
  Json to_json() const;
  std::chrono::duration<double> elapsed() const { return elapsed_; }

 private:
  struct Prompt {
    infer::Request request;
    infer::RequestId id = 0;
    std::vector<GeneratedText> texts;
  };
  base::Status submit(std::vector<infer::Request> requests);
  void take(const infer::Event& event);
  bool streams() const;
  std::string name_of(std::size_t prompt, std::size_t text) const;

  const GenerateArguments& arguments_;
  const text::Tokenizer* tokenizer_;
  infer::Engine& engine_;
  std::vector<Prompt> prompts_;
  std::map<infer::RequestId, std::size_t> places_;
  std::chrono::duration<double> elapsed_{};
};

/// One text alone is printed as it comes, on a terminal or when that is asked for.
bool Generation::streams() const {
  return !arguments_.json && prompts_.size() == 1 && prompts_[0].texts.size() == 1 &&
         (arguments_.stream || isatty(STDOUT_FILENO) == 1);
}

base::Status Generation::submit(std::vector<infer::Request> requests) {
  for (infer::Request& request : requests) {
    Prompt prompt;
    GAMELAN_ASSIGN_OR_RETURN(prompt.id, engine_.submit(request));
    for (int i = 0; i < request.n; ++i) {
      prompt.texts.emplace_back(tokenizer_, request.prompt, arguments_.stop);
    }
    prompt.request = std::move(request);
    places_[prompt.id] = prompts_.size();
    prompts_.push_back(std::move(prompt));
  }
  return base::OkStatus();
}

void Generation::take(const infer::Event& event) {
  Prompt& prompt = prompts_[places_.at(event.request)];
  GeneratedText& text = prompt.texts[static_cast<std::size_t>(event.index)];
  const bool was_open = !text.ended();
  const std::string certain = text.take(event);
  if (streams()) {
    if (tokenizer_ != nullptr) {
      fmt::print("{}", certain);
    } else {
      for (const text::TokenId token : event.tokens) {
        fmt::print("{} ", token);
      }
    }
    std::fflush(stdout);
  }
  // A stop text has come: nobody wants the rest, when it was the last open one.
  const bool all_ended = std::ranges::all_of(prompt.texts, &GeneratedText::ended);
  if (was_open && all_ended && !event.last) {
    engine_.cancel(event.request).IgnoreError();
  }
}

base::Status Generation::run(std::vector<infer::Request> requests) {
  GAMELAN_RETURN_IF_ERROR(submit(std::move(requests)));
  if (streams() && arguments_.echo) {
    fmt::print("{}", arguments_.prompts.front());
  }
  const auto start = std::chrono::steady_clock::now();
  while (!engine_.idle()) {
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<infer::Event> events, engine_.step());
    for (const infer::Event& event : events) {
      take(event);
    }
  }
  elapsed_ = std::chrono::steady_clock::now() - start;
  return base::OkStatus();
}

/// "[prompt 2, text 1]", as far as it tells them apart.
std::string Generation::name_of(std::size_t prompt, std::size_t text) const {
  std::string name;
  if (prompts_.size() > 1) {
    name = fmt::format("prompt {}", prompt + 1);
  }
  if (prompts_[prompt].texts.size() > 1) {
    name += fmt::format("{}text {}", name.empty() ? "" : ", ", text + 1);
  }
  return name.empty() ? name : fmt::format("[{}]\n", name);
}

bool Generation::print() const {
  bool good = true;
  for (std::size_t p = 0; p < prompts_.size(); ++p) {
    for (std::size_t t = 0; t < prompts_[p].texts.size(); ++t) {
      const GeneratedText& text = prompts_[p].texts[t];
      if (text.failed()) {
        fmt::print(stderr, "gamelan generate: {}{}\n", name_of(p, t), text.error());
        good = false;
      }
      if (arguments_.json) {
        continue;
      }
      if (!streams()) {
        fmt::print("{}{}{}", name_of(p, t), arguments_.echo ? arguments_.prompts[p] : "",
                   tokenizer_ != nullptr ? text.text() : text.to_json()["token_ids"].dump());
      }
      fmt::print("\n");
    }
  }
  return good;
}

Json Generation::to_json() const {
  Json results = Json::array();
  for (const Prompt& prompt : prompts_) {
    Json texts = Json::array();
    for (const GeneratedText& text : prompt.texts) {
      texts.push_back(text.to_json());
    }
    results.push_back({{"input_ids", prompt.request.prompt}, {"texts", std::move(texts)}});
  }
  return results;
}

/// Null when the model has none and no text is needed.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer(
    const GenerateArguments& arguments) {
  const bool needs_text =
      arguments.input_ids.empty() || !arguments.stop.empty() || !arguments.bad_words.empty();
  const ModelOptions& model = arguments.engine.model;
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(model.model));
  auto tokenizer = load_tokenizer_of(model, files.tokenizer_path);
  if (!needs_text && model.tokenizer_path.empty() &&
      tokenizer.status().code() == base::StatusCode::kNotFound) {
    return std::unique_ptr<text::Tokenizer>();
  }
  return tokenizer;
}

base::StatusOr<bool> generate(GenerateArguments& arguments) {
  GAMELAN_ASSIGN_OR_RETURN(LoadedModel loaded, load_model(arguments.engine));
  if (!loaded.leads()) {
    GAMELAN_RETURN_IF_ERROR(loaded.parallel->serve_steps());
    return true;
  }
  if (const std::vector<std::string> ignored = without_effect(arguments); !ignored.empty()) {
    fmt::print(stderr, "gamelan generate: {}: ignored at --temperature 0, which draws no tokens\n",
               fmt::join(ignored, ", "));
  }
  GAMELAN_RETURN_IF_ERROR(read_prompt_file(arguments));
  GAMELAN_ASSIGN_OR_RETURN(const auto tokenizer, load_tokenizer(arguments));
  GAMELAN_ASSIGN_OR_RETURN(std::vector<infer::Request> requests,
                           make_requests(arguments, loaded.model->config(), tokenizer.get()));
  std::unique_ptr<infer::CausalModel> assistant;
  if (!arguments.assistant_model.empty()) {
    GAMELAN_ASSIGN_OR_RETURN(assistant,
                             load_beside(loaded, arguments.engine, arguments.assistant_model));
  }
  GAMELAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<infer::Engine> engine,
      infer::Engine::create(*loaded.model, arguments.engine.engine_options(*loaded.model),
                            assistant.get()));
  Generation generation(arguments, tokenizer.get(), *engine);
  GAMELAN_RETURN_IF_ERROR(generation.run(std::move(requests)));
  const bool good = generation.print();
  const infer::EngineStatistics statistics = engine->statistics();
  const double seconds = generation.elapsed().count();
  if (arguments.json) {
    Json statistics_json = to_json(statistics);
    statistics_json["load_seconds"] = loaded.load_time.count();
    statistics_json["generate_seconds"] = seconds;
    fmt::print("{}\n", Json{{"model", arguments.engine.model.model},
                            {"description", loaded.model->description()},
                            {"results", generation.to_json()},
                            {"statistics", std::move(statistics_json)}}
                           .dump(2, ' ', false, Json::error_handler_t::replace));
  }
  if (arguments.verbose) {
    fmt::print(stderr,
               "{}, loaded in {:.2f} s; {} prompt tokens ({} found in the cache), {} generated in "
               "{:.2f} s ({:.1f}/s), {} steps, {} of {} proposals accepted\n",
               loaded.model->description(), loaded.load_time.count(),
               statistics.prompt_tokens + statistics.shared_tokens, statistics.shared_tokens,
               statistics.generated_tokens, seconds,
               static_cast<double>(statistics.generated_tokens) / seconds, statistics.steps,
               statistics.accepted_tokens, statistics.proposed_tokens);
  }
  return good;
}

}  // namespace

int generate_command(const std::vector<std::string>& arguments) {
  GenerateArguments generate_arguments;
  CLI::App app("", "gamelan generate");
  cli::describe(app,
                "gamelan generate --model bloom-560m --prompt 'Once upon a time' --top-p 0.9 "
                "--temperature 0.8",
                "Continues text with a model for text generation. Several processes run one "
                "model together:\n  gamelan run --nproc-per-node 2 -- gamelan generate "
                "--tensor-parallel-size 2 --model ...");
  add_generate_options(app, generate_arguments);
  if (const auto exit_code = cli::parse(app, arguments)) {
    return *exit_code;
  }
  if (const base::Status status = check_arguments(generate_arguments); !status.ok()) {
    return cli::usage_error(app, base::message(status));
  }
  const base::StatusOr<bool> good = generate(generate_arguments);
  if (!good.ok()) {
    std::fflush(stdout);
    fmt::print(stderr, "gamelan generate: {}\n", base::message(good.status()));
    return cli::kExitFailed;
  }
  return *good ? cli::kExitDone : cli::kExitFailed;
}

}  // namespace gamelan::apps
