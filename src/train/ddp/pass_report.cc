#include "train/ddp/pass_report.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// Forwards are told apart modulo this: ranks differ by one or two, if at all.
constexpr std::int64_t kForwards = 8;
// Trailer: 0 = not complete, 1 … kForwards = which forward, then one for each parameter.
constexpr std::int64_t kStatusSlot = 0;
constexpr std::int64_t kForwardSlot = 1;
constexpr std::int64_t kUsedSlot = kForwardSlot + kForwards;

// Report on the wire: status u8, forward i64, length of text u16, text, missing. Ranks of one job
// run the same program on the same kind of machine, so the byte order is the machine's.
constexpr std::size_t kForwardAt = 1;
constexpr std::size_t kLengthAt = 9;
constexpr std::size_t kTextAt = 11;
constexpr std::size_t kMissingAt = kTextAt + PassReport::kMaxTextBytes;

std::vector<std::uint8_t> encode(const PassReport& report) {
  std::vector<std::uint8_t> bytes(kMissingAt + report.missing.size());
  bytes[0] = static_cast<std::uint8_t>(report.status);
  std::memcpy(&bytes[kForwardAt], &report.forward, sizeof(report.forward));
  const auto length =
      static_cast<std::uint16_t>(std::min(report.text.size(), PassReport::kMaxTextBytes));
  std::memcpy(&bytes[kLengthAt], &length, sizeof(length));
  std::memcpy(&bytes[kTextAt], report.text.data(), length);
  std::copy(report.missing.begin(), report.missing.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(kMissingAt));
  return bytes;
}

PassReport decode(std::span<const std::uint8_t> bytes) {
  PassReport report;
  report.status = static_cast<PassStatus>(bytes[0]);
  std::memcpy(&report.forward, &bytes[kForwardAt], sizeof(report.forward));
  std::uint16_t length = 0;
  std::memcpy(&length, &bytes[kLengthAt], sizeof(length));
  const auto* text = reinterpret_cast<const char*>(&bytes[kTextAt]);
  report.text.assign(text, std::min<std::size_t>(length, PassReport::kMaxTextBytes));
  report.missing.assign(bytes.begin() + static_cast<std::ptrdiff_t>(kMissingAt), bytes.end());
  return report;
}

std::string explain_missing(const PassReport& report, const std::vector<NamedTensor>& parameters,
                            bool find_unused_parameters) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < report.missing.size(); ++i) {
    if (report.missing[i] != 0) {
      names.push_back(parameters[i].name);
    }
  }
  std::string advice =
      find_unused_parameters
          ? "the graph reached them, but this pass asked for other gradients only"
          : "they took no part in the loss: set find_unused_parameters, or run forwards that leave "
            "parameters out under no_sync";
  return fmt::format("no gradient for {} of {} parameters, {} ({})", names.size(),
                     parameters.size(), list_names(names), advice);
}

}  // namespace

std::string list_names(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 10;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    shown.push_back(fmt::format("'{}'", names[i]));
  }
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > kShown) {
    text += fmt::format(" and {} more", names.size() - kShown);
  }
  return text;
}

std::size_t PassTrailer::count(std::size_t parameters) {
  return static_cast<std::size_t>(kUsedSlot) + parameters;
}

void PassTrailer::write(const at::Tensor& trailer, PassStatus status, std::int64_t forward,
                        const std::vector<std::uint8_t>& used) {
  const at::Tensor mine = at::zeros({trailer.numel()}, at::kFloat);
  auto* slots = mine.data_ptr<float>();
  slots[kStatusSlot] = status == PassStatus::kComplete ? 0.0F : 1.0F;
  slots[kForwardSlot + forward % kForwards] = 1.0F;
  for (std::size_t i = 0; i < used.size(); ++i) {
    slots[kUsedSlot + static_cast<std::int64_t>(i)] = used[i] != 0 ? 1.0F : 0.0F;
  }
  trailer.copy_(mine);
}

PassTrailer::PassTrailer(const at::Tensor& trailer)
    : sum_(trailer.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true)) {}

bool PassTrailer::all_complete() const {
  const auto* slots = sum_.const_data_ptr<float>();
  const auto forwards = std::count_if(slots + kForwardSlot, slots + kUsedSlot,
                                      [](float ranks) { return ranks != 0.0F; });
  return slots[kStatusSlot] == 0.0F && forwards == 1;
}

bool PassTrailer::used_anywhere(std::size_t parameter) const {
  return sum_.const_data_ptr<float>()[kUsedSlot + static_cast<std::int64_t>(parameter)] != 0.0F;
}

PassReportExchange::PassReportExchange(dist::ProcessGroup& group, const PassReport& mine)
    : parameters_(mine.missing.size()),
      mine_(encode(mine)),
      all_(mine_.size() * static_cast<std::size_t>(group.size())),
      work_(group.all_gather(tensor::view_of(mine_.data(), mine_.size()),
                             tensor::view_of(all_.data(), all_.size()))) {}

PassReportExchange::~PassReportExchange() {
  (void)work_.wait();
}

std::vector<PassReport> PassReportExchange::wait() {
  throw_if_error(work_.wait());
  std::vector<PassReport> reports;
  for (std::size_t at = 0; at < all_.size(); at += kMissingAt + parameters_) {
    reports.push_back(decode(std::span(all_).subspan(at, kMissingAt + parameters_)));
  }
  return reports;
}

std::string explain(const std::vector<PassReport>& reports,
                    const std::vector<NamedTensor>& parameters, bool find_unused_parameters) {
  std::string message =
      "DistributedDataParallel: the gradients of this backward were averaged on no rank.";
  bool reason = false;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const PassReport& report = reports[rank];
    if (report.status == PassStatus::kMissing) {
      message += fmt::format("\n  rank {}: {}", rank,
                             explain_missing(report, parameters, find_unused_parameters));
      reason = true;
    } else if (report.status == PassStatus::kAbandoned) {
      message += fmt::format("\n  rank {}: {}", rank, report.text);
      reason = true;
    }
  }
  const auto same = [&reports](const PassReport& report) {
    return report.forward == reports[0].forward;
  };
  if (!std::all_of(reports.begin(), reports.end(), same)) {
    std::vector<std::int64_t> forwards;
    for (const PassReport& report : reports) {
      forwards.push_back(report.forward);
    }
    message += fmt::format(
        "\n  the ranks are in the backward of different forwards, numbers {} of ranks 0 to {}: "
        "each "
        "must do the same ones; one that a rank does alone belongs under torch::NoGradGuard",
        fmt::join(forwards, ", "), reports.size() - 1);
    reason = true;
  }
  return reason ? message : message + " No rank says why.";
}

}  // namespace gamelan::train
