// torch's own DistributedDataParallel under `gamelan run`. GAMELAN_TEST_PYTHON names a Python that
// has torch; otherwise python3 is asked.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

constexpr const char* kScript = R"(
import os
import torch
import torch.distributed as dist

dist.init_process_group("gloo")  # env://
rank, size = dist.get_rank(), dist.get_world_size()
total = torch.tensor([rank + 1.0])
dist.all_reduce(total)
torch.manual_seed(rank)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
model(torch.full((2, 4), float(rank))).sum().backward()
# Every rank's gradient of the weight is 2 * rank; DDP averages them.
print(f"rank {rank} of {size}: sum {total.item():.0f} grad {model.module.weight.grad[0, 0].item():.1f}", flush=True)
dist.destroy_process_group()
)";

TEST(RunPythonTest, TorchsOwnDdpRunsUnderIt) {
  const char* named = std::getenv("GAMELAN_TEST_PYTHON");
  const std::string python = named != nullptr ? named : "python3";
  if (std::system((python + " -c 'import torch.distributed' >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << python << " has no torch; GAMELAN_TEST_PYTHON names one that has";
  }
  const std::string script = make_temporary_folder() + "/ddp.py";
  std::ofstream(script) << kScript;
  Launched::Options options;
  options.environment["PYTHON_EXEC"] = python;
  const Result result =
      run_gamelan({"run", "--standalone", "--nproc-per-node", "2", script}, options);
  EXPECT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, ::testing::HasSubstr("rank 0 of 2: sum 3 grad 1.0"));
  EXPECT_THAT(result.output, ::testing::HasSubstr("rank 1 of 2: sum 3 grad 1.0"));
}

}  // namespace
}  // namespace gamelan::testing
