// What averaging gradients adds to a forward and backward: an MLP of six 1024x1024 layers (25 MB of
// gradients), batch 128 a rank, one thread a rank. The variants take turns within a round, so that
// all see the same machine.
//
//   gamelan run --standalone --nproc-per-node 2 -- bench_ddp [--rounds 9] [--layers 6] [--width
//   1024]
//       [--batch 128] [--json]

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>

#include "dist/rendezvous/init.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/torch_view.h"

namespace {

using gamelan::train::DistributedDataParallel;
using gamelan::train::DistributedDataParallelOptions;
using gamelan::train::throw_if_error;
using gamelan::train::view_of;

struct Options {
  int rounds = 9;
  std::int64_t layers = 6;
  std::int64_t width = 1024;
  std::int64_t batch = 128;
  bool json = false;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&] {
      TORCH_CHECK(i + 1 < argc, name, " needs a value");
      return std::atoi(argv[++i]);
    };
    if (name == "--rounds") {
      options.rounds = value();
    } else if (name == "--layers") {
      options.layers = value();
    } else if (name == "--width") {
      options.width = value();
    } else if (name == "--batch") {
      options.batch = value();
    } else if (name == "--json") {
      options.json = true;
    } else {
      TORCH_CHECK(false, "unknown option ", name);
    }
  }
  TORCH_CHECK(options.rounds > 0 && options.layers > 0 && options.width > 0 && options.batch > 0,
              "every number must be at least 1");
  return options;
}

torch::nn::Sequential make_model(const Options& options) {
  torch::manual_seed(1);
  torch::nn::Sequential model;
  for (std::int64_t i = 0; i < options.layers; ++i) {
    model->push_back(torch::nn::Linear(options.width, options.width));
    model->push_back(torch::nn::ReLU());
  }
  return model;
}

struct Variant {
  std::string name;
  torch::nn::Sequential model;
  std::function<void()> step;
  std::vector<double> milliseconds = {};
};

// The gradients of every averaging variant must agree before any of them is timed.
void verify(const std::vector<Variant>& variants) {
  for (const Variant& variant : variants) {
    variant.step();
  }
  const auto expected = variants[1].model->parameters();
  for (std::size_t v = 2; v < variants.size(); ++v) {
    const auto parameters = variants[v].model->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      TORCH_CHECK(torch::allclose(parameters[i].grad(), expected[i].grad(), 1e-4, 1e-7),
                  "gradient ", i, " of '", variants[v].name, "' is wrong");
    }
  }
}

std::vector<Variant> make_variants(const Options& options,
                                   const std::shared_ptr<gamelan::dist::ProcessGroup>& group) {
  const at::Tensor input = torch::randn({options.batch, options.width}) * (group->rank() + 1.0);
  std::vector<Variant> variants;
  auto model = make_model(options);
  variants.push_back({"local", model, [model, input]() mutable {
                        model->zero_grad();
                        model->forward(input).square().mean().backward();
                      }});
  model = make_model(options);
  variants.push_back({"all_reduce a parameter", model, [model, input, group]() mutable {
                        model->zero_grad();
                        model->forward(input).square().mean().backward();
                        for (const at::Tensor& parameter : model->parameters()) {
                          parameter.grad().mul_(1.0 / group->size());
                          throw_if_error(group->all_reduce(view_of(parameter.grad())).wait());
                        }
                      }});
  for (const bool as_view : {false, true}) {
    model = make_model(options);
    DistributedDataParallelOptions with;
    with.gradient_as_bucket_view = as_view;
    auto ddp = std::make_shared<DistributedDataParallel<torch::nn::Sequential>>(model, group, with);
    variants.push_back(
        {as_view ? "ddp" : "ddp, gradients copied", model, [model, input, ddp]() mutable {
           model->zero_grad();
           ddp->forward(input).square().mean().backward();
         }});
  }
  return variants;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

void report(const Options& options, const std::vector<Variant>& variants, int ranks) {
  double load[3] = {};
  (void)getloadavg(load, 3);
  const double local = quantile(variants[0].milliseconds, 0.5);
  if (!options.json) {
    fmt::print("{} ranks, {} layers of {}, batch {}, {} rounds, load average {:.2f}\n", ranks,
               options.layers, options.width, options.batch, options.rounds, load[0]);
  }
  for (const Variant& variant : variants) {
    const double median = quantile(variant.milliseconds, 0.5);
    if (options.json) {
      fmt::print(
          R"({{"variant": "{}", "ranks": {}, "median_ms": {:.3f}, "p10_ms": {:.3f}, "p90_ms": {:.3f}, "over_local": {:.3f}, "load": {:.2f}}})"
          "\n",
          variant.name, ranks, median, quantile(variant.milliseconds, 0.1),
          quantile(variant.milliseconds, 0.9), median / local, load[0]);
    } else {
      fmt::print("{:24} median {:8.2f} ms  (p10 {:8.2f}, p90 {:8.2f})  {:.2f} of local\n",
                 variant.name, median, quantile(variant.milliseconds, 0.1),
                 quantile(variant.milliseconds, 0.9), median / local);
    }
  }
}

void run(const Options& options) {
  torch::set_num_threads(1);
  auto job = gamelan::train::value_or_throw(gamelan::dist::init_process_group());
  const std::shared_ptr<gamelan::dist::ProcessGroup> group = std::move(job.group);
  std::vector<Variant> variants = make_variants(options, group);
  for (int warm_up = 0; warm_up < 2; ++warm_up) {
    verify(variants);
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (Variant& variant : variants) {
      throw_if_error(group->barrier().wait());
      const auto start = std::chrono::steady_clock::now();
      variant.step();
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      variant.milliseconds.push_back(took.count());
    }
  }
  if (group->rank() == 0) {
    report(options, variants, group->size());
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
