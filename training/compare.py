"""Compares llama.cpp's view of the exported model with PyTorch's: tokens of many strings, logits, greedy answers."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training import tokenizer
from training.conversations import Writer
from training.corpus import read
from training.export import export, trained
from training.model import Network
from training.places import SHIPPED

STRINGS = (
    "Hello world", "  leading  spaces   and\ttabs\t\t x", "line\n\nbreak\n \n  x", "trailing   ", "12345 6 78,901.23",
    "Ünïcödé façade naïve", "日本語のテキスト", "emoji 😀👍🏽 family 👨‍👩‍👧", "I'm you've they'll it's don't CAN'T", "a\u00a0nbsp\u2003em\u200bzero",
    "Привет, мир!", "مرحبا بالعالم", "हिन्दी भाषा", "x=1;y+=2//comment", "¿Qué?", "١٢٣ ४५६ Ⅷ ½ ²", "\r\n windows\r\nlines", "\n", " ", "   ",
    "a", "’quote’ “double” — dash…", "e\u0301 combining", "한국어 텍스트", "\x00\x01 ctrl", "tab\tend\t",
)  # fmt: skip
_RANGES = (
    (32, 126),
    (32, 126),
    (0xA0, 0x2FF),
    (0x370, 0x6FF),
    (0x900, 0x1FFF),
    (0x2000, 0x2FFF),
    (0x3040, 0x9FFF),
    (0x1F300, 0x1FAFF),
)
N_STRINGS, N_LOGITS, N_GREEDY = 1200, 30, 100


def compare() -> None:
    """Print the three comparisons, of a fresh F32 file and of the one that is shipped."""
    network = _network()
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "tutor-f32.gguf"
        export(exact, "f32")
        for name, path in (("F32", exact), ("Q8_0", SHIPPED)):
            llama = opened(path)
            print(f"{name}, {path.stat().st_size / 1e6:.2f} MB")
            _compare_tokens(llama)
            _compare_logits(llama, network)
            _compare_answers(llama, network)


def _network() -> Network:
    shape, weights = trained()
    network = Network(shape)
    network.load_state_dict(weights, strict=False)
    return network.eval()


def opened(path: Path) -> Any:
    """A file in llama.cpp itself, with logits for all tokens and a KV cache as exact as PyTorch's."""
    import llama_cpp
    from llama_cpp import Llama

    def plain_layout(defaults: Callable[[], Any] = llama_cpp.llama_model_default_params) -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False  # with it, llama.cpp crashes on processors that have AMX
        return parameters

    llama_cpp.llama_cpp.llama_model_default_params = plain_layout
    exact = llama_cpp.GGML_TYPE_F32
    return Llama(str(path), n_ctx=1024, n_threads=1, logits_all=True, type_k=exact, type_v=exact, verbose=False)


def _compare_tokens(llama: Any) -> None:
    rng = random.Random(5)
    strings = list(STRINGS)
    while len(strings) < N_STRINGS // 2:
        strings.append("".join(chr(rng.randint(*rng.choice(_RANGES))) for _ in range(rng.randint(1, 30))))
    corpus = read()
    while len(strings) < N_STRINGS:
        strings += [message.text for message in Writer(corpus, rng).conversation(1)]
    differing = [s for s in strings if llama.tokenize(s.encode(), add_bos=False, special=False) != tokenizer.ids_of(s)]
    print(f"  tokens: {len(differing)} of {len(strings)} strings are cut differently {differing[:3]}")


def _compare_logits(llama: Any, network: Network) -> None:
    corpus, rng = read(), random.Random(6)
    worst, total, n, n_same = 0.0, 0.0, 0, 0
    for _ in range(N_LOGITS):
        ids = tokenizer.encode(Writer(corpus, rng).conversation(rng.randint(1, 4))).ids
        with torch.no_grad():
            ours: np.ndarray = network(torch.tensor([ids]))[0].numpy()  # (T, V)
        llama.reset()
        llama.eval(ids)
        theirs = np.array(llama.scores[: len(ids)])
        difference = np.abs(ours - theirs)
        worst, total, n = max(worst, float(difference.max())), total + float(difference.mean()) * len(ids), n + len(ids)
        n_same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    print(f"  logits: largest difference {worst:.4f}, mean {total / n:.5f}, same best token {n_same} of {n}")


def _compare_answers(llama: Any, network: Network) -> None:
    corpus, rng = read(), random.Random(7)
    n_same = 0
    for _ in range(N_GREEDY):
        question, _ = Writer(corpus, rng).first()
        ids = tokenizer.prompt(question)
        n_same += _greedy_here(network, ids) == _greedy_there(llama, ids)
    print(f"  greedy answers: {n_same} of {N_GREEDY} are the same")


def _greedy_here(network: Network, ids: list[int], n: int = 80) -> list[int]:
    answer: list[int] = []
    with torch.no_grad():
        for _ in range(n):
            logits: Tensor = network(torch.tensor([ids + answer]))[0, -1]
            if (token := int(logits.argmax())) == tokenizer.END:
                break
            answer.append(token)
    return answer


def _greedy_there(llama: Any, ids: list[int], n: int = 80) -> list[int]:
    llama.reset()
    llama.eval(ids)
    answer: list[int] = []
    for _ in range(n):
        if (token := int(np.argmax(llama.scores[llama.n_tokens - 1]))) == tokenizer.END:
            break
        answer.append(token)
        llama.eval([token])
    return answer
