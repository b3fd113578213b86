#pragma once

// The precompiled header of everything that uses LibTorch. Source files still include what they use.
//
// torch/torch.h would be larger but slower: g++ instantiates every template that such a header leaves
// pending once more in each file, 17 s of it, where ATen alone costs 4 s.

#include <ATen/ATen.h>
