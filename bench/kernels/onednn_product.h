#pragma once

#include <cstdint>
#include <memory>

#include "device/thread_pool.h"
#include "kernels/weight_scheme.h"

namespace gamelan::bench {

/// oneDNN's product x [rows, in] * W^T [in, out] with W packed as it likes best and activations
/// already in the type that it reads (bf16, u8), split over the outputs among the threads of a
/// pool. Numbers are constant: it is timed, not checked.
class OneDnnProduct {
 public:
  virtual ~OneDnnProduct() = default;
  virtual void run() = 0;
};

/// Null where oneDNN is absent or has no product of this kind (f32, bf16 and int8-dynamic exist).
std::unique_ptr<OneDnnProduct> make_onednn_product(device::ThreadPool& pool,
                                                   kernels::WeightScheme scheme, std::int64_t rows,
                                                   std::int64_t out, std::int64_t in);

}  // namespace gamelan::bench
