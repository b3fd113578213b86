"""Writes tests/io/data/sp_*.model and sentence_piece.jsonl: small SentencePiece models and what the
sentencepiece package (0.2) makes of texts with them.

usage: make_sentence_piece_golden.py CORPUS.txt OUT_FOLDER
"""
import json
import os
import random
import sys

import sentencepiece as spm

KINDS = {
    "sp_unigram": dict(model_type="unigram", vocab_size=600, user_defined_symbols=["<sep>", "ab  c"],
                       control_symbols=["<ctl>"]),
    "sp_bpe": dict(model_type="bpe", vocab_size=700, byte_fallback=True,
                   normalization_rule_name="identity", remove_extra_whitespaces=False,
                   user_defined_symbols=["<u>"]),
    "sp_suffix": dict(model_type="unigram", vocab_size=500, byte_fallback=True,
                      treat_whitespace_as_suffix=True, normalization_rule_name="nfkc_cf"),
}
ODD = ["", " ", "   ", "Hello world", "  two  spaces ", "a\tb\nc\r\n", "\ufb01 \u2460 \uff21\uff22 \u00bd",
       "e\u0301\u00e9 \u1e9b\u0323", "\u4e2d\u6587\u5b57", "\U0001f600\U0001f468\u200d\U0001f469",
       "<sep>x<sep>", "ab  c ab c", "<u><u> hi<u>", "\u2581\u2581x", "\u0000\u0001\u007f\u00a0\u3000z",
       "\u0e01\u0e33 \uac00\u1100\u1161", "a" * 300, "xyz" * 50 + " ", "\ufeffbom\u00adsoft",
       "\u0627\u0644\u0639 \u05d0\u05d1", "THE KING, I'll 'tis 12345.678"]


def main(corpus, out):
    lines = [line for line in open(corpus, encoding="utf-8").read().split("\n") if line.strip()]
    rng = random.Random(5)
    texts = ODD + rng.sample(lines, 60)
    pool = "aeiou thsrn\u00e9\u0301\ufb03\u2581\u4e2d\U0001f600  \u00a0\u200b\u2126,."
    texts += ["".join(rng.choice(pool) for _ in range(rng.randint(1, 40))) for _ in range(120)]
    with open(os.path.join(out, "sentence_piece.jsonl"), "w", encoding="utf-8") as file:
        for name, options in KINDS.items():
            prefix = os.path.join(out, name)
            spm.SentencePieceTrainer.train(input=corpus, model_prefix=prefix, num_threads=1,
                                           minloglevel=2, **options)
            os.remove(prefix + ".vocab")
            processor = spm.SentencePieceProcessor(model_file=prefix + ".model")
            for text in texts:
                ids = processor.encode(text)
                file.write(json.dumps({"model": name, "text": text, "ids": ids}) + "\n")


main(*sys.argv[1:])
