#include "train/ddp/backward_scope.h"

namespace gamelan::train {
namespace {

// Lives in the engine's list of final callbacks. The engine drops that list when the pass is over,
// also when a node threw; only then nobody has called finish().
class EndOfPass {
 public:
  EndOfPass(std::function<void()> finish, std::function<void()> abandon)
      : finish_(std::move(finish)), abandon_(std::move(abandon)) {}
  ~EndOfPass() {
    if (!finished_) {
      abandon_();
    }
  }
  EndOfPass(const EndOfPass&) = delete;
  EndOfPass& operator=(const EndOfPass&) = delete;

  void finish() {
    finished_ = true;
    finish_();
  }

 private:
  std::function<void()> finish_;
  std::function<void()> abandon_;
  bool finished_ = false;
};

}  // namespace

bool EngineBackwardScope::reaches(const GraphNode* accumulator) const {
  return backward_reaches(accumulator);
}

void EngineBackwardScope::at_end(std::function<void()> finish, std::function<void()> abandon) {
  auto end = std::make_shared<EndOfPass>(std::move(finish), std::move(abandon));
  at_end_of_backward([end = std::move(end)] { end->finish(); });
}

}  // namespace gamelan::train
