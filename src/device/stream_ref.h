#pragma once

namespace gamelan::device {

/// A stream of some device that orders asynchronous work; empty on the CPU. Does not own.
struct StreamRef {
  void* handle = nullptr;
  explicit operator bool() const { return handle != nullptr; }
};

}  // namespace gamelan::device
