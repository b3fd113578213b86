#!/usr/bin/env python3
"""HuggingFace's tokenizers beside gamelan_tokenize_bench: the same texts, one thread each, interleaved.

Needs: pip install tokenizers
Example: tokenize_hf.py --vocab bert/vocab.txt --data imdb_test.tsv.gz
           --gamelan build/release/bench/text/gamelan_tokenize_bench
Example: tokenize_hf.py --vocab gpt2-vocab.json --merges gpt2-merges.txt --lines
           --data wikitext2_valid.raw.txt wikitext2_test.raw.txt --gamelan …
--vocab names BERT's vocab.txt, GPT-2's vocab.json (then with --merges) or any tokenizer.json; both sides load one
tokenizer.json. The data are TSV rows without a header, the text in the fourth column, or with --lines a text a line.
The ids are counted on both sides and must agree.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors  # noqa: E402
from tokenizers.models import BPE, WordPiece  # noqa: E402


def make_bert(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(file)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


def make_gpt2(vocabulary, merges):
    tokenizer = Tokenizer(BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def load_texts(options, path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [row.rstrip("\n") for row in file]
    texts = rows if options.lines else [row.split("\t")[3] for row in rows]
    return texts[: options.texts]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--merges")
    parser.add_argument("--data", required=True, nargs="+")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    if options.merges:
        tokenizer = make_gpt2(options.vocab, options.merges)
    elif options.vocab.endswith(".json"):
        tokenizer = Tokenizer.from_file(options.vocab)
    else:
        tokenizer = make_bert(options.vocab)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        for path in options.data:
            compare(options, tokenizer, folder, path)


def compare(options, tokenizer, folder, path):
    texts = load_texts(options, path)
    size = sum(len(text.encode()) for text in texts) / 1e6
    command = [options.gamelan, "--tokenizer", folder, "--data", path, "--json", "--texts", str(options.texts),
               "--rounds", "3"] + ["--lines"] * options.lines
    theirs, ours = [], []
    tokenizer.encode_batch_fast(texts)  # warms its cache up
    for _ in range(options.rounds):
        start = time.perf_counter()
        ids = sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts))
        theirs.append(size / (time.perf_counter() - start))
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        assert result["ids"] == ids, (result["ids"], ids)
        ours.append(result["megabytes_per_second"])
    print(f"{os.path.basename(path)}: {len(texts)} texts, {size:.1f} MB, {ids} ids; {options.rounds} rounds, one thread; "
          f"load {os.getloadavg()[0]:.2f}")
    for name, values in ((f"tokenizers {tokenizers.__version__}", theirs), ("gamelan", ours)):
        print(f"{name:<18} {statistics.median(values):8.1f} MB/s  ({min(values):.1f}…{max(values):.1f})")
    print(f"{'ratio':<18} {statistics.median(ours) / statistics.median(theirs):8.1f}")


if __name__ == "__main__":
    main()
