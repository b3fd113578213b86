#include "train/trainer/stop_signal.h"

namespace gamelan::train {
namespace {

// A signal handler reaches nothing but globals.
volatile std::sig_atomic_t g_requested = 0;

extern "C" void remember_signal(int) {
  g_requested = 1;
}

}  // namespace

StopSignal::StopSignal(std::initializer_list<int> signals) {
  g_requested = 0;
  for (const int signal : signals) {
    struct sigaction action = {};
    action.sa_handler = &remember_signal;
    // RESETHAND: the second one has the default effect.
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    struct sigaction before = {};
    ::sigaction(signal, &action, &before);
    before_.emplace_back(signal, before);
  }
}

StopSignal::~StopSignal() {
  for (const auto& [signal, action] : before_) {
    ::sigaction(signal, &action, nullptr);
  }
}

bool StopSignal::requested() const {
  return g_requested != 0;
}

}  // namespace gamelan::train
