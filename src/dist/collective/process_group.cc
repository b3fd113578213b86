#include "dist/collective/process_group.h"

#include <atomic>
#include <functional>
#include <utility>

#include "base/log.h"
#include "dist/collective/flight_record.h"
#include "dist/collective/link/link_collectives.h"
#include "dist/collective/operation_queue.h"
#include "dist/collective/reduce.h"
#include "dist/collective/shm/registered_memory.h"
#include "dist/collective/shm/shm_collectives.h"
#include "dist/transport/transport.h"

namespace gamelan::dist {
namespace {

constexpr std::uint32_t kMaxTag = 1U << 31;

Work failed_work(const base::Status& status) {
  auto state = std::make_shared<Work::State>();
  state->finish(status);
  return Work(std::move(state));
}

/// The views of one call must be of the CPU and of one dtype, and point somewhere.
base::Status check_view(const tensor::BufferView& view, std::string_view what) {
  if (view.device.type != tensor::DeviceType::kCpu) {
    return base::unimplemented("{}: only memory of the CPU can be moved", what);
  }
  if (static_cast<int>(view.dtype) >= tensor::kDTypeCount) {
    return base::invalid_argument("{}: unknown element type {}", what,
                                  static_cast<int>(view.dtype));
  }
  if (view.data == nullptr && view.count > 0) {
    return base::invalid_argument("{}: no memory given for {} elements", what, view.count);
  }
  return base::OkStatus();
}

/// `small` may be the part of `large` that belongs to this rank, but may not overlap it otherwise.
base::Status check_overlap(const tensor::BufferView& small, const tensor::BufferView& large,
                           int rank, std::string_view what) {
  const std::less<const std::byte*> before;
  const auto* const a = static_cast<const std::byte*>(small.data);
  const auto* const b = static_cast<const std::byte*>(large.data);
  const std::size_t bytes = small.size_bytes();
  const bool apart = bytes == 0 || !before(a, b + large.size_bytes()) || !before(b, a + bytes);
  if (apart || a == b + static_cast<std::size_t>(rank) * bytes) {
    return base::OkStatus();
  }
  return base::invalid_argument(
      "{}: input and output overlap; only this rank's own part of the larger one may be the "
      "smaller one",
      what);
}

base::Status check_pair(const tensor::BufferView& small, const tensor::BufferView& large, int size,
                        int rank, std::string_view what) {
  if (small.dtype != large.dtype) {
    return base::invalid_argument("{}: input and output have different element types ({} and {})",
                                  what, tensor::name_of(small.dtype), tensor::name_of(large.dtype));
  }
  if (large.count != small.count * static_cast<std::size_t>(size)) {
    return base::invalid_argument(
        "{}: for {} elements a rank and {} ranks, expected {} elements in all, got {}", what,
        small.count, size, small.count * static_cast<std::size_t>(size), large.count);
  }
  return check_overlap(small, large, rank, what);
}

/// What registered memory shares with its group.
struct Registry {
  std::unique_ptr<Transport> transport;
  RegisteredTable table;
};

}  // namespace

class RegisteredMemory::Impl {
 public:
  Impl(std::weak_ptr<Registry> registry, Transport::NumberedSegment numbered)
      : registry_(std::move(registry)), numbered_(std::move(numbered)) {}
  ~Impl() {
    if (const auto registry = registry_.lock()) {
      registry->table.remove(numbered_.number);
      registry->transport->release_segment(numbered_.number);
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const Segment& segment() const { return *numbered_.segment; }

 private:
  const std::weak_ptr<Registry> registry_;
  const Transport::NumberedSegment numbered_;
};

RegisteredMemory::RegisteredMemory() = default;
RegisteredMemory::RegisteredMemory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RegisteredMemory::~RegisteredMemory() = default;
RegisteredMemory::RegisteredMemory(RegisteredMemory&&) noexcept = default;
RegisteredMemory& RegisteredMemory::operator=(RegisteredMemory&&) noexcept = default;
void* RegisteredMemory::data() const {
  return impl_ ? impl_->segment().data() : nullptr;
}
std::size_t RegisteredMemory::size_bytes() const {
  return impl_ ? impl_->segment().size_bytes() : 0;
}

class ProcessGroup::Impl {
 public:
  Impl(std::unique_ptr<Transport> transport, Options options)
      : options_(options), registry_(std::make_shared<Registry>()) {
    registry_->transport = std::move(transport);
    Transport& links = *registry_->transport;
    if (links.shares_memory() && links.size() > 1) {
      collectives_ = std::make_unique<ShmCollectives>(links, registry_->table);
    } else {
      collectives_ = std::make_unique<LinkCollectives>(links);
    }
    links.set_reporter([this] { return report(); });
    queue_ = std::make_shared<OperationQueue>(
        [this](const Operation& operation) { return run(operation); });
    queue_->start();
  }

  ~Impl() {
    close();
    join();
  }

  Transport& transport() const { return *registry_->transport; }
  int rank() const { return transport().rank(); }
  int size() const { return transport().size(); }

  Work collective(OpKind kind, ReduceOp reduce, int root, std::uint64_t count,
                  const tensor::BufferView& input, const tensor::BufferView& output,
                  const CollectiveOptions& options) {
    Operation operation;
    operation.signature.kind = kind;
    operation.signature.dtype = input.dtype;
    operation.signature.reduce = reduce;
    operation.signature.root = static_cast<std::uint32_t>(root);
    operation.signature.count = count;
    operation.input = input;
    operation.output = output;
    operation.timeout = timeout_of(options);
    operation.deadline = base::deadline_after(operation.timeout);
    return Work(queue_->add(std::move(operation)));
  }

  Work message(bool sending, const tensor::BufferView& buffer, int peer,
               const PointToPointOptions& options) {
    const std::string_view what = sending ? "send" : "recv";
    base::Status status = check_view(buffer, what);
    if (status.ok() && (peer < 0 || peer >= size() || peer == rank())) {
      status =
          base::invalid_argument("{}: peer {} is not another one of {} ranks (this is rank {})",
                                 what, peer, size(), rank());
    }
    if (status.ok() && options.tag >= kMaxTag) {
      status = base::invalid_argument("{}: tag {} is not below 2^31", what, options.tag);
    }
    if (status.ok() && transport().failed()) {
      status = transport().failure();
    }
    if (!status.ok()) {
      return failed_work(status);
    }
    auto state = std::make_shared<Work::State>();
    const auto done = [state](const base::Status& ended) { state->finish(ended); };
    const base::TimePoint deadline = base::deadline_after(timeout_of(options));
    Mailbox& mailbox = transport().mailbox();
    if (sending) {
      mailbox.send(peer, options.tag, buffer, deadline, done);
    } else {
      mailbox.recv(peer, options.tag, buffer, deadline, done);
    }
    return Work(std::move(state));
  }

  base::StatusOr<RegisteredMemory> allocate(std::size_t bytes) {
    GAMELAN_ASSIGN_OR_RETURN(Transport::NumberedSegment numbered,
                             transport().allocate_segment(bytes));
    if (transport().shares_memory()) {
      registry_->table.add(numbered.number, numbered.segment);
    }
    return RegisteredMemory(
        std::make_unique<RegisteredMemory::Impl>(registry_, std::move(numbered)));
  }

  base::Status check_root(int root, std::string_view what) const {
    if (root >= 0 && root < size()) {
      return base::OkStatus();
    }
    return base::invalid_argument("{}: root {} is not one of {} ranks", what, root, size());
  }

  void abort(const base::Status& reason) {
    transport().fail(base::aborted("{} aborted the group: {}", transport().describe(rank()),
                                   base::message(reason)));
  }

  void close() {
    queue_->close(base::aborted("rank {} has closed group '{}'", rank(), transport().group_name()));
    transport().close();
  }

  void join() {
    queue_->join();
    transport().join();
  }

 private:
  std::chrono::milliseconds timeout_of(const CollectiveOptions& options) const {
    return options.timeout.count() > 0 ? options.timeout : options_.timeout;
  }

  base::Status run(const Operation& operation) {
    base::Status status = transport().failed() ? transport().failure() : base::OkStatus();
    if (status.ok()) {
      flight_.begin(operation.signature);
      status = collectives_->run(operation);
      flight_.end(status.ok());
    }
    if (status.ok()) {
      return status;
    }
    transport().fail(status);
    if (status.code() == base::StatusCode::kDeadlineExceeded && !told_.exchange(true)) {
      base::log().warn("rank {}: the last operations of group '{}':\n{}", rank(),
                       transport().group_name(), flight_.recent(8));
    }
    // The other reasons name an operation themselves.
    const bool from_elsewhere = status.code() == base::StatusCode::kUnavailable ||
                                status.code() == base::StatusCode::kAborted;
    return from_elsewhere ? base::annotate(status, to_string(operation.signature)) : status;
  }

  std::string report() const {
    const std::string message = transport().mailbox().waiting_text();
    return message.empty() ? flight_.progress() : flight_.progress() + " and waits in " + message;
  }

  const Options options_;
  const std::shared_ptr<Registry> registry_;
  FlightRecord flight_;
  std::atomic<bool> told_{false};  // of the last operations, in the log
  std::unique_ptr<Collectives> collectives_;
  std::shared_ptr<OperationQueue> queue_;
};

ProcessGroup::ProcessGroup(std::unique_ptr<Transport> transport, Options options)
    : impl_(std::make_unique<Impl>(std::move(transport), options)) {}
ProcessGroup::~ProcessGroup() = default;

int ProcessGroup::rank() const {
  return impl_->rank();
}
int ProcessGroup::size() const {
  return impl_->size();
}
std::uint64_t ProcessGroup::generation() const {
  return impl_->transport().generation();
}
std::string ProcessGroup::backend_name() const {
  return impl_->transport().shares_memory() ? "shm" : "tcp";
}

Work ProcessGroup::broadcast(tensor::BufferView buffer, const RootOptions& options) {
  base::Status status = check_view(buffer, "broadcast");
  status.Update(impl_->check_root(options.root, "broadcast"));
  if (!status.ok()) {
    return failed_work(status);
  }
  return impl_->collective(OpKind::kBroadcast, ReduceOp::kSum, options.root, buffer.count, buffer,
                           buffer, options);
}

Work ProcessGroup::all_reduce(tensor::BufferView buffer, const ReduceOptions& options) {
  base::Status status = check_view(buffer, "all_reduce");
  status.Update(check_reducible(buffer.dtype, options.op));
  if (!status.ok()) {
    return failed_work(status);
  }
  return impl_->collective(OpKind::kAllReduce, options.op, 0, buffer.count, buffer, buffer,
                           options);
}

Work ProcessGroup::all_gather(tensor::BufferView input, tensor::BufferView output,
                              const CollectiveOptions& options) {
  base::Status status = check_view(input, "all_gather");
  status.Update(check_view(output, "all_gather"));
  status.Update(check_pair(input, output, size(), rank(), "all_gather"));
  if (!status.ok()) {
    return failed_work(status);
  }
  return impl_->collective(OpKind::kAllGather, ReduceOp::kSum, 0, input.count, input, output,
                           options);
}

Work ProcessGroup::reduce_scatter(tensor::BufferView input, tensor::BufferView output,
                                  const ReduceOptions& options) {
  base::Status status = check_view(input, "reduce_scatter");
  status.Update(check_view(output, "reduce_scatter"));
  status.Update(check_pair(output, input, size(), rank(), "reduce_scatter"));
  status.Update(check_reducible(input.dtype, options.op));
  if (!status.ok()) {
    return failed_work(status);
  }
  return impl_->collective(OpKind::kReduceScatter, options.op, 0, output.count, input, output,
                           options);
}

Work ProcessGroup::gather(tensor::BufferView input, tensor::BufferView output,
                          const RootOptions& options) {
  base::Status status = check_view(input, "gather");
  status.Update(impl_->check_root(options.root, "gather"));
  if (status.ok() && rank() == options.root) {
    status.Update(check_view(output, "gather"));
    status.Update(check_pair(input, output, size(), rank(), "gather"));
  }
  if (!status.ok()) {
    return failed_work(status);
  }
  return impl_->collective(OpKind::kGather, ReduceOp::kSum, options.root, input.count, input,
                           output, options);
}

Work ProcessGroup::barrier(const CollectiveOptions& options) {
  return impl_->collective(OpKind::kBarrier, ReduceOp::kSum, 0, 0, {}, {}, options);
}

Work ProcessGroup::send(tensor::BufferView buffer, int peer, const PointToPointOptions& options) {
  return impl_->message(true, buffer, peer, options);
}

Work ProcessGroup::recv(tensor::BufferView buffer, int peer, const PointToPointOptions& options) {
  return impl_->message(false, buffer, peer, options);
}

base::StatusOr<RegisteredMemory> ProcessGroup::allocate(std::size_t bytes) {
  return impl_->allocate(bytes);
}

void ProcessGroup::abort(const base::Status& reason) {
  impl_->abort(reason);
}
void ProcessGroup::close() {
  impl_->close();
}
void ProcessGroup::join() {
  impl_->join();
}

}  // namespace gamelan::dist
