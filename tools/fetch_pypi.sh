# Sourced: fetch_pypi NAME VERSION SHA256 DEST_DIR [pip options...]
# Downloads one file of a PyPI package into DEST_DIR without its dependencies and checks its sha256.
# Prints the file's path. Returns 1 with a message when the download or the check fails.
fetch_pypi() {
  local name=$1 version=$2 sha256=$3 dest=$4
  shift 4
  local scratch file log
  scratch=$(mktemp -d "$dest/download.XXXXXX")
  log=$scratch/pip.log
  if ! python3 -m pip --disable-pip-version-check download --no-deps --no-cache-dir -q \
    -d "$scratch/files" "$@" "$name==$version" >"$log" 2>&1 </dev/null; then
    echo "gamelan: could not download $name $version with pip; the package index must be reachable once:" >&2
    tail -n 3 "$log" | cut -c1-300 | sed 's/^/  /' >&2
    rm -rf "$scratch"
    return 1
  fi
  file=$(find "$scratch/files" -type f | head -n 1)
  if ! echo "$sha256  $file" | sha256sum --check --status; then
    echo "gamelan: $(basename "$file") has sha256 $(sha256sum "$file" | cut -d' ' -f1), expected $sha256" >&2
    rm -rf "$scratch"
    return 1
  fi
  mv "$file" "$dest/"
  rm -rf "$scratch"
  echo "$dest/$(basename "$file")"
}
