#!/usr/bin/env python3
"""all_reduce of torch's gloo between processes of this host: what gamelan_bench_collective is compared with.

    pip install torch numpy
    python all_reduce_gloo.py --ranks 2 --bytes 4,65536,26214400 [--json]

The same procedure: pinned, verified, warmed up, a barrier before every timed run, the slowest rank counts.
"""
import argparse
import json
import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def repeats_of(size):
    return 20 if size <= 65536 else 1


def measure(data, size, rounds):
    times = []
    for _ in range(rounds):
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(repeats_of(size)):
            dist.all_reduce(data, op=dist.ReduceOp.MAX)
        times.append((time.perf_counter() - begin) * 1e6 / repeats_of(size))
    return times


def run_rank(rank, options, port):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[rank % len(cpus)]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=options.ranks)
    results = []
    for size in options.bytes:
        data = torch.full((max(1, size // 4),), float(rank + 1))
        dist.all_reduce(data)
        assert torch.all(data == options.ranks * (options.ranks + 1) / 2), "wrong sum"
        warm = measure(data, size, 5)
        rounds = torch.tensor([min(max(options.seconds * 1e6 / (warm[-1] * repeats_of(size)), 10), 3000)])
        dist.broadcast(rounds, 0)
        times = torch.tensor(measure(data, size, int(rounds)))
        dist.all_reduce(times, op=dist.ReduceOp.MAX)
        times = sorted(times.tolist())
        results.append({"bytes": size, "rounds": len(times), "median_us": times[len(times) // 2],
                        "p99_us": times[len(times) * 99 // 100]})
    if rank == 0:
        if options.json:
            print(json.dumps({"ranks": options.ranks, "backend": "gloo", "torch": torch.__version__,
                              "load": os.getloadavg()[0], "results": results}))
        else:
            print(f"torch {torch.__version__} gloo, {options.ranks} processes, load {os.getloadavg()[0]:.1f}")
            for result in results:
                print(f"{result['bytes']:12d} {result['rounds']:8d} {result['median_us']:12.2f} {result['p99_us']:12.2f}")
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--bytes", type=lambda text: [int(part) for part in text.split(",")],
                        default=[4, 1024, 65536, 1048576, 26214400])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(run_rank, args=(options, port), nprocs=options.ranks)


if __name__ == "__main__":
    main()
