"""A plain greedy loop over llama.cpp's C functions, as its own examples write it: the reference for our engine.

Usage: plain_loop.py MODEL TEXT N. Prints {"prompt": [ids], "ids": [ids]} as its last line.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

import llama_cpp.llama_cpp as C


@C.llama_log_callback
def quiet(level: int, text: bytes, user_data: object) -> None:
    """Drop llama.cpp's log."""


def main() -> None:
    path, text, n = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
    C.llama_log_set(quiet, ctypes.c_void_p(0))
    C.llama_backend_init()
    weights = C.llama_model_default_params()
    weights.use_extra_bufts = b"AMX_INT8 = 1" not in C.llama_print_system_info()  # crashes there
    model = C.llama_model_load_from_file(os.fsencode(path), weights)
    vocab = C.llama_model_get_vocab(model)
    params = C.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
    context = C.llama_init_from_model(model, params)
    buffer = (C.llama_token * 512)()
    prompt = list(buffer[: C.llama_tokenize(vocab, text, len(text), buffer, 512, True, False)])
    ids: list[int] = []
    batch = (C.llama_token * len(prompt))(*prompt)
    size = len(prompt)
    greedy = C.llama_sampler_init_greedy()
    while len(ids) < n:
        assert C.llama_decode(context, C.llama_batch_get_one(batch, size)) == 0
        token = C.llama_sampler_sample(greedy, context, -1)
        if C.llama_vocab_is_eog(vocab, token):
            break
        ids.append(token)
        batch, size = (C.llama_token * 1)(token), 1
    print(json.dumps({"prompt": prompt, "ids": ids}))


main()
