#!/usr/bin/env python3
"""Reading prompts and generating beside transformers, CTranslate2 and llama.cpp: same model, same threads, in turn.

Needs: pip install torch transformers ctranslate2 gguf llama-cpp-python (each peer that cannot be imported is left out)
Example: generate_peers.py --gamelan build/release/bin/gamelan --model bloom-354m --work-dir /tmp/peers
Takes a BLOOM folder, such as make_random_model.py writes, and converts it for the peers into --work-dir, once. Every
round measures each program once; printed are medians of the rounds, and the median of each round's ratio to the bars:
bf16 prefill 1.3x the best of transformers (last logits only) and llama.cpp, int8 prefill 1.3x CTranslate2, batch 16 at
context 64 2x llama.cpp bf16 and Q8_0. On a CPU with AMX build llama.cpp by clang (CC, CXX): what g++ 12 makes of it dies
at the first quantised product, and such files are left out. Choosing the most probable token is part of every program's time.
"""
import argparse
import ctypes
import functools
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore", FutureWarning)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

PROMPT = 512
STEPS = 16
SLEEP = 0.3  # idle threads of OpenMP poll that long at most before they leave the cores to the next program


class Transformers:
    def __init__(self, folder, dtype):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        self.vocabulary = self.model.config.vocab_size

    @torch.inference_mode()
    def logits(self, ids):
        return self.model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].float().numpy()

    @torch.inference_mode()
    def prefill(self, ids, keep):
        start = time.perf_counter()
        self.model(torch.tensor([ids]), logits_to_keep=keep).logits[:, -1].argmax(-1)
        return len(ids) / (time.perf_counter() - start)

    @torch.inference_mode()
    def decode(self, prompts, steps):
        output = self.model(torch.tensor(prompts), use_cache=True, logits_to_keep=1)
        start = time.perf_counter()
        for _ in range(steps):
            token = output.logits[:, -1].argmax(-1, keepdim=True)
            output = self.model(token, past_key_values=output.past_key_values, use_cache=True, logits_to_keep=1)
        return len(prompts) * steps / (time.perf_counter() - start)


class CTranslate2:
    def __init__(self, folder, compute_type, threads):
        import ctranslate2
        self.generator = ctranslate2.Generator(str(folder), compute_type=compute_type, intra_threads=threads,
                                               inter_threads=1)
        self.words = json.loads((folder / "vocabulary.json").read_text())

    def seconds(self, prompts, new_tokens):
        words = [[self.words[i] for i in ids] for ids in prompts]
        start = time.perf_counter()
        self.generator.generate_batch(words, max_length=new_tokens, min_length=new_tokens, sampling_topk=1,
                                      include_prompt_in_result=False, max_batch_size=len(prompts))
        return time.perf_counter() - start

    def prefill(self, ids):
        return len(ids) / self.seconds([ids], 1)

    def decode(self, prompts, steps):
        """The first token is the prompt's; the time of the others is what a longer text takes more."""
        short = self.seconds(prompts, 1)
        return len(prompts) * steps / (self.seconds(prompts, 1 + steps) - short)


@functools.cache
def silence(api):
    """A log that says nothing; it must live as long as the library."""
    return api.llama_log_callback(lambda level, text, data: None)


class LlamaCpp:
    def __init__(self, file, threads):
        import llama_cpp.llama_cpp as api
        self.api, self.threads = api, threads
        api.llama_log_set(silence(api), None)
        parameters = api.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = api.llama_model_load_from_file(str(file).encode(), parameters)
        if not self.model:
            sys.exit(f"{file}: llama.cpp cannot load it")
        self.vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.context = self.sequences = None

    def begin(self, sequences, context):
        """An empty cache for `sequences` texts of `context` tokens."""
        if self.sequences != (sequences, context):
            if self.context:
                self.api.llama_free(self.context)
            p = self.api.llama_context_default_params()
            p.n_ctx, p.n_seq_max = sequences * context, sequences
            p.n_batch = p.n_ubatch = max(PROMPT, sequences)
            p.n_threads = p.n_threads_batch = self.threads
            self.context = self.api.llama_init_from_model(self.model, p)
            self.sequences = (sequences, context)
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def step(self, tokens):
        """(token, position, sequence, whether its logits are wanted) of each; the most probable tokens after those."""
        batch = self.api.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, logits) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, logits
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
        if self.api.llama_decode(self.context, batch) != 0:
            sys.exit("llama_decode failed")
        chosen = [int(self.row(i).argmax()) for i, t in enumerate(tokens) if t[3]]
        self.api.llama_batch_free(batch)
        return chosen

    def row(self, i):
        pointer = self.api.llama_get_logits_ith(self.context, i)
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.vocabulary,))

    def read(self, ids, sequence):
        return self.step([(token, i, sequence, i + 1 == len(ids)) for i, token in enumerate(ids)])[0]

    def logits(self, ids):
        self.begin(1, 1024)
        self.read(ids, 0)
        return self.row(-1).copy()

    def prefill(self, ids):
        self.begin(1, 1024)
        start = time.perf_counter()
        self.read(ids, 0)
        return len(ids) / (time.perf_counter() - start)

    def decode(self, prompts, steps):
        self.begin(len(prompts), 1024 if len(prompts) == 1 else 128)
        tokens = [self.read(ids, i) for i, ids in enumerate(prompts)]
        start = time.perf_counter()
        for step in range(steps):
            tokens = self.step([(token, len(prompts[i]) + step, i, True) for i, token in enumerate(tokens)])
        return len(prompts) * steps / (time.perf_counter() - start)


class Gamelan:
    """`gamelan bench`, a process each time: it warms up by a round that does not count."""

    def __init__(self, program, folder, dtype, threads):
        self.command = [program, "bench", "--model", folder, "--dtype", dtype, "--threads", str(threads), "--rounds",
                        "1", "--json", "--decode-tokens", str(STEPS)]

    def bench(self, what, *options):
        output = run([*self.command, *options])
        figures = json.loads(output[output.index("{"):])["figures"]
        return next(f for f in figures if f["what"] == what)["tokens_per_second"]

    def prefill(self, ids):
        return self.bench("prefill", "--prompt-tokens", str(len(ids)), "--batch-sizes", "1", "--contexts", "1")

    def decode(self, prompts, steps):
        return self.bench("decode", "--prompt-tokens", "1", "--batch-sizes", str(len(prompts)), "--contexts",
                          str(len(prompts[0])))


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


def write_gguf(folder, out):
    """The folder's BLOOM in bf16 as llama.cpp's converter lays it out: all queries, then all keys, then all values."""
    import gguf
    from safetensors.torch import load_file
    config = json.loads((Path(folder) / "config.json").read_text())
    hidden, heads, layers = config["hidden_size"], config["n_head"], config["n_layer"]
    writer = gguf.GGUFWriter(out, "bloom")
    writer.add_context_length(2048)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(4 * hidden)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    tokenizer = json.loads((Path(folder) / "tokenizer.json").read_text())["model"]
    words = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    words += [f"<unused{i}>" for i in range(len(words), config["vocab_size"])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words))
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in tokenizer["merges"]])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BLOOM, layers)
    for name, tensor in load_file(str(Path(folder) / "model.safetensors")).items():
        if name.startswith("lm_head"):
            continue  # the embedding's
        x = tensor.float()
        if "query_key_value" in name:
            x = x.reshape(heads, 3, hidden // heads, *x.shape[1:]).transpose(0, 1).reshape(x.shape)
        x = x.contiguous().numpy()
        kind = gguf.GGMLQuantizationType.F32 if x.ndim == 1 else gguf.GGMLQuantizationType.BF16
        name = names.get_name(name.removeprefix("transformer."), (".weight", ".bias"))
        writer.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise_gguf(source, out, file_type, threads):
    import llama_cpp.llama_cpp as api
    parameters = api.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = file_type, threads
    if api.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(parameters)) != 0:
        sys.exit(f"{out}: llama.cpp cannot quantise")


def llama_cpp_peers(a, work):
    try:
        import llama_cpp.llama_cpp as api
    except ImportError as error:
        print(f"llama.cpp left out: {error}")
        return {}
    files = {"bf16": work / "bf16.gguf", "Q8_0": work / "q8_0.gguf", "Q4_0": work / "q4_0.gguf"}
    if not files["bf16"].exists():
        write_gguf(a.model, files["bf16"])
    for name, file_type in (("Q8_0", api.LLAMA_FTYPE_MOSTLY_Q8_0), ("Q4_0", api.LLAMA_FTYPE_MOSTLY_Q4_0)):
        if not files[name].exists():
            quantise_gguf(files["bf16"], files[name], file_type, a.threads)
    return {f"llama.cpp {name}": LlamaCpp(file, a.threads) for name, file in files.items() if probe(a, file)}


def probe(a, file):
    """Whether llama.cpp runs the file here; it may die of it (an instruction that the build got wrong), so elsewhere."""
    result = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--probe", str(file)], capture_output=True)
    if result.returncode != 0:
        print(f"llama.cpp {file.name} left out: it ends with {result.returncode}")
    return result.returncode == 0


def name_special_tokens(folder):
    """A tokenizer without special tokens leaves null where CTranslate2 wants words; no measurement meets them."""
    config = json.loads((folder / "config.json").read_text())
    word = json.loads((folder / "vocabulary.json").read_text())[0]
    config |= {name: word for name in ("bos_token", "eos_token", "unk_token") if config.get(name) is None}
    (folder / "config.json").write_text(json.dumps(config))


def ctranslate2_peers(a, work):
    try:
        import ctranslate2
    except ImportError as error:
        print(f"CTranslate2 left out: {error}")
        return {}
    peers = {}
    for name, quantization in (("f32", "float32"), ("int8", "int8")):
        folder = work / f"ctranslate2-{name}"
        if not folder.exists():
            ctranslate2.converters.TransformersConverter(a.model).convert(str(folder), quantization=quantization)
            name_special_tokens(folder)
        peers[f"ctranslate2 {name}"] = CTranslate2(folder, quantization, a.threads)
    return peers


def verify(a, peers, ids):
    """The programs run the same model: their last logits are near transformers' in f32."""
    reference = Transformers(a.model, torch.float32).logits(ids)
    out = Path(a.work_dir) / "logits.npy"
    run([a.gamelan, "eval", "logits", "--model", a.model, "--dtype", "bf16", "--input-ids", ",".join(map(str, ids)),
         "--out", out])
    logits = {"gamelan bf16": np.load(out)[-1]}
    logits |= {name: peer.logits(ids) for name, peer in peers.items() if hasattr(peer, "logits")}
    for name, mine in logits.items():
        error = float(np.sqrt(np.mean((mine - reference) ** 2)) / reference.std())
        print(f"{name:18} last logits: {100 * error:.2f} % (rms) from those of transformers f32")
        if error > 0.3:
            sys.exit(f"{name}: another model")
    gc.collect()


def cases_of(peers, ours, prompts):
    """part: {name: measurement}."""
    ids, one, many = prompts
    parts = {"prefill": {}, "decode": {}, "batch": {}}
    for name, peer in {**ours, **peers}.items():
        if name == "transformers bf16":
            parts["prefill"]["transformers bf16, all logits"] = lambda p=peer: p.prefill(ids, 0)
            parts["prefill"]["transformers bf16, last only"] = lambda p=peer: p.prefill(ids, 1)
        else:
            parts["prefill"][name] = lambda p=peer: p.prefill(ids)
        parts["decode"][name] = lambda p=peer: p.decode(one, STEPS)
        parts["batch"][name] = lambda p=peer: p.decode(many, STEPS)
    return parts


TITLES = {"prefill": f"prefill, {PROMPT} tokens", "decode": "decode, batch 1, context 512",
          "batch": "decode, batch 16, context 64"}
# part, ours, factor, peers
BARS = [("prefill", "gamelan bf16", 1.3, ["transformers bf16, last only", "llama.cpp bf16", "llama.cpp Q8_0",
                                          "llama.cpp Q4_0"]),
        ("prefill", "gamelan int8", 1.3, ["ctranslate2 int8"]),
        ("prefill", "gamelan int8-dynamic", 1.3, ["ctranslate2 int8"]),
        ("batch", "gamelan bf16", 2.0, ["llama.cpp bf16"]),
        ("batch", "gamelan int8", 2.0, ["llama.cpp Q8_0"])]


def measure(part, cases, rounds):
    rates = {name: [] for name in cases}
    for round_ in range(rounds + 1):
        for name, case in cases.items():
            time.sleep(SLEEP)
            rate = case()
            if round_ > 0:  # the first warms up
                rates[name].append(rate)
    print(f"\n{TITLES[part]}: tokens/s, median of {rounds} (least ... most)")
    for name, values in rates.items():
        print(f"  {name:30} {statistics.median(values):8.1f} ({min(values):.1f} ... {max(values):.1f})")
    for bar_part, ours, factor, peers in BARS:
        peers = [p for p in peers if p in rates]
        if bar_part == part and ours in rates and peers:
            best = max(peers, key=lambda p: statistics.median(rates[p]))
            ratio = statistics.median(x / y for x, y in zip(rates[ours], rates[best]))
            print(f"  {ours} is {ratio:.2f}x {best} (bar {factor}: {'met' if ratio >= factor else 'MISSED'})")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gamelan", required=True)
    parser.add_argument("--model", required=True, help="BLOOM folder of transformers")
    parser.add_argument("--work-dir", required=True, type=Path, help="where converted models lie")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default="prefill,decode,batch")
    parser.add_argument("--only", default="", help="names of programs, as printed, that are measured: a,b")
    parser.add_argument("--dtypes", default="bf16,int8,int8-dynamic,int4", help="of ours")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.probe:
        LlamaCpp(a.probe, a.threads).prefill(list(range(64)))
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:a.threads])  # the programs that it starts inherit it
    torch.set_num_threads(a.threads)
    a.work_dir.mkdir(parents=True, exist_ok=True)
    peers = {"transformers bf16": Transformers(a.model, torch.bfloat16)}
    random = np.random.default_rng(0)
    vocabulary = peers["transformers bf16"].vocabulary
    prompts = [random.integers(0, vocabulary, (n, length)).tolist() for n, length in ((1, PROMPT), (1, 512), (16, 64))]
    peers |= ctranslate2_peers(a, a.work_dir) | llama_cpp_peers(a, a.work_dir)
    verify(a, peers, prompts[0][0])
    ours = {f"gamelan {d}": Gamelan(a.gamelan, a.model, d, a.threads) for d in a.dtypes.split(",")}
    parts = cases_of(peers, ours, (prompts[0][0], prompts[1], prompts[2]))
    for part in a.parts.split(","):
        only = a.only.split(",")
        measure(part, {name: case for name, case in parts[part].items()
                       if not a.only or any(name.startswith(o) for o in only)}, a.rounds)


main()
