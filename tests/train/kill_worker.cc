// A rank of the job that the kill tests disturb: `kill_worker OUTPUT_DIR RESULT_FILE EVENTS_FIFO
// EPOCHS`. It says "<rank> <pid>\n" on the fifo at every micro-batch, and ends with its weights in
// RESULT_FILE.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/fd.h"
#include "dist/rendezvous/init.h"
#include "tests/train/dropout_task.h"
#include "train/checkpoint/snapshot.h"
#include "train/checkpoint/snapshot_files.h"
#include "train/torch_view.h"
#include "train/trainer/trainer.h"

namespace {

using namespace gamelan;

void run(char** argv) {
  dist::Job job = train::value_or_throw(dist::init_process_group());
  const std::shared_ptr<dist::ProcessGroup> group = std::move(job.group);
  // A fifo without a reader (an undisturbed run) is no error: the events are for whoever listens.
  const base::Fd events(::open(argv[3], O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  const std::string event = fmt::format("{} {}\n", group->rank(), ::getpid());

  testing::DropoutTask task(301, group);
  task.on_batch = [&] {
    [[maybe_unused]] const ssize_t ignored = ::write(events.get(), event.data(), event.size());
  };
  const std::string result = argv[2];
  task.on_result = [&](torch::nn::Module& model) {
    if (group->rank() == 0) {
      train::Snapshot snapshot;
      snapshot.model = train::model_state(model);
      train::throw_if_error(train::write_snapshot_files(result, snapshot));
    }
  };
  train::TrainingArguments arguments = testing::dropout_arguments(argv[1]);
  arguments.num_train_epochs = std::atoll(argv[4]);
  arguments.save_steps = 4;
  train::Trainer(arguments, task, group.get()).run();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: kill_worker OUTPUT_DIR RESULT_FOLDER EVENTS_FIFO EPOCHS\n");
    return 2;
  }
  try {
    run(argv);
    return 0;
  } catch (const c10::Error& error) {
    fmt::print(stderr, "kill_worker: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "kill_worker: {}\n", error.what());
  }
  return 1;
}
