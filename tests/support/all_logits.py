"""All logits after given tokens, by llama.cpp's C functions alone: the reference for what our engine measures.

Usage: all_logits.py MODEL, with JSON lists of token ids on stdin, one a line; prints a JSON list of logits for each.
The KV cache is in 32-bit floats, without flash attention.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

import llama_cpp.llama_cpp as C
import numpy as np


@C.llama_log_callback
def quiet(level: int, text: bytes, user_data: object) -> None:
    """Drop llama.cpp's log."""


def main() -> None:
    C.llama_log_set(quiet, ctypes.c_void_p(0))
    C.llama_backend_init()
    weights = C.llama_model_default_params()
    weights.use_extra_bufts = b"AMX_INT8 = 1" not in C.llama_print_system_info()  # crashes there
    model = C.llama_model_load_from_file(os.fsencode(sys.argv[1]), weights)
    n_vocab = C.llama_vocab_n_tokens(C.llama_model_get_vocab(model))
    params = C.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 2048, 1, 1
    params.type_k, params.type_v, params.flash_attn_type = 0, 0, 0
    context = C.llama_init_from_model(model, params)
    for line in sys.stdin:
        ids = json.loads(line)
        C.llama_memory_clear(C.llama_get_memory(context), True)
        tokens = (C.llama_token * len(ids))(*ids)
        assert C.llama_decode(context, C.llama_batch_get_one(tokens, len(ids))) == 0
        logits = np.ctypeslib.as_array(C.llama_get_logits_ith(context, -1), (n_vocab,))
        print(json.dumps(logits.tolist()), flush=True)


main()
