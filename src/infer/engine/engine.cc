#include "infer/engine/engine.h"

#include <algorithm>
#include <limits>
#include <map>
#include <new>
#include <random>
#include <utility>

#include "infer/engine/check_request.h"
#include "infer/engine/draft.h"
#include "infer/engine/events.h"
#include "infer/engine/lookup.h"
#include "infer/engine/scheduler.h"
#include "infer/engine/token_chooser.h"

namespace gamelan::infer {
namespace {

constexpr std::int64_t kMostBlocks = std::int64_t{1} << 24;
constexpr std::string_view kNoToken =
    "no token can follow: the largest logit is infinite or not a number";

class EngineImpl final : public Engine {
 public:
  EngineImpl(CausalModel& model, const EngineOptions& options, std::int64_t blocks,
             CausalModel* draft);

  base::StatusOr<RequestId> submit(Request request) override;
  base::Status cancel(RequestId id) override;
  base::StatusOr<std::vector<Event>> step() override;
  bool idle() const override { return requests_.empty() && told_.empty(); }
  EngineStatistics statistics() const override;

 private:
  EngineLimits limits() const;
  BeamRules beam_rules(const Request& request, const std::vector<text::TokenId>& end_tokens) const;
  void propose();
  base::Status forward();
  void advance(RequestState& state, std::vector<Event>& events);
  bool count_computed(RequestState& state);
  bool advance_texts(RequestState& state, std::vector<Event>& events);
  bool advance_text(RequestState& state, Sequence& sequence, std::vector<Event>& events);
  void fork_texts(RequestState& state);
  bool take_rows(RequestState& state, Sequence& sequence);
  bool score_beams(RequestState& state);
  bool advance_beams(RequestState& state);
  void finish_beams(RequestState& state);
  void end(RequestState& state);
  std::span<float> row(std::int64_t index);

  CausalModel& model_;
  EngineOptions options_;
  Scheduler scheduler_;
  std::optional<Draft> draft_;
  TokenChooser chooser_;
  std::map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::mt19937_64 seeds_{std::random_device{}()};
  RequestId last_id_ = 0;
  // Kept from step to step, so that a step takes no memory for them.
  StepPlan plan_;
  std::vector<RequestState*> advancing_;
  std::vector<float> logits_;
  std::vector<float> first_row_;
  std::vector<float> beam_rows_;  // a request's beams, before penalties
  std::vector<Event> told_;       // outside of a step
  base::Status failure_;
  EngineStatistics statistics_;
};

EngineImpl::EngineImpl(CausalModel& model, const EngineOptions& options, std::int64_t blocks,
                       CausalModel* draft)
    : model_(model), options_(options), scheduler_(options, blocks) {
  plan_.blocks.reserve(static_cast<std::size_t>(blocks));  // tables grow while texts do
  if (draft != nullptr) {
    draft_.emplace(*draft);
  }
}

EngineLimits EngineImpl::limits() const {
  return {options_.max_sequences, scheduler_.pool().size(), options_.cache.block_tokens,
          options_.prefix_sharing, draft_.has_value()};
}

BeamRules EngineImpl::beam_rules(const Request& request,
                                 const std::vector<text::TokenId>& end_tokens) const {
  BeamRules rules;
  rules.end_tokens = end_tokens;
  rules.stop_words = request.stop_words;
  rules.pad_token = static_cast<text::TokenId>(
      model_.config().pad_token_id.value_or(end_tokens.empty() ? 0 : end_tokens.front()));
  if (request.log_probabilities) {
    rules.alternatives = request.top_log_probabilities;
  }
  return rules;
}

base::StatusOr<RequestId> EngineImpl::submit(Request request) {
  GAMELAN_RETURN_IF_ERROR(failure_);
  GAMELAN_RETURN_IF_ERROR(check_request(request, model_.config(), limits()));
  auto state = std::make_unique<RequestState>();
  state->id = ++last_id_;
  state->seed = request.sampling.seed.value_or(seeds_());
  if (request.end_tokens) {
    state->end_tokens = *request.end_tokens;
  } else {
    for (const std::int64_t token : model_.config().eos_token_ids) {
      if (token >= 0 && token < model_.config().vocab_size) {
        state->end_tokens.push_back(static_cast<text::TokenId>(token));
      }
    }
  }
  state->texts = texts_of(request);
  auto sequence = std::make_unique<Sequence>();
  reserve_text(*sequence, request, scheduler_.pool());
  sequence->tokens.assign(request.prompt.begin(), request.prompt.end());
  sequence->prompt_tokens = sequence->length();
  if (needs_counts(request.sampling)) {
    for (const text::TokenId token : request.prompt) {
      sequence->counts.try_emplace(token, 0);
    }
  }
  state->sequences.push_back(std::move(sequence));
  if (request.beam.width > 1) {
    state->beams =
        std::make_unique<BeamSearch>(request.beam, beam_rules(request, state->end_tokens));
  }
  state->request = std::move(request);
  RequestState& added = *state;
  requests_.emplace(added.id, std::move(state));
  scheduler_.add(added);
  return added.id;
}

void EngineImpl::end(RequestState& state) {
  scheduler_.remove(state);
  requests_.erase(state.id);
}

base::Status EngineImpl::cancel(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) {
    return base::not_found("cancel: request {} is not there, or has ended", id);
  }
  tell_end(*found->second, FinishReason::kCancelled, "", told_);
  end(*found->second);
  return base::OkStatus();
}

EngineStatistics EngineImpl::statistics() const {
  EngineStatistics statistics = statistics_;
  statistics.shared_tokens = scheduler_.shared_tokens();
  statistics.preemptions = scheduler_.preemptions();
  statistics.cache_blocks = static_cast<std::size_t>(scheduler_.pool().size());
  statistics.free_blocks = static_cast<std::size_t>(scheduler_.pool().free_blocks());
  statistics.waiting_requests = scheduler_.waiting();
  for (const RequestState* state : scheduler_.running()) {
    statistics.running_sequences += static_cast<std::size_t>(std::ranges::count_if(
        state->sequences, [](const auto& sequence) { return sequence->live(); }));
  }
  return statistics;
}

void EngineImpl::propose() {
  for (RequestState* state : scheduler_.running()) {
    const Request& request = state->request;
    for (const auto& sequence : state->sequences) {
      sequence->proposals.clear();
      // The last token is never fed back, so nothing is proposed after it.
      const std::int64_t left = request.max_new_tokens - sequence->generated() - 1;
      if (!sequence->live() || sequence->generated() == 0 || sequence->pending() != 1 ||
          left <= 0) {
        continue;
      }
      if (request.lookup_tokens > 0) {
        look_up(sequence->tokens, request.lookup_ngram,
                std::min<std::int64_t>(request.lookup_tokens, left), sequence->proposals);
      } else if (request.draft_tokens > 0) {
        // Places, for now: the draft model fills them when they have blocks.
        sequence->proposals.resize(
            static_cast<std::size_t>(std::min<std::int64_t>(request.draft_tokens, left)));
      }
    }
  }
}

std::span<float> EngineImpl::row(std::int64_t index) {
  const auto vocabulary = static_cast<std::size_t>(model_.config().vocab_size);
  return std::span(logits_).subspan(static_cast<std::size_t>(index) * vocabulary, vocabulary);
}

base::Status EngineImpl::forward() {
  if (draft_) {
    GAMELAN_RETURN_IF_ERROR(
        base::annotate(draft_->propose(plan_, scheduler_.running()), "draft model"));
  }
  const std::int64_t rows = plan_.logit_rows();
  const std::int64_t vocabulary = model_.config().vocab_size;
  logits_.resize(std::max(logits_.size(), static_cast<std::size_t>(rows * vocabulary)));
  return model_.forward(plan_, {logits_.data(), rows, vocabulary});
}

base::StatusOr<std::vector<Event>> EngineImpl::step() {
  std::vector<Event> events = std::exchange(told_, {});
  GAMELAN_RETURN_IF_ERROR(failure_);
  if (requests_.empty()) {
    return events;
  }
  propose();
  scheduler_.plan(plan_);
  ++statistics_.steps;
  if (plan_.sequences.empty()) {
    return events;  // the only one that ran has given its blocks back
  }
  try {
    failure_ = forward();
  } catch (const std::bad_alloc&) {
    // Blocks may have been promised copies that were not made: no step can follow.
    failure_ = base::resource_exhausted("a step of {} tokens: out of memory", plan_.tokens.size());
  }
  GAMELAN_RETURN_IF_ERROR(failure_);
  const std::vector<RequestState*>& running = scheduler_.running();
  advancing_.assign(running.begin(), running.end());  // ended ones leave the list
  events.reserve(events.size() + advancing_.size());
  for (RequestState* state : advancing_) {
    advance(*state, events);
  }
  return events;
}

/// The end of the prompt of a request with several texts: they share what was computed.
void EngineImpl::fork_texts(RequestState& state) {
  const Sequence& first = *state.sequences.front();
  for (int text = 1; text < state.texts; ++text) {
    state.sequences.push_back(fork(first, scheduler_.pool()));
    state.sequences.back()->index = static_cast<std::uint32_t>(text);
  }
}

/// Chooses the tokens that the step's logits allow; false when there is none.
bool EngineImpl::take_rows(RequestState& state, Sequence& sequence) {
  for (std::int32_t i = 0; i < sequence.logits; ++i) {
    if (!chooser_.extend(state, sequence, row(sequence.first_row + i))) {
      return false;
    }
    ++statistics_.generated_tokens;
    // As the same random numbers were or will be drawn for this place whatever is proposed, a
    // proposal is right exactly when it is the token that is chosen without it.
    const auto proposal = static_cast<std::size_t>(i);
    const bool accepted = proposal < sequence.proposals.size() &&
                          sequence.proposals[proposal] == sequence.tokens.back();
    sequence.finish = finish_of(state, sequence);
    if (!sequence.live() || !accepted) {
      break;
    }
    ++sequence.computed;
    ++statistics_.accepted_tokens;
  }
  statistics_.proposed_tokens += sequence.proposals.size();
  return true;
}

void EngineImpl::finish_beams(RequestState& state) {
  std::vector<std::span<const text::TokenId>> generated;
  for (const auto& sequence : state.sequences) {
    generated.push_back(sequence->generated_tokens());
  }
  const std::size_t live = state.beams->live().size();
  std::vector<BeamHypothesis> texts =
      state.beams->finish(std::span(generated).first(live), state.request.n);
  const std::vector<text::TokenId>& prompt = state.request.prompt;
  std::vector<std::unique_ptr<Sequence>> finished;
  for (BeamHypothesis& text : texts) {
    auto sequence = std::make_unique<Sequence>();
    sequence->tokens = prompt;
    sequence->tokens.insert(sequence->tokens.end(), text.tokens.begin(), text.tokens.end());
    sequence->prompt_tokens = static_cast<std::int64_t>(prompt.size());
    sequence->score = text.score;
    sequence->log_probabilities = std::move(text.trace.log_probabilities);
    sequence->alternatives = std::move(text.trace.alternatives);
    sequence->finish = text.finish;
    finished.push_back(std::move(sequence));
  }
  for (const auto& sequence : state.sequences) {
    drop_blocks(*sequence, scheduler_.pool());
  }
  state.sequences = std::move(finished);
}

/// Turns the beams' logits into log-probabilities; false when some are no numbers.
bool EngineImpl::score_beams(RequestState& state) {
  const auto vocabulary = static_cast<std::size_t>(model_.config().vocab_size);
  beam_rows_.resize(state.is_scored() ? state.sequences.size() * vocabulary : 0);
  std::span<float> own(beam_rows_);
  for (const auto& sequence : state.sequences) {
    const std::span<float> mine = own.first(own.empty() ? 0 : vocabulary);
    if (!TokenChooser::score(state, *sequence, row(sequence->first_row), mine)) {
      return false;
    }
    own = own.subspan(mine.size());
  }
  return true;
}

/// One token more for every beam; false when there is none.
bool EngineImpl::advance_beams(RequestState& state) {
  if (!score_beams(state)) {
    return false;
  }
  std::vector<std::span<const text::TokenId>> generated;
  for (const auto& sequence : state.sequences) {
    generated.push_back(sequence->generated_tokens());
  }
  const std::int64_t first = state.sequences.front()->first_row;
  const auto count = static_cast<std::int64_t>(generated.size());
  const std::int64_t vocabulary = model_.config().vocab_size;
  state.beams->advance({row(first).data(), count, vocabulary},
                       {beam_rows_.data(), count, vocabulary}, generated);
  std::vector<std::unique_ptr<Sequence>> next;
  for (const BeamSearch::Live& live : state.beams->live()) {
    next.push_back(
        fork(*state.sequences[static_cast<std::size_t>(live.parent)], scheduler_.pool()));
    append(*next.back(), live.token, state.request.sampling);
    ++statistics_.generated_tokens;
  }
  const bool is_done = next.empty() || next.front()->generated() >= state.request.max_new_tokens;
  if (!next.empty()) {
    for (const auto& sequence : state.sequences) {
      drop_blocks(*sequence, scheduler_.pool());
    }
    state.sequences = std::move(next);
  }
  if (is_done) {
    finish_beams(state);
  }
  return true;
}

/// The keys and values that the step computed; whether there are logits.
bool EngineImpl::count_computed(RequestState& state) {
  bool has_logits = false;
  for (const auto& sequence : state.sequences) {
    if (sequence->scheduled == 0) {
      continue;
    }
    const std::int64_t before = sequence->computed;
    sequence->computed +=
        sequence->scheduled - static_cast<std::int64_t>(sequence->proposals.size());
    statistics_.prompt_tokens += static_cast<std::uint64_t>(
        std::max<std::int64_t>(std::min(sequence->computed, sequence->prompt_tokens) - before, 0));
    has_logits = has_logits || sequence->logits > 0;
    if (options_.prefix_sharing) {
      publish_blocks(*sequence, scheduler_.pool());
    }
  }
  return has_logits;
}

/// The tokens of one text; false when there is none.
bool EngineImpl::advance_text(RequestState& state, Sequence& sequence, std::vector<Event>& events) {
  if (sequence.index > 0 && sequence.generated() == 0) {  // the first text's row, again
    std::ranges::copy(first_row_, row(sequence.first_row).begin());
  }
  if (!take_rows(state, sequence)) {
    return false;
  }
  sequence.draft_computed = std::min(sequence.draft_computed, sequence.computed);
  if (sequence.live()) {
    trim_blocks(sequence, scheduler_.pool());
    if (options_.prefix_sharing) {
      publish_blocks(sequence, scheduler_.pool());
    }
  } else {  // its tokens may be fewer than were computed: a stop word is cut off
    drop_blocks(sequence, scheduler_.pool());
  }
  if (state.streams()) {
    tell_progress(state, sequence, events);
  }
  return true;
}

bool EngineImpl::advance_texts(RequestState& state, std::vector<Event>& events) {
  if (state.sequences.size() == 1 && state.texts > 1) {
    fork_texts(state);
    const std::span<float> logits = row(state.sequences.front()->first_row);
    first_row_.assign(logits.begin(), logits.end());
  }
  for (const auto& sequence : state.sequences) {
    if (sequence->logits > 0 && !advance_text(state, *sequence, events)) {
      return false;
    }
  }
  return true;
}

/// What the step computed for one request becomes tokens and events.
void EngineImpl::advance(RequestState& state, std::vector<Event>& events) {
  if (!count_computed(state)) {
    return;
  }
  if (!(state.has_beams() ? advance_beams(state) : advance_texts(state, events))) {
    tell_end(state, FinishReason::kError, kNoToken, events);
    end(state);
    return;
  }
  if (std::ranges::none_of(state.sequences, [](const auto& s) { return s->live(); })) {
    if (!state.streams()) {
      tell_best(state, events);
    }
    events.back().last = true;
    end(state);
  }
}

}  // namespace

base::StatusOr<std::unique_ptr<Engine>> Engine::create(CausalModel& model,
                                                       const EngineOptions& options,
                                                       CausalModel* draft) {
  if (options.cache.block_tokens < 1 || options.max_step_tokens < 1 || options.max_sequences < 1) {
    return base::invalid_argument(
        "engine: expected cache.block_tokens, max_step_tokens and max_sequences of at least 1, got "
        "{}, {} and {}",
        options.cache.block_tokens, options.max_step_tokens, options.max_sequences);
  }
  std::size_t block_bytes = model.cache_block_bytes(options.cache);
  if (draft != nullptr) {
    const io::ModelConfig& ours = model.config();
    const io::ModelConfig& theirs = draft->config();
    if (theirs.vocab_size != ours.vocab_size) {
      return base::invalid_argument(
          "draft model: expected the model's vocabulary of {} tokens, got {}", ours.vocab_size,
          theirs.vocab_size);
    }
    const std::int64_t our_limit = longest_text(ours);
    const std::int64_t their_limit = longest_text(theirs);
    if (their_limit > 0 && (our_limit == 0 || their_limit < our_limit)) {
      return base::invalid_argument(
          "draft model: expected texts as long as the model's, {}, got at most {} tokens",
          our_limit == 0 ? "without a limit" : std::to_string(our_limit), their_limit);
    }
    block_bytes += draft->cache_block_bytes(options.cache);
  }
  const auto blocks = std::min<std::int64_t>(
      static_cast<std::int64_t>(options.cache_bytes / std::max<std::size_t>(block_bytes, 1)),
      kMostBlocks);
  if (blocks < 1) {
    return base::invalid_argument(
        "cache_bytes: {} bytes hold no block of {} tokens, which takes {} bytes",
        options.cache_bytes, options.cache.block_tokens, block_bytes);
  }
  EngineOptions limited = options;
  // Each sequence that continues takes a token of the step: so prompts always advance too.
  limited.max_sequences = std::min(options.max_sequences, options.max_step_tokens);
  limited.cache.step_tokens = limited.max_step_tokens;
  limited.cache.step_logits = limited.max_sequences;
  GAMELAN_RETURN_IF_ERROR(model.create_cache(limited.cache, blocks));
  if (draft != nullptr) {
    GAMELAN_RETURN_IF_ERROR(
        base::annotate(draft->create_cache(limited.cache, blocks), "draft model"));
  }
  return std::make_unique<EngineImpl>(model, limited, blocks, draft);
}

}  // namespace gamelan::infer
