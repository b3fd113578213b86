#include "c_api_calls.h"

#include <stdio.h>
#include <string.h>

int c_open(const char* model, const char* draft_model, gamelan_engine** engine) {
  gamelan_options options;
  gamelan_default_options(&options, sizeof(options));
  options.dtype = "f32";
  options.threads = 1;
  options.cache_bytes = 8 << 20;
  options.cache_dtype = "f32";
  options.cache_block_tokens = 4;
  options.draft_model = draft_model;
  return gamelan_open(model, &options, engine);
}

static void take_scores(const gamelan_event* event, size_t token, c_text* text) {
  if (event->log_probabilities != NULL) {
    text->log_probabilities[text->scored_count++] = event->log_probabilities[token];
  }
  for (size_t a = 0; a < event->alternative_count && a < kMostAlternatives; ++a) {
    text->alternatives[text->token_count][a] =
        event->alternatives[token * event->alternative_count + a];
    text->alternative_count = event->alternative_count;
  }
}

static void take(const gamelan_event* event, c_text* text) {
  for (size_t i = 0; i < event->token_count && text->token_count < kMostTokens; ++i) {
    take_scores(event, i, text);
    text->tokens[text->token_count++] = event->tokens[i];
  }
  text->score = event->score;
  snprintf(text->finish, sizeof(text->finish), "%s", event->finish);
}

int c_run(gamelan_engine* engine, const gamelan_request* requests, size_t count, c_text* texts,
          size_t texts_each) {
  memset(texts, 0, count * texts_each * sizeof(*texts));
  for (size_t i = 0; i < count; ++i) {
    uint64_t id = 0;
    const int code = gamelan_submit(engine, &requests[i], &id);
    if (code != GAMELAN_OK) {
      return code;
    }
    for (size_t t = 0; t < texts_each; ++t) {
      texts[i * texts_each + t].request = id;
    }
  }
  while (!gamelan_idle(engine)) {
    size_t events = 0;
    const int code = gamelan_step(engine, &events);
    if (code != GAMELAN_OK) {
      return code;
    }
    for (size_t e = 0; e < events; ++e) {
      const gamelan_event* event = gamelan_get_event(engine, e);
      size_t place = 0;
      while (place < count * texts_each && texts[place].request != event->request) {
        ++place;
      }
      if (place < count * texts_each) {
        take(event, &texts[place + (size_t)event->index]);
      }
    }
  }
  return GAMELAN_OK;
}

static void add(char* text, size_t capacity, const char* piece) {
  const size_t used = strlen(text);
  snprintf(text + used, capacity - used, "%s", piece);
}

/* Runs what was submitted, and adds the pieces of its text. */
static int tell(gamelan_engine* engine, gamelan_decoder* decoder, char* text, size_t capacity) {
  const char* piece = "";
  while (!gamelan_idle(engine)) {
    size_t events = 0;
    if (gamelan_step(engine, &events) != GAMELAN_OK) {
      return 0;
    }
    for (size_t e = 0; e < events; ++e) {
      const gamelan_event* event = gamelan_get_event(engine, e);
      if (gamelan_decoder_push(decoder, event->tokens, event->token_count, &piece) != GAMELAN_OK) {
        return 0;
      }
      add(text, capacity, piece);
    }
  }
  if (gamelan_decoder_finish(decoder, &piece) != GAMELAN_OK) {
    return 0;
  }
  add(text, capacity, piece);
  return 1;
}

int c_continue(gamelan_engine* engine, const char* prompt, int max_new_tokens, char* text,
               size_t capacity) {
  gamelan_decoder* decoder = NULL;
  gamelan_request request;
  uint64_t id = 0;
  const char* spelled = "";
  int good = 0;
  text[0] = '\0';
  gamelan_default_request(&request, sizeof(request));
  request.max_new_tokens = max_new_tokens;
  good = gamelan_decoder_open(engine, &decoder) == GAMELAN_OK &&
         gamelan_encode(engine, prompt, &request.prompt, &request.prompt_tokens) == GAMELAN_OK &&
         gamelan_decoder_push(decoder, request.prompt, request.prompt_tokens, &spelled) ==
             GAMELAN_OK &&
         gamelan_submit(engine, &request, &id) == GAMELAN_OK &&
         tell(engine, decoder, text, capacity);
  gamelan_decoder_close(decoder);
  return good ? GAMELAN_OK : GAMELAN_BUG;
}
