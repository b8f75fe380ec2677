"""Where things are kept, and the figures that several steps share."""

from __future__ import annotations

from pathlib import Path

BUILD = Path(__file__).parent / "build"
"""What is made on the way; not in the repository."""
TOKENIZER = BUILD / "tokenizer.json"
CHECKPOINT = BUILD / "checkpoint.pt"
WEIGHTS = BUILD / "weights.pt"
SHIPPED = Path(__file__).parent.parent / "chatterm" / "tutor" / "tutor-q8_0.gguf"

SEED = 20
N_EXAMPLES = 1_000_000
N_TOKENS = 34_700_000
"""How many tokens the network sees, padding left out."""
N_VOCAB = 4096
SHARPNESS = 1.5
"""Scores are multiplied by this in the file: unsure what is meant, the network spreads its bets, and a tutor must not."""
LONGEST = 1024
"""Tokens of the longest conversation, and the context window."""
