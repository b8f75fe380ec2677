"""How the structs lie in memory that cross from Python to llama.cpp, as the C compiler lays them out.

A field that moved between two versions would not fail: it would quietly set another one. So the
ctypes declarations are compared with this table at every start. It was printed by a C program that
takes `sizeof` and `offsetof` from the `llama.h` of the version below; a new version needs a new table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = "0.3.36"
"""The version of llama-cpp-python that the table was made for."""

LAYOUTS: Mapping[str, tuple[int, str]] = {
    "llama_model_params": (
        80,
        "devices:0 tensor_buft_overrides:8 n_gpu_layers:16 split_mode:20 load_mode:24 lazy_mode:28 "
        "main_gpu:32 tensor_split:40 progress_callback:48 progress_callback_user_data:56 kv_overrides:64 "
        "vocab_only:72 check_tensors:73 use_extra_bufts:74 no_host:75 no_alloc:76 load_mtp:77",
    ),
    "llama_context_params": (
        160,
        "n_ctx:0 n_batch:4 n_ubatch:8 n_seq_max:12 n_rs_seq:16 n_outputs_max:20 n_outputs_max_per_seq:24 "
        "n_threads:28 n_threads_batch:32 ctx_type:36 rope_scaling_type:40 pooling_type:44 "
        "attention_type:48 flash_attn_type:52 rope_freq_base:56 rope_freq_scale:60 yarn_ext_factor:64 "
        "yarn_attn_factor:68 yarn_beta_fast:72 yarn_beta_slow:76 yarn_orig_ctx:80 defrag_thold:84 "
        "cb_eval:88 cb_eval_user_data:96 type_k:104 type_v:108 abort_callback:112 "
        "abort_callback_data:120 embeddings:128 offload_kqv:129 no_perf:130 op_offload:131 swa_full:132 "
        "kv_unified:133 samplers:136 n_samplers:144 ctx_other:152",
    ),
    "llama_batch": (56, "n_tokens:0 token:8 embd:16 pos:24 n_seq_id:32 seq_id:40 logits:48"),
    "llama_token_data": (12, "id:0 logit:4 p:8"),
    "llama_token_data_array": (32, "data:0 size:8 selected:16 sorted:24"),
    "llama_sampler_chain_params": (1, "no_perf:0"),
    "llama_logit_bias": (8, "token:0 bias:4"),
}
"""Each struct with its size and "field:offset" for all fields, in bytes, on 64-bit systems."""

DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "llama_model_default_params": {
        "n_gpu_layers": -1,
        "split_mode": 1,
        "load_mode": -1,
        "main_gpu": 0,
        "use_extra_bufts": True,
        "no_alloc": False,
    },
    "llama_context_default_params": {
        "n_ctx": 512,
        "n_batch": 2048,
        "n_ubatch": 512,
        "n_seq_max": 1,
        "flash_attn_type": -1,
        "yarn_ext_factor": -1.0,
        "type_k": 1,
        "type_v": 1,
        "no_perf": True,
        "swa_full": True,
    },
}
"""What the library fills in by itself: read through the declarations, it shows whether they fit each other."""


def mismatches(llama: Any) -> Iterator[str]:
    """What differs between the declarations, the table and the library itself; nothing when all is well."""
    for name, (size, fields) in LAYOUTS.items():
        struct = getattr(llama, name, None)
        if struct is None:
            yield f"{name} is missing"
            continue
        if ctypes.sizeof(struct) != size:
            yield f"{name} has {ctypes.sizeof(struct)} bytes instead of {size}"
        for field, _, offset in (item.partition(":") for item in fields.split()):
            found = getattr(getattr(struct, field, None), "offset", None)
            if found != int(offset):
                yield f"{name}.{field} is at {found} instead of {offset}"
    for function, values in DEFAULTS.items():
        defaults = getattr(llama, function)()
        for field, value in values.items():
            if getattr(defaults, field) != value:
                yield f"{function} gives {field} = {getattr(defaults, field)} instead of {value}"
