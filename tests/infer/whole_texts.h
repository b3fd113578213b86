#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "infer/engine/engine.h"

namespace gamelan::infer::testing {

/// Runs `request` alone: one event a text, with all that its events said.
inline std::vector<Event> whole_texts(Engine& engine, Request request) {
  std::vector<Event> texts(static_cast<std::size_t>(request.n));
  const auto id = engine.submit(std::move(request));
  EXPECT_TRUE(id.ok()) << id.status();
  while (!engine.idle()) {
    const auto events = engine.step();
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok()) {
      break;
    }
    for (const Event& event : *events) {
      Event& text = texts[static_cast<std::size_t>(event.index)];
      const auto add = [](auto& to, const auto& from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      add(text.tokens, event.tokens);
      add(text.log_probabilities, event.log_probabilities);
      add(text.alternatives, event.alternatives);
      text.finish = event.finish;
      text.score = event.score;
    }
  }
  return texts;
}

}  // namespace gamelan::infer::testing
