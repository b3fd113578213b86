#pragma once

#include "device/arena.h"
#include "device/stream_ref.h"
#include "device/thread_pool.h"
#include "tensor/buffer_view.h"

namespace gamelan::kernels {

/// Where a kernel runs. Every kernel takes one; it is made once by whoever owns pool and workspace
/// and used by one thread at a time.
struct Context {
  tensor::Device device = {};
  /// Orders the work on a device; empty on the CPU, where a kernel returns when it is done.
  device::StreamRef stream = {};
  /// REQUIRES: not null on the CPU.
  device::ThreadPool* threads = nullptr;
  /// Scratch memory; a kernel gives back what it takes. REQUIRES: not null on the CPU.
  device::Arena* workspace = nullptr;
};

}  // namespace gamelan::kernels
