"""Asks an earlier network of the tutor what a message is about, beside the linear classifier.

Both err on messages that they have never seen, but not on the same ones; so the network that learns from both together
may come to know more than either (born-again networks: Furlanello et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from tokenizers import Tokenizer
from torch import nn

from training import conversations
from training.corpus import read
from training.model import Network, Shape
from training.tokenizer import PAD, of_text, prompt

SHARE = 0.3
"""How much the earlier network's word counts; chosen on kept-out messages, of 0.3, 0.5 and 0.7."""
_N_AT_ONCE = 128


class Elder:
    """A network of an earlier training, with what names subjects; stands in for the classifier, which it knows."""

    def __init__(self, classifier: Pipeline, folder: Path) -> None:
        """From a folder with the `checkpoint.pt` and `tokenizer.json` of that training.

        Raises:
            FileNotFoundError: one of them is missing.
            RuntimeError: the network has another shape, or another number of subjects.
        """
        self.classifier = classifier
        self.classes_ = classifier.classes_
        subjects = conversations.subjects(read())
        self.numbers = [subjects.index(subject) for subject in self.classes_]
        weights = torch.load(folder / "checkpoint.pt", map_location="cpu", mmap=True)["average"]
        shape = Shape(n_vocab=len(weights["network.token_embd.weight"]))
        self.named = nn.ModuleDict({"network": Network(shape), "subject": nn.Linear(shape.n_embd, len(subjects))})
        known = self.named.state_dict()
        self.named.load_state_dict({name: weight for name, weight in weights.items() if name in known})
        self.tokenizer = of_text(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def predict_proba(self, messages: Sequence[str]) -> np.ndarray:
        """How likely each message is about each of `classes_`: (N, classes)."""
        alone: np.ndarray = self.classifier.predict_proba(messages)
        prompts = [prompt(message, self._cut) for message in messages]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        mine = np.empty_like(alone)
        for start in range(0, len(order), _N_AT_ONCE):
            rows = order[start : start + _N_AT_ONCE]
            mine[rows] = self._named([prompts[i] for i in rows])[:, self.numbers]
        return (1 - SHARE) * alone + SHARE * mine

    @torch.inference_mode()
    def _named(self, prompts: list[list[int]]) -> np.ndarray:
        """How likely each subject is after each prompt: (N, subjects)."""
        ends = torch.tensor([len(some) - 1 for some in prompts])
        ids = torch.tensor([some + [PAD] * (int(ends.max()) + 1 - len(some)) for some in prompts])
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.named["network"].hidden(ids)[torch.arange(len(ids)), ends]  # (N, n_embd)
            scores: torch.Tensor = self.named["subject"](hidden)
        return scores.float().softmax(-1).numpy()

    def _cut(self, text: str) -> list[int]:
        """Token ids of a text in the vocabulary of that training."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)
