#!/usr/bin/env bash
# Fails when a *_test.cc of the tree belongs to no test program.
#   check_tests_are_built.sh SOURCE_ROOT LIST_OF_BUILT_SOURCES
# Layers that this configuration leaves out are named in GAMELAN_SKIPPED_LAYERS.
set -euo pipefail
missing=0
while read -r file; do
  layer=$(echo "${file#"$1/tests/"}" | cut -d/ -f1)
  [[ " ${GAMELAN_SKIPPED_LAYERS:-} " == *" $layer "* ]] && continue
  if ! grep -qxF "$file" "$2"; then
    echo "not built by any test program: $file"
    missing=1
  fi
done < <(find "$1/tests" -name '*_test.cc')
exit $missing
