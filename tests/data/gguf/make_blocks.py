#!/usr/bin/env python3
"""Makes the fixtures in this folder: blocks of every ggml number format, and what ggml decodes them to.

  python3 make_blocks.py LIBGGML_BASE      the libggml-base shared library of any llama.cpp build

For each type, TYPE.blocks holds raw blocks and TYPE.f32 the values (little-endian float32) that
dequantize_row_TYPE of that library gives for them. First come blocks of random bits, in which only the
scales are kept finite; for the formats with a codebook they go through all of its entries. Then come
blocks that ggml's own quantizer made of the 1024 normally distributed weights in weights.f32 (with an
importance matrix where it asks for one). Everything is seeded; needs numpy.
"""
import ctypes as C, os, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
# name: ggml's number, values and bytes per block, byte offsets of half-precision scales
TYPES = dict(q4_0=(2, 32, 18, [0]), q4_1=(3, 32, 20, [0, 2]), q5_0=(6, 32, 22, [0]), q5_1=(7, 32, 24, [0, 2]),
             q8_0=(8, 32, 34, [0]), q2_k=(10, 256, 84, [80, 82]), q3_k=(11, 256, 110, [108]),
             q4_k=(12, 256, 144, [0, 2]), q5_k=(13, 256, 176, [0, 2]), q6_k=(14, 256, 210, [208]),
             iq2_xxs=(16, 256, 66, [0]), iq2_xs=(17, 256, 74, [0]), iq3_xxs=(18, 256, 98, [0]),
             iq1_s=(19, 256, 50, [0]), iq4_nl=(20, 32, 18, [0]), iq3_s=(21, 256, 110, [0]),
             iq2_s=(22, 256, 82, [0]), iq4_xs=(23, 256, 136, [0]), iq1_m=(29, 256, 56, []), mxfp4=(39, 32, 17, []))
# Random blocks: enough for every scale to vary, or for every entry of the codebook.
BLOCKS = dict(iq2_xxs=8, iq2_xs=16, iq2_s=32, iq3_xxs=4, iq3_s=8, iq1_s=64, iq1_m=64)
QUANTIZED = 1024  # weights given to the quantizer

lib = C.CDLL(sys.argv[1])
lib.ggml_quantize_chunk.restype = C.c_size_t
lib.ggml_quantize_chunk.argtypes = [C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p]
lib.ggml_type_size.restype, lib.ggml_blck_size.restype = C.c_size_t, C.c_int64
lib.ggml_quantize_requires_imatrix.restype = C.c_bool


def dequantize(name, blocks, elements):
    symbol = getattr(lib, "dequantize_row_" + name.replace("_k", "_K"))
    symbol.argtypes = [C.c_void_p, C.c_void_p, C.c_int64]
    symbol.restype = None
    out = np.full(blocks.shape[0] * elements, np.nan, np.float32)
    symbol(blocks.ctypes.data, out.ctypes.data, out.size)
    return out


def finite_halves(rng, n):
    """Halves of any sign and exponent, subnormal ones too, but neither infinite nor NaN."""
    h = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    h[(h & 0x7C00) == 0x7C00] ^= 0x4000
    return h


def random_blocks(name, rng):
    elements, size, halves = TYPES[name][1:]
    count = BLOCKS.get(name, 8 if elements == 32 else 4)
    b = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in halves:
        b[:, at:at + 2] = finite_halves(rng, count).view(np.uint8).reshape(count, 2)
    # All entries of the codebook in a random order: 8 per 32-value group and 8-value entry, or 4.
    u16 = lambda a: a.astype("<u2").view(np.uint8).reshape(count, -1)
    if name == "iq2_xxs":
        b[:, 2:66].reshape(count, 8, 8)[:, :, :4] = rng.permutation(256).reshape(count, 8, 4)
    if name == "iq2_xs":
        b[:, 2:66] = u16(rng.permutation(512).reshape(count, 32) | rng.integers(0, 128, (count, 32)) << 9)
    if name == "iq2_s":
        i = rng.permutation(1024).reshape(count, 32)
        b[:, 2:34] = i & 255
        b[:, 66:74] = ((i >> 8).reshape(count, 8, 4) << [0, 2, 4, 6]).sum(2)
    if name == "iq3_xxs":
        b[:, 2:66] = rng.permutation(256).reshape(count, 64)
    if name == "iq3_s":
        i = rng.permutation(512).reshape(count, 64)
        b[:, 2:66] = i & 255
        b[:, 66:74] = ((i >> 8).reshape(count, 8, 8) << np.arange(8)).sum(2)
    if name == "iq1_s":
        i = rng.permutation(2048).reshape(count, 32)
        b[:, 2:34] = i & 255
        high = ((i >> 8).reshape(count, 8, 4) << [0, 3, 6, 9]).sum(2)
        b[:, 34:50] = u16(high | rng.integers(0, 16, (count, 8)) << 12)
    if name == "iq1_m":
        i = rng.permutation(2048).reshape(count, 32)
        b[:, 0:32] = i & 255
        nibble = i >> 8 | rng.integers(0, 2, (count, 32)) << 3
        b[:, 32:48] = nibble[:, 0::2] | nibble[:, 1::2] << 4
        h = finite_halves(rng, count)  # its nibbles are the high ones of four 16-bit words
        for k in range(4):
            b[:, 49 + 2 * k] = b[:, 49 + 2 * k] & 15 | (h >> 4 * k & 15) << 4
    if name == "mxfp4":
        b[:, 0] = [0, 1, 2, 127, 128, 200, 254, 255]  # every branch of the scale, and overflow
    return b


def weights(rng):
    x = rng.standard_normal(QUANTIZED).astype(np.float32)
    x[:32] = 0  # a block of nothing but zeros
    x[32:64] = np.where(np.arange(32) % 2, -2, 2)  # ties for the largest
    x[64:96] = np.abs(x[64:96])
    x[96:128] *= np.float32(1e-6)  # a scale below the smallest normal half
    return x


x = weights(np.random.Generator(np.random.PCG64(1000)))
x.tofile(os.path.join(HERE, "weights.f32"))
for number, (name, (ggml, elements, size, _)) in enumerate(TYPES.items()):
    assert (lib.ggml_type_size(ggml), lib.ggml_blck_size(ggml)) == (size, elements), name
    rng = np.random.Generator(np.random.PCG64(number))
    quantized = np.zeros((QUANTIZED // elements, size), np.uint8)
    # A made-up importance matrix: 256 columns, none of them unimportant.
    importance = rng.uniform(0.5, 2, 256).astype(np.float32)
    matrix = importance.ctypes.data if lib.ggml_quantize_requires_imatrix(ggml) else None
    lib.ggml_quantize_chunk(ggml, x.ctypes.data, quantized.ctypes.data, 0, QUANTIZED // 256, 256, matrix)
    blocks = np.concatenate([random_blocks(name, rng), quantized])
    values = dequantize(name, blocks, elements)
    assert not np.isnan(values).any(), name
    blocks.tofile(os.path.join(HERE, name + ".blocks"))
    values.tofile(os.path.join(HERE, name + ".f32"))
