#!/usr/bin/env python3
"""Writes tests/io/data/tokenizers/*.json: small vocabularies with the parts of published tokenizers, and what
HuggingFace's tokenizers makes of some texts with each. A large map of characters is not written down: its place names
the SentencePiece model beside the folder that has it.

Needs: pip install tokenizers sentencepiece protobuf
Example: make_tokenizer_golden.py tests/io/data/tokenizers
"""
import base64
import json
import os
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

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
GRAPHEMES = [
    "\ufb01\u0301x \ufb01\u0327\u0301 \ufb01n \ufb03",
    "e\u0301\u0302 \u00e9\u0302\u0323 a\u030a A\u030a \u00c5 \u212b \u2126",
    "\u1100\u1161\u11a8 \uac00\u11a8 \uac01\u0301 \u1100 \ua960\u1161",
    "\uff21\u0301\uff22 \uff71\uff9e \uff76\uff9e \u30ab\u3099",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 1\ufe0f\u20e3 #\u20e3 \u00a9\ufe0f \u2122\u200d\u263a \u2764\ufe0f\u200d\U0001f525",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1e9 \U0001f1ea", "a\u0000b\u0000\u0301c", "x\r\ny\r\n\u0301z\n\r",
    "\u0915\u094d\u0937\u093f \u0915\u094d\u200d\u0937 \u0e2a\u0e33 \u0ba4\u0bbf", "\u0600\u0661 \u06dd1 \u0600A",
    "\u2474\u00bd\u3164\u3231\u337f\ufdfa", "\u3400\u3401\u3402 x\u3400\u3401y \U00010348\U00010349 \u3400",
    "<unk>\u3400 a<unk>b\u3400<unk>", "``quoted'' text, l'e\u0301te\u0301", "\u00adsoft\u200bzero\u2060 \ufeff",
    "\u0301\u0302 start", "a\u200db \u200d", " leading, trailing \u3000 ", "the quick" * 40, "\x01\x02a \x7f\x8f\x9fb",
]
# Replacements in the format of normalization_rule_tsv: some sources begin others.
RULES = """65 301\te9
65 301 302\t1ebf
fb01\t66 69
fb01 6e\t46
ff21\t41
41 30a\tc5
212b\tc5
2126\t3a9
d\t20
a\t20
200b\t
3000\t20
bd\t31 2044 32
1100 1161\tac00
"""


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


def charsmap(path):
    model = sentencepiece_model_pb2.ModelProto()
    with open(path, "rb") as file:
        model.ParseFromString(file.read())
    return model.normalizer_spec.precompiled_charsmap


def compile_rules():
    with tempfile.TemporaryDirectory() as folder:
        rules, prefix = os.path.join(folder, "rules.tsv"), os.path.join(folder, "model")
        with open(rules, "w", encoding="utf-8") as file:
            file.write(RULES)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_prefix=prefix, model_type="char",
                                                 normalization_rule_tsv=rules, minloglevel=2)
        return charsmap(prefix + ".model")


def unigram(normalizer, pre_tokenizer, decoder, template=None, byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(normalizer)
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    trainer = trainers.UnigramTrainer(vocab_size=240, special_tokens=["<pad>", "</s>", "<unk>", "<s>"], unk_token="<unk>",
                                      show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())
    # The trainer keeps every character of its texts; without some, runs of unknown ones occur.
    vocab = [piece for piece in state["model"]["vocab"] if piece[0] not in set("xzPqö中हв42")]
    if byte_fallback:
        vocab += [[f"<0x{byte:02X}>", 0.0] for byte in range(256)]
    vocab += [["<extra_id_0>", 0.0]]
    state["model"].update(vocab=vocab, byte_fallback=byte_fallback)
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken("<extra_id_0>", lstrip=True), AddedToken("<mask>", lstrip=True)])
    tokenizer.add_tokens([AddedToken("word", single_word=True)])
    if template is not None:
        tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 3), ("</s>", 1)])
    return tokenizer


def make_unigrams(nmt_nfkc):
    precompiled = normalizers.Precompiled(nmt_nfkc)
    squeeze = normalizers.Replace(Regex(" {2,}"), " ")
    metaspace, metaspace_decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    yield "t5", unigram([precompiled], pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]),
                        metaspace_decoder, "$A </s>")
    yield "xlm_roberta", unigram([precompiled, normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")],
                                 metaspace, metaspace_decoder, "<s> $A </s>")
    yield "albert", unigram(
        [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
         normalizers.Lowercase(), precompiled, squeeze], metaspace, metaspace_decoder, "<s> $A </s>")
    yield "deberta", unigram(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), normalizers.NFC(),
         normalizers.Strip(left=False)],
        pre_tokenizers.Sequence([pre_tokenizers.Punctuation("isolated"), metaspace]), metaspace_decoder)
    yield "unigram_rules", unigram([normalizers.Precompiled(compile_rules()), squeeze], pre_tokenizers.Metaspace(
        prepend_scheme="first", split=False), decoders.Metaspace(prepend_scheme="first"))
    yield "unigram_bytes", unigram([precompiled], pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Sequence(
        [decoders.Replace(Regex("▁"), " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
        "<s> $A", byte_fallback=True)
    yield "unigram_nmt", unigram([normalizers.Nmt(), normalizers.NFKC(), squeeze], pre_tokenizers.Metaspace(
        prepend_scheme="never"), decoders.Metaspace(prepend_scheme="never"))
    yield "unigram_byte_level", unigram([normalizers.NFC()], pre_tokenizers.ByteLevel(), decoders.ByteLevel())
    yield "byte_alphabet", unigram([normalizers.ByteLevel()], pre_tokenizers.Digits(), decoders.ByteLevel())


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


def golden_of(tokenizer, texts):
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
                      "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                      "skipped": tokenizer.decode(ids, skip_special_tokens=True)})
    return {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}


def write(folder, name, golden):
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, tokenizer in make_all():
        write(folder, name, golden_of(tokenizer, TEXTS))
    model = "sp_unigram.model"
    nmt_nfkc = charsmap(os.path.join(folder, "..", model))
    for name, tokenizer in make_unigrams(nmt_nfkc):
        golden = golden_of(tokenizer, TEXTS + GRAPHEMES)
        for step in golden["tokenizer"]["normalizer"]["normalizers"]:
            if step.get("precompiled_charsmap") == base64.b64encode(nmt_nfkc).decode():
                step["precompiled_charsmap"] = model
        write(folder, name, golden)


if __name__ == "__main__":
    main()
