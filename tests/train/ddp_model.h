#pragma once

// The module and the helpers of the DistributedDataParallel tests.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/ranks.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/torch_view.h"

namespace gamelan::train::testing {

/// Values that depend on the place alone: threads share LibTorch's random generator.
inline at::Tensor pattern(at::IntArrayRef sizes, at::ScalarType type, double phase) {
  const auto count = c10::multiply_integers(sizes);
  return (torch::arange(count, at::kDouble) * 0.7 + phase).sin().reshape(sizes).to(type);
}

/// A layer used twice (and registered under two names), one that a caller may leave out, and one
/// that nothing uses.
struct NetImpl : torch::nn::Module {
  explicit NetImpl(at::ScalarType type = at::kFloat, double scale = 0.3)
      : first(register_module("first", torch::nn::Linear(6, 16))),
        tied(register_module("tied", torch::nn::Linear(16, 16))),
        optional(register_module("optional", torch::nn::Linear(16, 16))),
        spare(register_module("spare", torch::nn::Linear(5, 5))),
        last(register_module("last", torch::nn::Linear(16, 3))) {
    register_module("tied_again", tied);
    to(type);
    const torch::NoGradGuard no_grad;
    double phase = 1;
    for (at::Tensor& parameter : parameters()) {
      parameter.copy_(pattern(parameter.sizes(), type, phase++) * scale);
    }
  }

  at::Tensor forward(const at::Tensor& x, bool with_optional = true, bool with_spare = false) {
    at::Tensor h = torch::tanh(first(x));
    h = torch::tanh(tied(h)) + tied(h);
    if (with_optional) {
      h = h + optional(h);
    }
    if (with_spare) {
      h = h + spare(h.slice(1, 0, 5)).sum(1, true);
    }
    return last(h);
  }

  torch::nn::Linear first, tied, optional, spare, last;
};
TORCH_MODULE(Net);

using NetParallel = DistributedDataParallel<Net>;

inline std::shared_ptr<dist::ProcessGroup> form_group(::gamelan::testing::Rank& rank,
                                                      const std::string& name = "ddp") {
  return ::gamelan::testing::form_group_for_test(rank, "cpu", name);
}

/// Rows of one batch, dealt out evenly: [12, 6] in all.
constexpr std::int64_t kRows = 12;
inline at::Tensor batch(at::ScalarType type, double phase = 0) {
  return pattern({kRows, 6}, type, phase);
}
inline at::Tensor part_of(const at::Tensor& batch, const ::gamelan::testing::Rank& rank) {
  const std::int64_t rows = batch.size(0) / rank.size;
  return batch.slice(0, rank.rank * rows, (rank.rank + 1) * rows);
}
inline at::Tensor loss_of(const at::Tensor& output) {
  return output.square().mean();
}

inline std::vector<at::Tensor> gradients(torch::nn::Module& module) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& parameter : module.parameters()) {
    result.push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
  }
  return result;
}

inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

inline double tolerance(at::ScalarType type) {
  return type == at::kDouble ? 1e-12 : 1e-6;
}

inline void expect_close(torch::nn::Module& module, const std::vector<at::Tensor>& expected,
                         at::ScalarType type, const std::string& where = "") {
  const auto parameters = module.named_parameters();
  ASSERT_EQ(parameters.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const at::Tensor gradient = parameters[i].value().grad();
    ASSERT_EQ(gradient.defined(), expected[i].defined()) << where << " " << parameters[i].key();
    if (gradient.defined()) {
      EXPECT_LE(relative_difference(gradient, expected[i]), tolerance(type))
          << where << " " << parameters[i].key();
    }
  }
}

/// What one process gets for the joined batch; the ranks with `mask` bits use the optional layer.
inline std::vector<at::Tensor> reference_gradients(const at::Tensor& whole, int ranks,
                                                   unsigned mask = ~0U, bool with_spare = false,
                                                   double scale = 0.3) {
  Net net(whole.scalar_type(), scale);
  at::Tensor loss;
  const std::int64_t rows = whole.size(0) / ranks;
  for (int rank = 0; rank < ranks; ++rank) {
    const at::Tensor part =
        loss_of(net->forward(whole.slice(0, rank * rows, (rank + 1) * rows),
                             ((mask >> static_cast<unsigned>(rank)) & 1U) != 0, with_spare)) /
        ranks;
    loss = loss.defined() ? loss + part : part;
  }
  loss.backward();
  return gradients(*net);
}

/// Whether all ranks have the same bits.
inline void expect_same_everywhere(dist::ProcessGroup& group, const at::Tensor& mine,
                                   const std::string& name) {
  const at::Tensor bytes = mine.detach().contiguous().flatten().view(at::kByte);
  const at::Tensor all = torch::empty({group.size(), bytes.numel()}, at::kByte);
  const auto count = static_cast<std::size_t>(bytes.numel());
  throw_if_error(group
                     .all_gather(tensor::view_of(bytes.data_ptr<std::uint8_t>(), count),
                                 tensor::view_of(all.data_ptr<std::uint8_t>(),
                                                 count * static_cast<std::size_t>(group.size())))
                     .wait());
  for (int rank = 1; rank < group.size(); ++rank) {
    EXPECT_TRUE(torch::equal(all[0], all[rank])) << name << " of rank " << rank;
  }
}

/// The message of what `body` throws, "" when it throws nothing.
template <class F>
std::string error_of(F&& body) {
  try {
    body();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// Small enough that the module has several buckets.
inline constexpr std::size_t kFirstBytes = 128;
inline constexpr std::size_t kCapBytes = 700;

inline DistributedDataParallelOptions small_buckets(bool find_unused = true) {
  DistributedDataParallelOptions result;
  result.first_bucket_bytes = kFirstBytes;
  result.bucket_cap_bytes = kCapBytes;
  result.find_unused_parameters = find_unused;
  return result;
}

inline void run_threads(const std::string& body, std::initializer_list<int> sizes) {
  for (const int size : sizes) {
    ::gamelan::testing::run_ranks(::gamelan::testing::RankMode::kThreads, size, body);
  }
}

}  // namespace gamelan::train::testing
