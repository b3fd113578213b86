#!/usr/bin/env bash
# Fails when two of the shared libraries that a program loads define the same symbol: whichever comes first wins for
# both, which crashes programs that bring their own copy of a library. Weak symbols (inline functions,
# templates) and those of the C and C++ run-time are meant to be shared.
#   check_symbols.sh PROGRAM...
set -euo pipefail

# Parts of one run-time that override each other on purpose.
runtime='^(linux-vdso|ld-linux|libc|libm|libdl|libpthread|librt|libutil|libresolv|libstdc\+\+|libgcc_s|lib[atlu]*san|libasan|libtsan|libubsan)(-|_|\.)'

bad=0
for program in "$@"; do
  duplicates=$(
    ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
      name=$(basename "$library")
      [[ $name =~ $runtime ]] && continue
      # T, D, B, R: defined for everybody, and not weak. Versioned symbols are told apart by their version.
      nm -D --defined-only "$library" | awk -v lib="$name" \
        '$2 ~ /^[TDBR]$/ && $3 !~ /^(_init|_fini|_edata|_end|__bss_start)(@|$)/ { print $3, lib }'
    done | awk '{ if ($1 in owner) { if (owner[$1] != $2) print $1 ": " owner[$1] " and " $2 } else owner[$1] = $2 }'
  )
  if [[ -n $duplicates ]]; then
    echo "$program loads libraries that define the same symbols:"
    echo "$duplicates" | head -50
    bad=1
  fi
done
exit $bad
