"""How people type: case, punctuation, greetings before a question, slips of the finger."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

_QUESTION = re.compile(
    r"\b(what|whats|how|why|who|where|when|which|can|could|would|is|are|do|does|should|will|have|did)\b"
)
_NEIGHBOURS = {
    **dict(zip("qwertyuiop", ["wa", "qes", "wrd", "etf", "ryg", "tuh", "yij", "uok", "ipl", "ol"], strict=True)),
    **dict(zip("asdfghjkl", ["qsz", "awdx", "sefc", "drgv", "fthb", "gyjn", "hukm", "jil", "kop"], strict=True)),
    **dict(zip("zxcvbnm", ["asx", "zsdc", "xdfv", "cfgb", "vghn", "bhjm", "njk"], strict=True)),
}
_SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("explain", "describe", "tell me", "clarify"),
    ("tell me", "explain", "show me"),
    ("language model", "llm", "model", "ai model", "ai", "chatbot", "large language model"),
    ("llm", "language model", "ai", "model", "chat model"),
    ("the model", "it", "the ai", "the llm", "the bot", "a model", "my model", "this model"),
    ("a model", "an llm", "an ai", "the model", "a language model"),
    ("the ai", "the model", "the bot", "it", "ai", "the computer"),
    ("chatgpt", "gpt", "an llm", "chat gpt", "a chatbot"),
    ("answers", "replies", "responses", "output"),
    ("answer", "reply", "response", "output"),
    ("word", "token"),
    ("words", "tokens"),
    ("setting", "option", "parameter", "value"),
    ("choose", "pick", "select"),
    ("picks", "chooses", "selects"),
    ("big", "large", "huge"),
    ("small", "little", "tiny"),
    ("many", "a lot of", "lots of"),
    ("happens", "is going on", "goes on"),
    ("make", "create", "produce"),
    ("text", "input", "sentence"),
    ("computer", "pc", "laptop", "machine"),
    ("app", "program", "tool", "application", "chatterm"),
    ("chat", "conversation"),
    ("chats", "conversations"),
    ("change", "set", "adjust"),
    ("download", "get", "install"),
    ("start", "beginning"),
    ("difference", "distinction"),
    ("need", "require"),
    ("know", "understand"),
    ("get", "understand"),
    ("actually", "really"),
    ("you", "u"),
    ("your", "ur"),
    ("are", "r"),
    ("because", "bc", "cause", "since"),
    ("please", "pls", "plz"),
    ("and", "&", "n"),
    ("to", "2"),
    ("what is", "whats", "what's", "what was"),
    ("do not", "dont", "don't"),
    ("i am", "im", "i'm"),
    ("it is", "its", "it's"),
    ("cannot", "cant", "can not"),
    ("good", "nice", "decent"),
    ("bad", "terrible", "poor"),
    ("fast", "quick", "quickly"),
    ("wrong", "false", "incorrect"),
    ("exactly", "precisely"),
    ("means", "is about"),
    ("work", "function", "operate"),
    ("works", "functions"),
    ("use", "apply"),
    ("used", "applied"),
    ("possible", "doable"),
    ("better", "superior"),
    ("just", "only", "simply"),
)
_OTHERS = {group[0]: group[1:] for group in _SYNONYMS}
_REPLACEABLE = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _OTHERS), key=len, reverse=True)) + r")\b")


def typed(
    message: str, frames: Mapping[str, Sequence[str]], rng: random.Random, *, is_short: bool = False, noise: float = 1.0
) -> str:
    """A message as somebody may type it.

    Args:
        message: As it was written.
        frames: `before` and `after`: what people put around a question.
        is_short: Whether no word is replaced and little put around it, as in "why".
        noise: How much happens to it, 1.0 for much.
    """
    if not is_short:
        if rng.random() < 0.35 * noise:
            message = _reworded(message, rng)
        if rng.random() < 0.07 * noise:
            message = _shortened(message, rng)
    if rng.random() < (0.06 if is_short else 0.14) * noise:
        message = f"{rng.choice(frames['before'])} {message}"
    if rng.random() < (0.03 if is_short else 0.07) * noise:
        addition = rng.choice(frames["after"])
        message = f"{message.rstrip('?.! ')}{'' if addition[0] in ',.' else ' '}{addition}"
    message = _punctuated(_cased(message, rng), rng)
    if rng.random() < 0.16 * noise:
        for _ in range(rng.choice((1, 1, 1, 2))):
            message = _mistyped(message, rng)
    if rng.random() < 0.3:
        message = message.replace("'", rng.choice(("", "’")))
    return message


def as_read(message: str) -> str:
    """A question as the network reads it; the chat template of the exported file does the same.

    Small letters, straight apostrophes, single spaces and one before the first word: each word has one form.
    Example: "What’s  a Token?" -> " what's a token?"
    """
    return " " + " ".join(message.lower().replace("’", "'").split())


def _reworded(message: str, rng: random.Random) -> str:
    """One word or phrase put in another way."""
    if matches := list(_REPLACEABLE.finditer(message)):
        match = rng.choice(matches)
        message = message[: match.start()] + rng.choice(_OTHERS[match.group()]) + message[match.end() :]
    return message


def _shortened(message: str, rng: random.Random) -> str:
    """One small word left out, as in a hurry."""
    words = message.split()
    small = [
        i
        for i, word in enumerate(words)
        if word.lower() in {"the", "a", "an", "is", "are", "do", "does", "of", "to", "it"}
    ]
    if small and len(words) > 3:
        del words[rng.choice(small)]
    return " ".join(words)


def _cased(message: str, rng: random.Random) -> str:
    """Mostly with a capital or all small, seldom in capitals."""
    dice = rng.random()
    if dice < 0.5:
        return message[0].upper() + message[1:]
    if dice < 0.54:
        return message.upper()
    if dice < 0.56:
        return message.title()
    return message.lower() if dice < 0.8 else message


def _punctuated(message: str, rng: random.Random) -> str:
    """With the mark at the end that somebody may put there."""
    bare = message.rstrip("?.! ")
    if not bare:
        return message
    if _QUESTION.search(bare.lower()):
        return bare + rng.choice(("?", "?", "?", "?", "", "", "", "??", " ?", ".", "???", "?!"))
    return bare + rng.choice(("", "", "", "", ".", ".", "!", "?", "..."))


def _mistyped(message: str, rng: random.Random) -> str:
    """One slip of the finger, seldom at the beginning of the message."""
    letters = [i for i, letter in enumerate(message) if letter.isalpha() and i > 0]
    if len(letters) < 4:
        return message
    i = rng.choice(letters)
    slip = rng.random()
    if slip < 0.3:
        return message[:i] + message[i + 1 :]
    if slip < 0.55 and i + 1 < len(message):
        return message[:i] + message[i + 1] + message[i] + message[i + 2 :]
    if slip < 0.75:
        return message[:i] + message[i] + message[i:]
    near = _NEIGHBOURS.get(message[i].lower(), "aeiou")
    return message[:i] + rng.choice(near) + message[i + (slip < 0.9) :]
