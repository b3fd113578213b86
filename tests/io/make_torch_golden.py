"""Writes the torch.save files that tests/io/torch_archive_test.cc reads.

    python tests/io/make_torch_golden.py tests/io/data

The files in the tree were made with torch 2.15. Numbers count upwards, so that the test knows them.
"""
import sys
from collections import OrderedDict

import torch

folder = sys.argv[1]


def count(*shape, dtype=torch.float32, first=0):
    number = 1
    for size in shape:
        number *= size
    return (torch.arange(number, dtype=torch.float64) + first).reshape(shape).to(dtype)


table = count(4, 3)
state = OrderedDict(
    [
        ("f32", count(2, 3)),
        ("f16", count(3, dtype=torch.float16, first=-1)),
        ("bf16", count(2, 2, dtype=torch.bfloat16)),
        ("f64", count(2, dtype=torch.float64)),
        ("i64", count(2, dtype=torch.int64)),
        ("bool", torch.tensor([True, False])),
        ("scalar", torch.tensor(7.5)),
        ("empty", torch.empty(0, 4)),
        ("parameter", torch.nn.Parameter(count(2, first=10))),
        ("table", table),
        ("tied", table),
        ("rows", table[1:3]),
        ("transposed", table.t()),
        ("one_column", table[:, 1:2]),
        ("single", count(1, 2)[:, :]),
    ]
)
state._metadata = OrderedDict([("", {"version": 1})])
torch.save(state, f"{folder}/torch_zip.bin")
torch.save(state, f"{folder}/torch_protocol4.bin", pickle_protocol=4)
torch.save(state, f"{folder}/torch_legacy.bin", _use_new_zipfile_serialization=False)
torch.save({"w": table[0:1].expand(5, 3)}, f"{folder}/torch_expanded.bin")
torch.save({"epoch": 3, "model": {"w": table}}, f"{folder}/torch_nested.bin")
