#include "bench/infer/workload.h"

#include <map>
#include <span>
#include <utility>

#include "base/clock.h"

namespace gamelan::bench {
namespace {

base::Status run_into(infer::Engine& engine, std::span<const infer::Request> requests,
                      Outcome& outcome) {
  std::map<infer::RequestId, std::size_t> places;
  for (const infer::Request& request : requests) {
    GAMELAN_ASSIGN_OR_RETURN(const infer::RequestId id, engine.submit(request));
    places[id] = outcome.tokens.size();
    outcome.tokens.emplace_back();
    outcome.log_probabilities.emplace_back();
  }
  while (!engine.idle()) {
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<infer::Event> events, engine.step());
    for (const infer::Event& event : events) {
      if (event.finish == infer::FinishReason::kError) {
        return base::internal("request {}: {}", event.request, event.error);
      }
      const std::size_t place = places.at(event.request);
      std::vector<text::TokenId>& tokens = outcome.tokens[place];
      tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
      std::vector<float>& logs = outcome.log_probabilities[place];
      logs.insert(logs.end(), event.log_probabilities.begin(), event.log_probabilities.end());
    }
  }
  return base::OkStatus();
}

}  // namespace

std::vector<text::TokenId> PromptSource::take(int tokens) {
  std::uniform_int_distribution<text::TokenId> any(0, static_cast<text::TokenId>(vocabulary_ - 1));
  std::vector<text::TokenId> prompt;
  for (int i = 0; i < tokens; ++i) {
    prompt.push_back(text_.empty() ? any(random_) : text_[next_++ % text_.size()]);
  }
  return prompt;
}

void Outcome::append(const Outcome& other) {
  seconds += other.seconds;
  statistics.steps += other.statistics.steps;
  statistics.prompt_tokens += other.statistics.prompt_tokens;
  statistics.shared_tokens += other.statistics.shared_tokens;
  statistics.generated_tokens += other.statistics.generated_tokens;
  tokens.insert(tokens.end(), other.tokens.begin(), other.tokens.end());
  log_probabilities.insert(log_probabilities.end(), other.log_probabilities.begin(),
                           other.log_probabilities.end());
}

infer::Request request_of(std::vector<text::TokenId> prompt, int new_tokens) {
  infer::Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = new_tokens;
  request.end_tokens.emplace();
  return request;
}

base::StatusOr<Outcome> run_together(infer::CausalModel& model, const infer::EngineOptions& options,
                                     const std::vector<infer::Request>& requests) {
  GAMELAN_ASSIGN_OR_RETURN(const auto engine, infer::Engine::create(model, options));
  Outcome outcome;
  const auto start = base::Clock::now();
  GAMELAN_RETURN_IF_ERROR(run_into(*engine, requests, outcome));
  outcome.seconds = base::seconds(base::Clock::now() - start);
  outcome.statistics = engine->statistics();
  return outcome;
}

base::StatusOr<Outcome> run_one_by_one(infer::CausalModel& model,
                                       const infer::EngineOptions& options,
                                       const std::vector<infer::Request>& requests) {
  GAMELAN_ASSIGN_OR_RETURN(const auto engine, infer::Engine::create(model, options));
  Outcome outcome;
  const auto start = base::Clock::now();
  for (const infer::Request& request : requests) {
    GAMELAN_RETURN_IF_ERROR(run_into(*engine, {&request, 1}, outcome));
  }
  outcome.seconds = base::seconds(base::Clock::now() - start);
  outcome.statistics = engine->statistics();
  return outcome;
}

}  // namespace gamelan::bench
