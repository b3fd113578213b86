#!/usr/bin/env python3
"""torch's TCPStore add, for comparison with gamelan_store_bench.

Needs: pip install torch
Example: tcp_store.py --rounds 9 --calls 2000 --gamelan build/dev/bench/store/gamelan_store_bench
The servers are processes of their own, as in gamelan_store_bench. Each call is timed from Python, and so is
a bare blocking TCP ping-pong beside it.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import time
from datetime import timedelta
from multiprocessing import get_context

REQUEST_BYTES = 47
REPLY_BYTES = 28


def pin(index):
    cpus = sorted(os.sched_getaffinity(0))
    if index < len(cpus):
        os.sched_setaffinity(0, {cpus[index]})


ALL_CPUS = os.sched_getaffinity(0)


def unpin():
    os.sched_setaffinity(0, ALL_CPUS)


def serve_store(pipe):
    from torch.distributed import TCPStore

    pin(1)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    pipe.send(store.port)
    pipe.recv()


def serve_ping_pong(pipe):
    pin(1)
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reply = bytes(REPLY_BYTES)
    while connection.recv(REQUEST_BYTES):
        connection.sendall(reply)


def start(target):
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    return process, ours, ours.recv()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--gamelan", metavar="PROGRAM",
                        help="gamelan_store_bench: one round of it after each round here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    import torch
    from torch.distributed import TCPStore

    store_process, store_pipe, store_port = start(serve_store)
    ping_process, _, ping_port = start(serve_ping_pong)
    pin(0)
    store = TCPStore("127.0.0.1", store_port, is_master=False, wait_for_workers=False,
                     timeout=timedelta(seconds=30))
    ping = socket.create_connection(("127.0.0.1", ping_port))
    ping.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = bytes(REQUEST_BYTES)

    def exchange():
        ping.sendall(request)
        ping.recv(REPLY_BYTES)

    rows = {"bare blocking ping-pong (Python)": exchange,
            f"torch {torch.__version__} TCPStore add": lambda: store.add("counter", 1)}
    samples = {name: [] for name in rows}
    gamelan = []  # medians of its rounds
    for round_number in range(-1, options.rounds):  # the first round warms up
        if options.gamelan and round_number >= 0:
            run = subprocess.run(
                [options.gamelan, "--json", "--rounds=1", "--connections=1", f"--calls={options.calls}"],
                check=True, capture_output=True, text=True, preexec_fn=unpin)
            gamelan.append(json.loads(run.stdout)["rows"])
        for name, call in rows.items():
            for _ in range(options.calls):
                begin = time.perf_counter_ns()
                call()
                if round_number >= 0:
                    samples[name].append((time.perf_counter_ns() - begin) / 1e3)
                else:
                    time.perf_counter_ns()

    result = []
    for name, values in samples.items():
        values.sort()
        result.append({"name": name, "median_us": statistics.median(values),
                       "p99_us": values[int(0.99 * len(values))]})
    for position in range(len(gamelan[0]) if gamelan else 0):
        result.append({"name": "gamelan: " + gamelan[0][position]["name"],
                       "median_us": statistics.median(rows[position]["median_us"] for rows in gamelan),
                       "p99_us": statistics.median(rows[position]["p99_us"] for rows in gamelan)})
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": result}, indent=2))
    else:
        print(f"load {os.getloadavg()[0]:.2f}; {options.rounds} rounds of {options.calls} calls; microseconds")
        for row in result:
            print(f"{row['name']:<36} median {row['median_us']:8.1f}   p99 {row['p99_us']:8.1f}")
    store_pipe.send("done")
    store_process.join(10)
    ping.close()
    ping_process.join(10)


if __name__ == "__main__":
    main()
