#!/usr/bin/env python3
"""Writes tests/io/data/tokenizers/*.json: small vocabularies with the parts of published tokenizers, and what
HuggingFace's tokenizers makes of some texts with each.

Needs: pip install tokenizers
Example: make_tokenizer_golden.py tests/io/data/tokenizers
"""
import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
OTHER = r"\p{Lu}?\p{Ll}+|\p{N}{2}|[^\S\n]+|\S"
CORPUS = [
    "the quick brown fox jumps over the lazy dog, isn't it? They're 1234567 and we'll see.",
    "def main():\n    return 'hello world'  # the comment\n\n\n\tprint(x == 42)",
    "Der schnelle braune Fuchs; l'été à Paris où naît la forêt. Ελληνικά и по-русски тоже.",
    "他们说中文。日本語、한국어 हिन्दी में। عربي، ۔ \U0001f600 \U0001f468\u200d\U0001f469",
] * 4
TEXTS = CORPUS[:4] + [
    "", " ", "  ", "\n", " \n ", "a", " a", "  a  ", "a  b   c", "\t\ta\r\n\r\n b", "I'M YOU'LL 'ſ 'Re 's's ''tt",
    "x" * 70, "1 12 123 1234 12345 ½ ² ٣٤٥", "(a|b)[c] . , ! … 。，、।۔، a.b , c", "e\u0301 \u00e9 \u1e9b\u0323 ﬁ İI",
    "\u00a0\u3000a\u2003 b\u200b\u200d", "<s>hi</s> <|special|>there <s> x", "  <mask> y<mask>z  <mask>  ",
    "word wordy aword word!", "\u2581a \u2581\u2581b", "\U0001f600\U0001f9ff\ufffd\u0000\u0001", "hello\n\nworld  \n  end  ",
    "!!!???...---___", "CamelCaseWords andMore", "中文字" * 15, "the the  the\tthe\u0085the",
]


def train(model, pre_tokenizer, normalizer=None, size=420, alphabet=None):
    tokenizer = Tokenizer(model)
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                                  initial_alphabet=alphabet or pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert), pre_tokenizers.ByteLevel(False, use_regex=False)])


def with_bos(tokenizer, eos=False):
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing("<s> $A </s>" if eos else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)])])
    return tokenizer


def byte_level(pre_tokenizer, normalizer=None, **model):
    tokenizer = train(models.BPE(**model), pre_tokenizer, normalizer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|special|>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("word", single_word=True)])
    return tokenizer


def bytes_tokens(tokenizer):
    """The trained vocabulary with <0xXX> behind it, some characters taken out."""
    state = json.loads(tokenizer.to_str())
    vocab = state["model"]["vocab"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    state["model"]["byte_fallback"] = True
    state["model"]["fuse_unk"] = True
    state["model"]["unk_token"] = "<unk>"
    return Tokenizer.from_str(json.dumps(state))


def llama2(legacy):
    if legacy:
        tokenizer = train(models.BPE(), None, normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), alphabet=["▁"])
    else:
        tokenizer = train(models.BPE(), pre_tokenizers.Metaspace("▁", "first", False), alphabet=["▁"])
    tokenizer = bytes_tokens(tokenizer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    return with_bos(tokenizer)


def make_all():
    yield "gpt2", byte_level(pre_tokenizers.ByteLevel(False))
    opt = byte_level(pre_tokenizers.ByteLevel(True))
    opt.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    yield "prefix_space", opt
    yield "llama3", with_bos(byte_level(split(LLAMA3), ignore_merges=True))
    yield "qwen2", byte_level(split(QWEN2, "removed", True), normalizers.NFC())
    yield "bloom", byte_level(split(BLOOM), None)
    yield "other_regex", byte_level(split(OTHER, "merged_with_previous"), normalizers.NFKC())
    yield "digits", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.Punctuation("contiguous"),
                                                       pre_tokenizers.ByteLevel(False)]))
    yield "llama2_legacy", llama2(True)
    yield "llama2", llama2(False)
    metaspace = with_bos(train(models.BPE(unk_token="<unk>"), pre_tokenizers.Metaspace(), alphabet=["▁"], size=200), True)
    metaspace.decoder = decoders.Metaspace()
    yield "metaspace", metaspace
    words = train(models.BPE(unk_token="<unk>"), pre_tokenizers.Whitespace(), normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Strip()]), size=200)
    yield "whitespace", words


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, tokenizer in make_all():
        cases = []
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            cases.append({"text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
                          "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                          "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
        golden = {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(golden, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


if __name__ == "__main__":
    main()
