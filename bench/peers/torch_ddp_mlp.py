"""The peer of bench/ddp: torch DistributedDataParallel (gloo) on the same MLP. Needs: pip install torch==2.15.0

    torchrun --standalone --nproc-per-node 2 bench/peers/torch_ddp_mlp.py [--rounds 9] [--json]
    gamelan run --standalone --nproc-per-node 2 -- python bench/peers/torch_ddp_mlp.py
"""
import argparse
import json
import os
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def make_model(layers, width):
    torch.manual_seed(1)
    modules = []
    for _ in range(layers):
        modules += [torch.nn.Linear(width, width), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    batch = torch.randn(args.batch, args.width) * (rank + 1)

    def local_step(model):
        model.zero_grad()
        model(batch).square().mean().backward()

    def naive_step(model):
        local_step(model)
        for parameter in model.parameters():
            parameter.grad.mul_(1.0 / ranks)
            dist.all_reduce(parameter.grad)

    plain = [make_model(args.layers, args.width) for _ in range(4)]
    copied = DistributedDataParallel(plain[2])
    viewed = DistributedDataParallel(plain[3], gradient_as_bucket_view=True)
    variants = {
        "local": lambda: local_step(plain[0]),
        "all_reduce a parameter": lambda: naive_step(plain[1]),
        "ddp, gradients copied": lambda: local_step(copied),
        "ddp": lambda: local_step(viewed),
    }
    times = {name: [] for name in variants}
    for round in range(args.rounds + 3):
        for name, step in variants.items():
            dist.barrier()
            start = time.perf_counter()
            step()
            if round >= 3:
                times[name].append((time.perf_counter() - start) * 1e3)
    if rank == 0:
        local = sorted(times["local"])[args.rounds // 2]
        for name, values in times.items():
            values.sort()
            row = {"variant": name, "ranks": ranks, "median_ms": round3(values[len(values) // 2]),
                   "p10_ms": round3(values[len(values) // 10]), "p90_ms": round3(values[len(values) * 9 // 10]),
                   "over_local": round3(values[len(values) // 2] / local), "load": round3(os.getloadavg()[0])}
            print(json.dumps(row) if args.json else
                  "{variant:24} median {median_ms:8.2f} ms  (p10 {p10_ms:8.2f}, p90 {p90_ms:8.2f})  "
                  "{over_local:.2f} of local".format(**row))
    dist.destroy_process_group()


def round3(value):
    return round(value, 3)


if __name__ == "__main__":
    main()
