#!/usr/bin/env python3
"""HuggingFace's tokenizers beside gamelan_tokenize_bench: the same texts, one thread each, interleaved.

Needs: pip install tokenizers
Example: tokenize_hf.py --vocab vocab.txt --data imdb_test.tsv.gz
           --gamelan build/release/bench/text/gamelan_tokenize_bench
The data are TSV rows without a header, the text in the fourth column. The ids are counted on both sides and
must agree.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402


def make_tokenizer(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(file)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    opener = gzip.open if options.data.endswith(".gz") else open
    with opener(options.data, "rt", encoding="utf-8", newline="\n") as file:
        texts = [row.rstrip("\n").split("\t")[3] for row in file][: options.texts]
    size = sum(len(text.encode()) for text in texts) / 1e6
    tokenizer = make_tokenizer(options.vocab)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tokenizer.encode_batch_fast(texts[:200])

    theirs, ours = [], []
    for _ in range(options.rounds):
        start = time.perf_counter()
        ids = sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts))
        theirs.append(size / (time.perf_counter() - start))
        command = [options.gamelan, "--vocab", options.vocab, "--data", options.data, "--json",
                   "--texts", str(options.texts), "--rounds", "3"]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        assert result["ids"] == ids, (result["ids"], ids)
        ours.append(result["megabytes_per_second"])
    print(f"{len(texts)} texts, {size:.1f} MB, {ids} ids; {options.rounds} rounds, one thread; "
          f"load {os.getloadavg()[0]:.2f}")
    for name, values in (("tokenizers", theirs), ("gamelan", ours)):
        print(f"{name:<12} {statistics.median(values):8.1f} MB/s  ({min(values):.1f}…{max(values):.1f})")
    print(f"ratio        {statistics.median(ours) / statistics.median(theirs):8.1f}")


if __name__ == "__main__":
    main()
