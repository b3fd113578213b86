#pragma once

// How the ranks learn that one of them could not complete a backward pass. The protocol is in
// docs/algorithms.md, "A pass that fails".

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dist/collective/process_group.h"
#include "train/ddp/named_tensor.h"

namespace gamelan::train {

enum class PassStatus : std::uint8_t {
  kComplete = 0,
  /// The pass ended, but some parameters got no gradient.
  kMissing = 1,
  /// The pass ended with an exception.
  kAbandoned = 2,
};

/// What one rank says about its backward pass.
struct PassReport {
  PassStatus status = PassStatus::kComplete;
  /// Which forward the pass belongs to, counted from 1.
  std::int64_t forward = 0;
  /// Why the pass was abandoned; at most kMaxTextBytes travel.
  std::string text;
  /// [parameters] 1 where no gradient came.
  std::vector<std::uint8_t> missing;
  static constexpr std::size_t kMaxTextBytes = 500;
};

/// The elements at the end of the last bucket: summed over the ranks like gradients, they tell
/// every rank, without an operation more, whether all passes are complete and which parameters any
/// rank has used. Zeros and ones alone are written and only "is it zero" is asked, so every
/// floating type is exact enough.
class PassTrailer {
 public:
  /// Elements for `parameters` parameters.
  static std::size_t count(std::size_t parameters);

  /// Writes this rank's part into `trailer` [count].
  static void write(const at::Tensor& trailer, PassStatus status, std::int64_t forward,
                    const std::vector<std::uint8_t>& used);

  /// Reads the sum of all ranks.
  explicit PassTrailer(const at::Tensor& trailer);
  /// Every rank was complete, in the same forward.
  bool all_complete() const;
  bool used_anywhere(std::size_t parameter) const;

 private:
  at::Tensor sum_;
};

/// All ranks' reports, exchanged by one all_gather. `wait` may be called much later than the
/// constructor, which only starts it.
class PassReportExchange {
 public:
  PassReportExchange(dist::ProcessGroup& group, const PassReport& mine);
  /// Waits too: the operation uses this object's memory.
  ~PassReportExchange();
  PassReportExchange(const PassReportExchange&) = delete;
  PassReportExchange& operator=(const PassReportExchange&) = delete;

  /// Throws c10::Error with the group's error.
  std::vector<PassReport> wait();

 private:
  std::size_t parameters_;
  std::vector<std::uint8_t> mine_;
  std::vector<std::uint8_t> all_;
  dist::Work work_;
};

/// The error message for reports that are not all complete; the same on every rank.
std::string explain(const std::vector<PassReport>& reports,
                    const std::vector<NamedTensor>& parameters, bool find_unused_parameters);

/// "'a', 'b' and 3 more".
std::string list_names(const std::vector<std::string>& names);

}  // namespace gamelan::train
