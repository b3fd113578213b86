#pragma once

// The precompiled header of everything that uses LibTorch. Source files still include what they use.

#include <torch/torch.h>
