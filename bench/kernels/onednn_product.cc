#include "bench/kernels/onednn_product.h"

#include <omp.h>

#include <algorithm>
#include <dnnl.hpp>
#include <vector>

namespace gamelan::bench {
namespace {

using kernels::WeightScheme;
using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

/// One thread's share of the outputs.
struct Part {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  dnnl::memory x;
  dnnl::memory weights;
  dnnl::memory y;

  Part(Type x_type, Type w_type, std::int64_t rows, std::int64_t out, std::int64_t in) {
    const dnnl::memory::desc x_desc({rows, in}, x_type, Tag::ab);
    const dnnl::memory::desc w_desc({in, out}, w_type, Tag::any);
    const dnnl::memory::desc y_desc({rows, out}, Type::f32, Tag::ab);
    const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine);
    product = dnnl::matmul(desc);
    x = dnnl::memory(x_desc, engine);
    weights = dnnl::memory(desc.weights_desc(), engine);
    y = dnnl::memory(y_desc, engine);
    for (dnnl::memory* memory : {&x, &weights, &y}) {
      auto* bytes = static_cast<std::uint8_t*>(memory->get_data_handle());
      std::fill_n(bytes, memory->get_desc().get_size(), std::uint8_t{0x3c});
    }
  }

  void run() {
    product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, y}});
    stream.wait();
  }
};

class Product : public OneDnnProduct {
 public:
  Product(device::ThreadPool& pool, Type x, Type w, std::int64_t rows, std::int64_t out,
          std::int64_t in)
      : pool_(pool), parts_(static_cast<std::size_t>(pool.size())) {
    const std::int64_t share = (out / pool.size() + 63) / 64 * 64;
    pool_.run([&](int thread) {
      // oneDNN's own threads would compete with the pool's.
      omp_set_num_threads(1);
      const std::int64_t first = std::min(out, share * thread);
      const std::int64_t last = thread + 1 == pool_.size() ? out : std::min(out, first + share);
      parts_[static_cast<std::size_t>(thread)] =
          last > first ? std::make_unique<Part>(x, w, rows, last - first, in) : nullptr;
    });
  }

  void run() override {
    pool_.run([&](int thread) {
      if (const auto& part = parts_[static_cast<std::size_t>(thread)]; part != nullptr) {
        part->run();
      }
    });
  }

 private:
  device::ThreadPool& pool_;
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace

std::unique_ptr<OneDnnProduct> make_onednn_product(device::ThreadPool& pool, WeightScheme scheme,
                                                   std::int64_t rows, std::int64_t out,
                                                   std::int64_t in) {
  switch (scheme) {
    case WeightScheme::kF32:
      return std::make_unique<Product>(pool, Type::f32, Type::f32, rows, out, in);
    case WeightScheme::kBF16:
      return std::make_unique<Product>(pool, Type::bf16, Type::bf16, rows, out, in);
    case WeightScheme::kInt8Dynamic:
      return std::make_unique<Product>(pool, Type::u8, Type::s8, rows, out, in);
    default:
      return nullptr;
  }
}

}  // namespace gamelan::bench
