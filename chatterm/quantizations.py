"""Quantizations and other types of numbers that GGUF files hold: their numbers, names, sizes and meanings.

Tables alone; the numbers are llama.cpp's and ggml's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

QUANTIZATIONS: Mapping[str, str] = {
    "F32": "32 bits a weight, as trained; four times the size of Q8_0, no better to talk to",
    "F16": "16 bits a weight; practically as trained",
    "BF16": "16 bits a weight; practically as trained",
    "Q8_0": "8 bits a weight; cannot be told from the original",
    "Q6_K": "6 bits a weight; hardly a loss",
    "Q5_K_M": "5 bits a weight, more where it counts; a very small loss",
    "Q5_K_S": "5 bits a weight; a small loss",
    "Q5_1": "5 bits a weight, an older kind; Q5_K_M is better",
    "Q5_0": "5 bits a weight, an older kind; Q5_K_M is better",
    "Q4_K_M": "4 bits a weight, more where it counts; the usual choice of size against quality",
    "Q4_K_S": "4 bits a weight; a little smaller and weaker than Q4_K_M",
    "Q4_1": "4 bits a weight, an older kind; Q4_K_M is better",
    "Q4_0": "4 bits a weight, an older kind; quick on processors, a little weaker than Q4_K_M",
    "IQ4_NL": "4 bits a weight, unevenly spaced; about as good as Q4_K_S",
    "IQ4_XS": "4 bits a weight; smaller than Q4_K_S and about as good, slower on processors",
    "MXFP4": "4-bit floating point, as gpt-oss was trained",
    "NVFP4": "4-bit floating point, for recent NVIDIA devices",
    "Q3_K_L": "3 bits a weight, more where it counts; a loss that can be noticed",
    "Q3_K_M": "3 bits a weight, more where it counts; a loss that can be noticed",
    "Q3_K_S": "3 bits a weight; a clear loss",
    "IQ3_M": "3 bits a weight; a loss that can be noticed",
    "IQ3_S": "3 bits a weight; a loss that can be noticed",
    "IQ3_XS": "3 bits a weight; a clear loss",
    "IQ3_XXS": "3 bits a weight; a clear loss",
    "Q2_K": "2 to 3 bits a weight; a large loss, for when nothing else fits",
    "Q2_K_S": "2 to 3 bits a weight; a large loss, for when nothing else fits",
    "IQ2_M": "2 bits a weight; a large loss, for when nothing else fits",
    "IQ2_S": "2 bits a weight; a large loss, for when nothing else fits",
    "IQ2_XS": "2 bits a weight; a large loss, for when nothing else fits",
    "IQ2_XXS": "2 bits a weight; a large loss, for when nothing else fits",
    "IQ1_M": "under 2 bits a weight; of interest to experiments",
    "IQ1_S": "under 2 bits a weight; of interest to experiments",
    "TQ2_0": "three values a weight, for models that were trained so",
    "TQ1_0": "three values a weight, for models that were trained so",
    "Q2_0": "2 bits a weight, for models that were trained so",
    "Q1_0": "1 bit a weight, for models that were trained so",
}
"""What quantizations mean to somebody who has to choose one."""

FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K"}
FILE_TYPES |= {11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M"}
FILE_TYPES |= {18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S"}
FILE_TYPES |= {25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M"}
FILE_TYPES |= {32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0"}
"""llama.cpp's numbers for `general.file_type`."""

TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""ggml's tensor types: name, values in a block, bytes of a block."""

BYTES_PER_VALUE = {name.lower(): size / values for name, values, size in TENSOR_TYPES.values()}
"""What a value of each type takes, by its name in small letters."""

_NAMED = re.compile(
    r"(?:^|[-_. ])"
    r"((?:UD-)?(?:IQ[1-4]_(?:XXS|XS|NL|XL|S|M)|Q[2-8]_(?:K(?:_(?:XXL|XL|L|M|S|XS))?|[01](?:_\d_\d)?)"
    r"|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32))"
    r"(?=[-_. ]|$)",
    re.IGNORECASE,
)


def named_in(file_name: str) -> str:
    """The quantization that a file name tells, in capitals; empty when it tells none.

    Example: "Qwen3-0.6B-q4_k_m.gguf" -> "Q4_K_M"
    """
    found = _NAMED.findall(file_name)
    told = found[-1].upper() if found else ""
    return {"FP16": "F16", "FP32": "F32"}.get(told, told)


def meaning(quantization: str) -> str:
    """What a quantization means to somebody who has to choose; empty where it is not known.

    Example: "UD-Q4_K_XL", a kind of Q4_K_M that keeps more of what counts -> what Q4_K_M means
    """
    name = quantization.removeprefix("UD-").removesuffix("_MOE").replace("Q8_K", "Q8_0")
    base = re.sub(r"_(XXL|XL|L|M|S|XS)$", "", name)
    return next((QUANTIZATIONS[each] for each in (name, f"{base}_M", base, name[:4]) if each in QUANTIZATIONS), "")


def without(name: str) -> str:
    """A model's name without its quantization, in small letters: what all quantizations of one model share.

    Example: "Qwen3-0.6B-Q4_K_M" -> "qwen3-0.6b"
    """
    found = list(_NAMED.finditer(name))
    if not found:
        return name.lower()
    return (name[: found[-1].start()] + name[found[-1].end() :]).lower()
