#include "infer/model/architecture_names.h"

namespace gamelan::infer {

const ArchitectureNames& names_of(io::Architecture architecture) {
  switch (architecture) {
    case io::Architecture::kBloom:
      return bloom_names();
    case io::Architecture::kGpt2:
      return gpt2_names();
    case io::Architecture::kGptNeoX:
      return gpt_neox_names();
    case io::Architecture::kOpt:
      return opt_names();
    case io::Architecture::kBert:
      return bert_names();
    case io::Architecture::kLlama:
    case io::Architecture::kMistral:
    case io::Architecture::kQwen2:
      break;
  }
  return llama_names();
}

}  // namespace gamelan::infer
