"""What `gamelan train bert-classify` does, in Python: transformers under torch's DistributedDataParallel.

Options, data order, optimizer, schedule and printed lines are the same, so that the two can be compared
step by step from one saved folder. Needs: pip install torch==2.15.0 transformers==5.23.0

  torchrun --standalone --nproc-per-node 2 bench/peers/bert_ddp.py --model-name-or-path init \
      --train-file train.jsonl --validation-file test.jsonl --logging-steps 1 --max-steps 10
"""
import argparse
import contextlib
import csv
import gzip
import json
import math
import os
import pathlib
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from transformers import (AutoModelForSequenceClassification, AutoTokenizer,
                          get_constant_schedule_with_warmup, get_linear_schedule_with_warmup)


def arguments():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--model-name-or-path", required=True)
    add("--train-file", required=True)
    add("--validation-file", default="")
    add("--text-column", default="text")
    add("--label-column", default="label")
    add("--no-header", action="store_true")
    add("--max-train-samples", type=int, default=0)
    add("--max-eval-samples", type=int, default=0)
    add("--max-seq-length", type=int, default=512)
    add("--padding", default="longest", choices=["longest", "max_length"])
    add("--num-train-epochs", type=int, default=4)
    add("--max-steps", type=int, default=-1)
    add("--per-device-train-batch-size", type=int, default=8)
    add("--per-device-eval-batch-size", type=int, default=32)
    add("--gradient-accumulation-steps", type=int, default=1)
    add("--learning-rate", type=float, default=2e-5)
    add("--weight-decay", type=float, default=0.0)
    add("--adam-beta1", type=float, default=0.9)
    add("--adam-beta2", type=float, default=0.999)
    add("--adam-epsilon", type=float, default=1e-8)
    add("--max-grad-norm", type=float, default=1.0)
    add("--lr-scheduler-type", default="linear", choices=["linear", "constant"])
    add("--warmup-ratio", type=float, default=0.0)
    add("--warmup-steps", type=int, default=0)
    add("--seed", type=int, default=42)
    add("--dropout", type=float)
    add("--bf16", action="store_true")
    add("--group-by-length", action="store_true")
    add("--logging-steps", type=int, default=0)
    add("--output-dir", default="")
    add("--json", action="store_true")
    return parser.parse_args()


def read_rows(path, args, limit):
    """[(text, label)] of a JSONL, TSV or CSV file, or of a folder of one folder a class."""
    path = pathlib.Path(path)
    if path.is_dir():
        rows = [(file.read_text(encoding="utf-8", errors="replace"), folder.name)
                for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name != "unsup"
                for file in sorted(folder.glob("*.txt"))]
        return draw(rows, limit, args.seed)
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    names = path.name.split(".")
    with opened as lines:
        if "jsonl" in names or "json" in names:
            rows = [(r[args.text_column], str(r[args.label_column])) for r in map(json.loads, lines)]
        else:
            if "tsv" in names:
                table = [line.rstrip("\r\n").split("\t") for line in lines if line.strip()]
            else:
                table = list(csv.reader(lines))
            header = [] if args.no_header else table.pop(0)
            def column(name):
                return header.index(name) if name in header else int(name)
            text, label = column(args.text_column), column(args.label_column)
            rows = [(r[text], r[label]) for r in table]
    return draw(rows, limit, args.seed)


def draw(rows, count, seed):
    """`count` rows drawn by `seed`, in their order; 0 = all."""
    if count == 0 or count >= len(rows):
        return rows
    generator = torch.Generator()
    generator.manual_seed(seed)
    return [rows[i] for i in sorted(torch.randperm(len(rows), generator=generator)[:count].tolist())]


def grouped_order(lengths, joint_batch, seed):
    """Pieces of up to 50 joint batches of a random order, each sorted by falling length; the longest first."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    piece = joint_batch * min(max(len(lengths) // (joint_batch * 4), 1), 50)
    longest = 0
    for start in range(0, len(order), piece):
        order[start:start + piece] = sorted(order[start:start + piece], key=lambda i: -lengths[i])
        if lengths[order[start]] > lengths[order[longest]]:
            longest = start
    order[0], order[longest] = order[longest], order[0]
    return order


class Job:
    def __init__(self, args):
        self.args = args
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        if self.world > 1:
            dist.init_process_group("gloo")
        overrides = {} if args.dropout is None else dict(
            hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout,
            classifier_dropout=args.dropout)
        self.tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            args.model_name_or_path, dtype=torch.float32, **overrides)
        self.ids = {name: i for i, name in self.model.config.id2label.items()}
        self.train = self.tokenize(read_rows(args.train_file, args, args.max_train_samples))
        self.eval = (self.tokenize(read_rows(args.validation_file, args, args.max_eval_samples))
                     if args.validation_file else None)
        self.ddp = DistributedDataParallel(self.model) if self.world > 1 else self.model
        torch.manual_seed(args.seed + self.rank)

    def say(self, line):
        if self.rank == 0:
            print(line, flush=True)

    def tokenize(self, rows):
        encoded = self.tokenizer([text for text, _ in rows], truncation=True,
                                 max_length=self.args.max_seq_length)["input_ids"]
        labels = [self.ids[label] if label in self.ids else int(label) for _, label in rows]
        return list(zip(encoded, labels))

    def batch(self, data, indices):
        padding = self.args.padding
        chosen = [data[i] for i in indices]
        inputs = self.tokenizer.pad({"input_ids": [ids for ids, _ in chosen]}, padding=padding,
                                    max_length=self.args.max_seq_length, return_tensors="pt")
        return inputs, torch.tensor([label for _, label in chosen])

    def autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.args.bf16)

    def indices(self, epoch):
        args = self.args
        if args.group_by_length:
            order = grouped_order([len(ids) for ids, _ in self.train],
                                  args.per_device_train_batch_size * self.world, args.seed + epoch)
            mine = -(-len(order) // self.world)
            return [order[(i * self.world + self.rank) % len(order)] for i in range(mine)]
        sampler = DistributedSampler(self.train, self.world, self.rank, shuffle=True, seed=args.seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    def optimizer(self, total_steps):
        args = self.args
        # As transformers' Trainer: no decay of biases and LayerNorms.
        decay, rest = [], []
        for name, parameter in self.model.named_parameters():
            (rest if "bias" in name or "LayerNorm" in name else decay).append(parameter)
        optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": args.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=args.learning_rate, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon)
        warmup = args.warmup_steps or math.ceil(args.warmup_ratio * total_steps)
        if args.lr_scheduler_type == "constant":
            return optimizer, get_constant_schedule_with_warmup(optimizer, warmup)
        return optimizer, get_linear_schedule_with_warmup(optimizer, warmup, total_steps)

    def step(self, micro_batches, optimizer, scheduler):
        total = 0.0
        for i, indices in enumerate(micro_batches):
            last = i + 1 == len(micro_batches)
            with contextlib.nullcontext() if last or self.world == 1 else self.ddp.no_sync():
                inputs, labels = self.batch(self.train, indices)
                with self.autocast():
                    logits = self.ddp(**inputs).logits.float()
                    loss = torch.nn.functional.cross_entropy(logits, labels)
                (loss / len(micro_batches)).backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm or math.inf)
        rate = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        return total / len(micro_batches), norm.item(), rate

    def mean_over_ranks(self, value):
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.item() / self.world

    def run(self):
        args = self.args
        size, accumulation = args.per_device_train_batch_size, args.gradient_accumulation_steps
        per_rank = -(-len(self.train) // self.world)
        steps = -(-(-(-per_rank // size)) // accumulation)
        total_steps = args.max_steps if args.max_steps > 0 else steps * args.num_train_epochs
        epochs = -(-total_steps // steps)
        self.say(f"Training on {len(self.train)} samples, {self.world} processes, global batch "
                 f"{size * accumulation * self.world}, steps per process: {total_steps}")
        optimizer, scheduler = self.optimizer(total_steps)
        figures = {"train_losses": [], "evaluations": [], "train_seconds": 0.0}
        done, logged = 0, []
        for epoch in range(epochs):
            start = time.monotonic()
            self.ddp.train()
            order = self.indices(epoch)
            batches = [order[i:i + size] for i in range(0, len(order), size)]
            losses = []
            for first in range(0, len(batches), accumulation):
                if done == total_steps:
                    break
                loss, norm, rate = self.step(batches[first:first + accumulation], optimizer, scheduler)
                done += 1
                losses.append(loss)
                logged.append(loss)
                if args.logging_steps and done % args.logging_steps == 0:
                    mean = self.mean_over_ranks(sum(logged) / len(logged))
                    logged = []
                    self.say(f"step {done} loss {mean:.6f} grad_norm {norm:.4f} learning_rate {rate:.3e}")
            figures["train_seconds"] += time.monotonic() - start
            figures["train_losses"].append(self.mean_over_ranks(sum(losses) / len(losses)))
            self.say(f"Epoch {epoch} Average Training Loss: {figures['train_losses'][-1]:.4f} "
                     f"({figures['train_seconds']:.1f} s)")
            if self.eval:
                figures["evaluations"].append(self.evaluate())
        if args.output_dir and self.rank == 0:
            self.model.save_pretrained(args.output_dir)
            self.tokenizer.save_pretrained(args.output_dir)
        if figures["evaluations"]:
            figures["accuracy"] = figures["evaluations"][-1]["accuracy"]
        if args.json:
            self.say(json.dumps(figures))

    @torch.no_grad()
    def evaluate(self):
        start = time.monotonic()
        self.model.eval()
        mine = sorted(range(self.rank, len(self.eval), self.world), key=lambda i: -len(self.eval[i][0]))
        right, loss = 0, 0.0
        for first in range(0, len(mine), self.args.per_device_eval_batch_size):
            inputs, labels = self.batch(self.eval, mine[first:first + self.args.per_device_eval_batch_size])
            with self.autocast():
                logits = self.model(**inputs).logits.float()
            right += (logits.argmax(1) == labels).sum().item()
            loss += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        right = round(self.mean_over_ranks(float(right)) * self.world)
        loss = self.mean_over_ranks(loss) * self.world / len(self.eval)
        seconds = time.monotonic() - start
        accuracy = right / len(self.eval)
        self.say(f"Accuracy on evaluation set: {accuracy:.4f} ({right} of {len(self.eval)}, loss {loss:.4f}, "
                 f"{seconds:.1f} s)")
        return {"accuracy": accuracy, "loss": loss, "samples": len(self.eval), "seconds": seconds}


if __name__ == "__main__":
    Job(arguments()).run()
    if dist.is_initialized():
        dist.destroy_process_group()
