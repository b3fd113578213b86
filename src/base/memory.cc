#include "base/memory.h"

#include <malloc.h>

namespace gamelan::base {

void keep_freed_memory() {
  // Blocks up to this size come from the heap; larger ones are rare and worth their faults.
  constexpr int kHeapBlockBytes = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kHeapBlockBytes);
  mallopt(M_TRIM_THRESHOLD, -1);  // never
}

}  // namespace gamelan::base
