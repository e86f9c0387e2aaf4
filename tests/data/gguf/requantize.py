#!/usr/bin/env python3
"""Rewrites a GGUF file of F32 tensors in other number formats, with ggml's own quantizer.

  python3 requantize.py LIBGGML_BASE IN.gguf OUT.gguf TYPE[,PATTERN=TYPE ...]

LIBGGML_BASE is the libggml-base shared library of any llama.cpp build. Matrices get TYPE, or that of the
first PATTERN (a regular expression) found in their name; norms and routers stay F32. Unlike
llama-quantize this makes every type without an importance matrix (all weights count the same), and any
mixture of types in one model: what it makes is good for tests, not for use. IN is what
scripts/make-gguf.ts --type F32 writes. Needs numpy.
"""
import ctypes as C, re, struct, sys
import numpy as np

TYPES = dict(f32=0, f16=1, q4_0=2, q4_1=3, q5_0=6, q5_1=7, q8_0=8, q2_k=10, q3_k=11, q4_k=12, q5_k=13, q6_k=14,
             iq2_xxs=16, iq2_xs=17, iq3_xxs=18, iq1_s=19, iq4_nl=20, iq3_s=21, iq2_s=22, iq4_xs=23, iq1_m=29,
             bf16=30, mxfp4=39)
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of metadata values

lib = C.CDLL(sys.argv[1])
lib.ggml_quantize_chunk.restype = C.c_size_t
lib.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p]
lib.ggml_row_size.restype, lib.ggml_row_size.argtypes = C.c_size_t, [C.c_int, C.c_int64]
lib.ggml_blck_size.restype = C.c_int64

source, target, wanted = sys.argv[2:5]
rules = [w.rpartition("=")[::2] for w in wanted.split(",")]
data = np.memmap(source, np.uint8, "r")
at = 0


def take(form):
    global at
    size = struct.calcsize(form)
    value = struct.unpack(form, data[at:at + size].tobytes())
    at += size
    return value[0]


def text():
    global at
    size = take("<Q")
    at += size
    return data[at - size:at].tobytes().decode()


def skip(kind):
    global at
    if kind == 8:
        text()
    elif kind == 9:
        inner, count = take("<I"), take("<Q")
        if inner in SIZES:
            at += count * SIZES[inner]
        else:
            for _ in range(count):
                skip(inner)
    else:
        at += SIZES[kind]


assert data[:4].tobytes() == b"GGUF"
at = 4
version, tensor_count, key_count = take("<I"), take("<Q"), take("<Q")
begin = at
for _ in range(key_count):
    key = text()
    assert key != "general.alignment"
    skip(take("<I"))
metadata = data[begin:at].tobytes()
tensors = []
for _ in range(tensor_count):
    name = text()
    dims = [take("<Q") for _ in range(take("<I"))]
    assert take("<I") == 0, f"{name} is not F32"
    tensors.append((name, dims, take("<Q")))
base = (at + 31) // 32 * 32


def type_of(name, dims):
    if len(dims) == 1 or name.endswith("ffn_gate_inp.weight"):
        return 0
    pattern_type = next(kind for pattern, kind in rules[1:] + rules[:1] if re.search(pattern, name))
    number = TYPES[pattern_type]
    return number if dims[0] % lib.ggml_blck_size(number) == 0 else 0


infos, offset, plan = b"", 0, []
for name, dims, start in tensors:
    kind = type_of(name, dims)
    rows = int(np.prod(dims[1:], dtype=np.int64))
    size = lib.ggml_row_size(kind, dims[0]) * rows
    raw = name.encode()
    infos += struct.pack("<Q", len(raw)) + raw + struct.pack("<I", len(dims))
    infos += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, offset)
    plan.append((dims[0], rows, base + start, kind, size))
    offset += (size + 31) // 32 * 32

with open(target, "wb") as out:
    out.write(b"GGUF" + struct.pack("<IQQ", version, tensor_count, key_count) + metadata + infos)
    out.write(b"\0" * (-out.tell() % 32))
    for columns, rows, start, kind, size in plan:
        x = np.ascontiguousarray(data[start:start + 4 * columns * rows]).view(np.float32)
        encoded = np.zeros(size, np.uint8)
        if kind == 0:
            encoded = x.view(np.uint8)
        else:
            importance = np.ones(columns, np.float32)
            lib.ggml_quantize_chunk(kind, x.ctypes.data, encoded.ctypes.data, 0, rows, columns, importance.ctypes.data)
        out.write(encoded.tobytes() + b"\0" * (-size % 32))
