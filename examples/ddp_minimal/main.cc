// Trains a small network on several processes. Try
//   gamelan run --standalone --nproc-per-node 2 -- ./ddp_minimal

#include <fmt/format.h>
#include <torch/torch.h>

#include "dist/rendezvous/init.h"
#include "train/data/distributed_sampler.h"
#include "train/data/ordered_gather.h"
#include "train/ddp/distributed_data_parallel.h"
#include "train/torch_view.h"

namespace {

// What the network is to learn: whether a point lies inside the unit circle.
struct Data {
  at::Tensor points;  // [N, 2]
  at::Tensor labels;  // [N]
};

Data make_data(std::int64_t size) {
  torch::manual_seed(1);
  at::Tensor points = torch::rand({size, 2}) * 3 - 1.5;
  return {points, (points.square().sum(1) < 1).to(torch::kLong)};
}

at::Tensor to_tensor(const std::vector<std::size_t>& indices) {
  return torch::tensor(std::vector<std::int64_t>(indices.begin(), indices.end()));
}

void train(const std::shared_ptr<gamelan::dist::ProcessGroup>& group) {
  using namespace gamelan::train;
  const Data training = make_data(4000);
  const Data test = make_data(999);

  // Every rank starts from its own weights; DistributedDataParallel takes over rank 0's.
  torch::manual_seed(100 + group->rank());
  torch::nn::Sequential model(torch::nn::Linear(2, 32), torch::nn::ReLU(),
                              torch::nn::Linear(32, 2));
  DistributedDataParallel ddp(model, group);
  torch::optim::Adam optimizer(model->parameters(), 1e-2);

  DistributedSampler sampler(training.points.size(0),
                             {.world_size = group->size(), .rank = group->rank()});
  for (int epoch = 0; epoch < 5; ++epoch) {
    sampler.set_epoch(epoch);
    sampler.reset();
    double sum = 0;
    int steps = 0;
    while (const auto indices = sampler.next(32)) {
      const at::Tensor batch = to_tensor(*indices);
      optimizer.zero_grad();
      const at::Tensor loss = torch::cross_entropy_loss(ddp.forward(training.points.index({batch})),
                                                        training.labels.index({batch}));
      loss.backward();
      optimizer.step();
      sum += loss.item<double>();
      ++steps;
    }
    fmt::print("rank {}: epoch {}, {} steps, loss {:.4f}\n", group->rank(), epoch, steps,
               sum / steps);
  }

  // Each rank classifies its part of the test points, no point twice; rank 0 gets them in order.
  const torch::NoGradGuard no_grad;
  DistributedSampler part(test.points.size(0), {.world_size = group->size(),
                                                .rank = group->rank(),
                                                .shuffle = false,
                                                .tail = SamplerTail::kUneven});
  const at::Tensor mine = model->forward(test.points.index({to_tensor(part.indices())})).argmax(1);
  const at::Tensor predictions = gather_in_order(*group, mine, part.indices(), 999);
  if (group->rank() == 0) {
    fmt::print("accuracy {:.3f}\n",
               (predictions == test.labels).to(torch::kDouble).mean().item<double>());
  }
}

}  // namespace

int main() {
  try {
    gamelan::dist::Job job = gamelan::train::value_or_throw(gamelan::dist::init_process_group());
    train(std::move(job.group));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
