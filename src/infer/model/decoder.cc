#include "infer/model/decoder.h"

#include <new>
#include <utility>

#include "infer/model/architecture_names.h"
#include "infer/model/check_plan.h"

namespace gamelan::infer {

using tensor::MatrixView;

Decoder::Decoder(io::ModelFiles files, const kernels::Context& context, const Partition& partition,
                 const LoadOptions& options, kernels::WeightScheme scheme)
    : files_(std::move(files)),
      context_(context),
      partition_(partition),
      links_(options.parallel, partition),
      scheme_(scheme),
      attention_(files_.config, partition) {
  context_.workspace = &arena_;
}

kernels::cpu::KvLayout Decoder::layout(const CacheOptions& options) const {
  return {options.dtype, shape_.kv_heads, shape_.head_dim, options.block_tokens};
}

tensor::DType Decoder::natural_cache_dtype() const {
  switch (scheme_) {
    case kernels::WeightScheme::kF32:
      return tensor::DType::kF32;
    case kernels::WeightScheme::kF16:
      return tensor::DType::kF16;
    default:
      return tensor::DType::kBF16;
  }
}

std::size_t Decoder::cache_block_bytes(const CacheOptions& options) const {
  return layout(options).block_bytes() * static_cast<std::size_t>(partition_.layers.count);
}

base::Status Decoder::create_cache(const CacheOptions& options, std::int64_t blocks) {
  switch (options.dtype) {
    case tensor::DType::kF32:
    case tensor::DType::kBF16:
    case tensor::DType::kF16:
    case tensor::DType::kI8:
      break;
    default:
      return base::invalid_argument("cache: expected f32, bf16, f16 or i8, got {}",
                                    tensor::name_of(options.dtype));
  }
  cache_ = KvStorage();  // the old memory goes first
  GAMELAN_ASSIGN_OR_RETURN(cache_,
                           KvStorage::create(layout(options), partition_.layers.count, blocks));
  const std::size_t bytes = step_bytes(options, blocks);
  try {
    arena_.reserve(bytes);
  } catch (const std::bad_alloc&) {
    return base::resource_exhausted("steps of {} tokens: no memory for {} bytes of activations",
                                    options.step_tokens, bytes);
  }
  return base::OkStatus();
}

base::Status Decoder::check(const StepPlan& plan) const {
  if (cache_.empty()) {
    return base::failed_precondition("forward: the model has no cache yet");
  }
  return check_plan(plan, config(), cache_.blocks(), cache_.block_tokens());
}

void Decoder::embed(const StepPlan& plan, MatrixView<float> x) {
  const device::Arena::Scope scope(arena_);
  if (project_in_.empty()) {
    token_embedding_.look_up(context_, plan.tokens, x);
  } else {
    const std::int64_t width = config().embedding_size;
    const MatrixView<float> narrow(arena_.take<float>(x.rows * width), x.rows, width);
    token_embedding_.look_up(context_, plan.tokens, narrow);
    project_in_(context_, narrow, x);
  }
  if (!position_embedding_.empty()) {
    auto* const positions = arena_.take<std::int32_t>(x.rows);
    std::int64_t row = 0;
    for (const StepSequence& sequence : plan.sequences) {
      for (std::int32_t i = 0; i < sequence.tokens; ++i) {
        positions[row++] =
            sequence.position + i + static_cast<std::int32_t>(config().position_offset);
      }
    }
    position_embedding_.add(context_, {positions, plan.tokens.size()}, x);
  }
  if (embedding_norm_) {
    (*embedding_norm_)(context_, x, x);
  }
}

base::Status Decoder::run_blocks(Activations& a) {
  const TensorSum sum = links_.sum();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].attend(context_, static_cast<std::int64_t>(i), attention_, a);
    if (partition_.last_stage() && i + 1 == blocks_.size()) {
      // Nobody needs the other rows any more.
      a.keep_rows(attention_.logit_rows());
    }
    GAMELAN_RETURN_IF_ERROR(blocks_[i].finish(context_, sum, a));
  }
  return base::OkStatus();
}

base::Status Decoder::forward(const StepPlan& plan, MatrixView<float> logits) {
  GAMELAN_RETURN_IF_ERROR(check(plan));
  const std::int64_t logit_rows = plan.logit_rows();
  if (links_.wants_logits() &&
      (logits.rows != logit_rows || logits.columns != config().vocab_size)) {
    return base::invalid_argument("forward: expected room for logits [{}, {}], got [{}, {}]",
                                  logit_rows, config().vocab_size, logits.rows, logits.columns);
  }
  arena_.reset();
  cache_.copy(plan.copies);
  attention_.begin(context_, plan, cache_);
  Activations a = Activations::take(arena_, static_cast<std::int64_t>(plan.tokens.size()), shape_);
  if (a.x.rows == 0) {
    return base::OkStatus();
  }
  if (partition_.first_stage()) {
    embed(plan, a.x);
  } else {
    GAMELAN_RETURN_IF_ERROR(links_.receive_rows(a.x));
  }
  GAMELAN_RETURN_IF_ERROR(run_blocks(a));
  if (!partition_.last_stage()) {
    GAMELAN_RETURN_IF_ERROR(links_.send_rows(a.x));
  }
  return logit_rows == 0 ? base::OkStatus() : compute_logits(a.x, logits);
}

base::Status Decoder::compute_logits(MatrixView<float> x, MatrixView<float> logits) {
  const std::int64_t vocabulary = config().vocab_size;
  if (!partition_.last_stage()) {
    if (!links_.wants_logits()) {
      return base::OkStatus();
    }
    if (logits.stride == logits.columns) {
      return links_.receive_logits(logits);
    }
    const MatrixView<float> packed(arena_.take<float>(logits.rows * vocabulary), logits.rows,
                                   vocabulary);
    GAMELAN_RETURN_IF_ERROR(links_.receive_logits(packed));
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      std::copy_n(packed.row(row), vocabulary, logits.row(row));
    }
    return base::OkStatus();
  }
  MatrixView<float> all = logits;
  if (!links_.wants_logits()) {
    const bool gets_all = partition_.tensor_rank == 0;
    all = {gets_all ? arena_.take<float>(x.rows * vocabulary) : nullptr, x.rows, vocabulary};
  }
  if (partition_.tensor_size == 1) {
    head_(context_, x, all);
  } else {
    const std::int64_t stride = partition_.widest_vocabulary;
    const MatrixView<float> mine(arena_.take<float>(x.rows * stride), x.rows, stride);
    head_(context_, x, {mine.data, mine.rows, partition_.vocabulary.count, stride});
    GAMELAN_RETURN_IF_ERROR(links_.gather_columns(arena_, vocabulary, mine, all));
  }
  const bool sends = partition_.tensor_rank == 0 && !links_.wants_logits();
  return sends ? links_.send_logits(all) : base::OkStatus();
}

std::size_t Decoder::weight_bytes() const {
  std::size_t total = head_.size_bytes() + project_in_.size_bytes() +
                      (embedding_norm_ ? embedding_norm_->size_bytes() : 0);
  for (const Block& block : blocks_) {
    total += block.size_bytes();
  }
  return total;
}

std::string Decoder::description() const {
  const int threads = context_.threads->size();
  std::string text = fmt::format("{} on the CPU, {} thread{}", kernels::name_of(scheme_), threads,
                                 threads == 1 ? "" : "s");
  if (partition_.tensor_size > 1) {
    text += fmt::format(", tensor parallel {}", partition_.tensor_size);
  }
  if (partition_.stages > 1) {
    text += fmt::format(", pipeline parallel {}", partition_.stages);
  }
  return text;
}

}  // namespace gamelan::infer
