"""Small GGUF files for tests: real to llama.cpp, made in a fraction of a second, the same every time.

`write_model` gives random weights: nonsense, but every layer counts, so that token ids can be
compared between two ways of running it. `write_chain` gives a model that says exactly what a test
wants to hear: attention and feed-forward add nothing to the residual stream, and the output row of
each token is the embedding of the one before it, so greedy decoding walks along a list of tokens at
the full cost of the model. Nothing here knows chatterm.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3", "phi3")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAIN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content']"
    " + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
"""ChatML whose generation prompt ends with a control token: any text may then be part of a chain."""

_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>", "<|im_sep|>")
_WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part cat dog user "
    "assistant system hello world"
)

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6


class Words(NamedTuple):
    """A vocabulary as a GGUF holds it."""

    kind: Literal["bpe", "spm"]
    texts: list[bytes]
    types: list[int]
    scores: list[float]
    merges: list[str]

    def add(self, text: bytes, type: int = _NORMAL, score: float = -1e4) -> int:
        """The id of a token, which is added where it is missing."""
        if text not in self.texts:
            self.texts.append(text)
            self.types.append(type)
            self.scores.append(score)
        return self.texts.index(text)

    def encode(self, piece: bytes) -> bytes:
        """What stands in the file for a piece: BPE spells bytes as letters, SPM spells spaces as U+2581."""
        if self.kind == "bpe":
            return "".join(_LETTER[byte] for byte in piece).encode()
        if len(piece) == 1 and (piece >= b"\x80" or piece < b" "):
            return f"<0x{piece[0]:02X}>".encode()
        return piece.replace(b" ", "\u2581".encode())

    def id_of(self, piece: bytes | str) -> int:
        """The token that a piece is: a special token by its name, everything else by its bytes."""
        name = piece.encode() if isinstance(piece, str) else b""
        if name in self.texts and self.types[self.texts.index(name)] in (_CONTROL, _USER_DEFINED):
            return self.texts.index(name)
        return self.add(self.encode(piece.encode() if isinstance(piece, str) else piece))


def _letters() -> dict[int, str]:
    """GPT-2's spelling of bytes: printable ones stand for themselves, the others get letters from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_LETTER = _letters()


def bpe() -> Words:
    """All bytes, and some English words merged letter by letter, with and without a space before them."""
    words = Words("bpe", [_LETTER[byte].encode() for byte in range(256)], [_NORMAL] * 256, [0.0] * 256, [])
    known = set(words.texts)
    for word in _WORDS.split():
        for text in (_LETTER[32] + word, word):
            for end in range(1, len(text)):
                merged = text[: end + 1].encode()
                if merged not in known:
                    known.add(merged)
                    words.merges.append(f"{text[:end]} {text[end]}")
                    words.add(merged)
    return words


def _spm() -> Words:
    """<unk>, <s>, </s>, all bytes, letters, and some English words with every prefix of them."""
    words = Words("spm", [], [], [], [])
    words.add(b"<unk>", _UNKNOWN, 0.0)
    words.add(b"<s>", _CONTROL, 0.0)
    words.add(b"</s>", _CONTROL, 0.0)
    for byte in range(256):
        words.add(f"<0x{byte:02X}>".encode(), _BYTE, 0.0)
    for letter in ("\u2581", *map(chr, range(33, 127))):
        words.add(letter.encode(), score=-1000.0)
    for word in _WORDS.split():
        for text in ("\u2581" + word, word):
            for end in range(1, len(text)):
                words.add(text[: end + 1].encode(), score=-float(len(words.texts)))
    return words


def write_model(
    path: Path,
    arch: str = "llama",
    vocabulary: Literal["bpe", "spm"] = "bpe",
    template: str | None = CHATML,
    *,
    chatml: bool = True,
    control: Sequence[str] = (),
    user_defined: Sequence[str] = (),
    add_bos: bool | None = None,
    add_space_prefix: bool | None = None,
    can_end: bool = False,
    quantization: Literal["F32", "F16", "Q8_0", "Q4_0"] = "F32",
    n_layers: int = 2,
    width: int = 64,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    n_ff: int = 128,
    n_vocab: int = 0,
    n_ctx: int = 4096,
    sliding_window: int | None = None,
    name: str = "tiny",
    metadata: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """A model with random weights; about 1 MB and 0.1 s as it stands.

    `n_layers=8, width=512, n_heads=8, n_ff=2048, n_vocab=32000, quantization="Q8_0"` has 60 million
    parameters, for benchmarks.

    Args:
        path: Where to write it; its folder must exist.
        arch: One of `ARCHITECTURES`; any other name gets llama's tensors, which llama.cpp refuses.
        vocabulary: Byte-level BPE as GPT-2 and Qwen have it, or SentencePiece as Llama 2 has it.
        template: The chat template; None leaves it out.
        chatml: Whether `<|im_start|>` and its kin are control tokens of the vocabulary.
        control: Further control tokens.
        user_defined: Tokens that are parsed anywhere and shown as text, such as `<think>` in Qwen 3.
        add_bos: As the GGUF says it; None means: SPM does, BPE does not.
        add_space_prefix: As the GGUF says it; None leaves it to llama.cpp: SPM does, BPE does not.
        can_end: Whether the random weights may choose an end-of-generation token.
        n_vocab: Filled up with unused tokens to this size.
        sliding_window: None means 64 for gemma3, none elsewhere.
        metadata: Further keys with strings, integers, floats or booleans.
    """
    words = _words(vocabulary, arch, chatml, [*control], [*user_defined], n_vocab)
    rng = np.random.default_rng(seed)
    output = rng.standard_normal((len(words.texts), width), dtype=np.float32) / np.float32(np.sqrt(width))
    if not can_end:
        output[[i for i, kind in enumerate(words.types) if kind != _NORMAL]] = 0
    return _write(
        path,
        arch,
        words,
        rng.standard_normal((len(words.texts), width), dtype=np.float32),
        output,
        rng,
        template=template,
        is_chain=False,
        add_bos=add_bos,
        add_space_prefix=add_space_prefix,
        quantization=quantization,
        shape=(n_layers, width, n_heads, n_kv_heads, n_ff),
        n_ctx=n_ctx,
        sliding_window=sliding_window,
        name=name,
        metadata=metadata or {},
    )


def write_chain(
    path: Path,
    says: Sequence[bytes | str],
    arch: str = "llama",
    vocabulary: Literal["bpe", "spm"] = "bpe",
    template: str | None = CHAIN_TEMPLATE,
    *,
    ends: bool = True,
    chatml: bool = True,
    control: Sequence[str] = (),
    user_defined: Sequence[str] = (),
    add_bos: bool | None = None,
    add_space_prefix: bool | None = None,
    quantization: Literal["F32", "F16", "Q8_0", "Q4_0"] = "F32",
    n_layers: int = 1,
    width: int = 128,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    n_ff: int = 128,
    n_vocab: int = 0,
    n_ctx: int = 4096,
    sliding_window: int | None = None,
    name: str = "chain",
    metadata: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """A model that says a list of tokens under greedy decoding (temperature 0), then ends.

    After any prompt whose last token is not part of the list, it begins at the beginning; after one
    that is (a reply that is continued), it goes on behind it.

    Args:
        path: Where to write it; its folder must exist.
        says: Each item is one token: bytes or a string as it shall come out, or the name of a token
            in `control` or `user_defined`. What is not in the vocabulary is added. No token twice,
            since the next one depends on the last one alone.
        ends: False: after the last token comes the first one again, for ever.

    The other arguments are those of `write_model`.
    """
    words = _words(vocabulary, arch, chatml, [*control], [*user_defined], 0)
    chain = [words.id_of(piece) for piece in says]
    if len(set(chain)) < len(chain):
        raise ValueError("a chain cannot say a token twice")
    _fill(words, n_vocab)
    rng = np.random.default_rng(seed)
    embeddings = np.zeros((len(words.texts), width), np.float32)
    embeddings[:, 0] = np.sqrt(width)  # all that is not in the chain looks alike, and leads to its start
    embeddings[chain] = rng.choice(np.array([-1, 1], np.float32), (len(chain), width))
    embeddings[chain, 0] = 0
    output = np.zeros_like(embeddings)
    output[chain[0], 0] = np.sqrt(width)
    follows = [*chain[1:], _eos(words) if ends else chain[0]]
    for token, following in zip(chain, follows, strict=True):
        output[following] += embeddings[token]
    return _write(
        path,
        arch,
        words,
        embeddings,
        output,
        rng,
        template=template,
        is_chain=True,
        add_bos=add_bos,
        add_space_prefix=add_space_prefix,
        quantization=quantization,
        shape=(n_layers, width, n_heads, n_kv_heads, n_ff),
        n_ctx=n_ctx,
        sliding_window=sliding_window,
        name=name,
        metadata=metadata or {},
    )


def write_distribution(path: Path, logits: Sequence[float], *, n_ctx: int = 4096) -> Path:
    """A model that gives the same distribution after any token: each draw is a roll of the same die.

    Args:
        path: Where to write it; its folder must exist.
        logits: Of the tokens 0, 1, 2...; all others are out of reach.
    """
    width = 32
    words = _words("bpe", "llama", False, [], [], 0)
    embeddings = np.zeros((len(words.texts), width), np.float32)
    embeddings[:, 0] = np.sqrt(width)  # whose root mean square is 1, so that norms leave it as it is
    output = np.zeros_like(embeddings)
    output[:, 0] = -1e3
    output[: len(logits), 0] = np.asarray(logits, np.float32) / np.float32(np.sqrt(width))
    return _write(
        path,
        "llama",
        words,
        embeddings,
        output,
        np.random.default_rng(0),
        template=None,
        is_chain=True,
        add_bos=None,
        add_space_prefix=None,
        quantization="F32",
        shape=(1, width, 2, 2, 32),
        n_ctx=n_ctx,
        sliding_window=None,
        name="die",
        metadata={},
    )


def write_recurrent(path: Path, arch: Literal["mamba", "lfm2"] = "mamba", *, n_ctx: int = 4096, seed: int = 0) -> Path:
    """A model with random weights that remembers by a state instead of (lfm2: beside) a KV cache.

    Its memory cannot be cut back to an earlier token, only emptied.
    """
    words = _words("bpe", arch, True, [], [], 0)
    rng = np.random.default_rng(seed)
    V, width, n_layers, n_ff = len(words.texts), 64, 4, 128
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(arch)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(width)
    writer.add_block_count(n_layers)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_vocab_size(V)
    write_vocabulary(writer, words, None, None)
    writer.add_chat_template(CHATML)

    def matrix(name: str, *shape: int, scale: float = 0.25) -> None:
        writer.add_tensor(name, rng.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def ones(name: str, size: int) -> None:
        writer.add_tensor(name, np.ones(size, np.float32))

    matrix("token_embd.weight", V, width, scale=0.5)
    output = rng.standard_normal((V, width), dtype=np.float32)
    output[[i for i, kind in enumerate(words.types) if kind != _NORMAL]] = 0
    writer.add_tensor("output.weight", output)
    if arch == "mamba":
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        n_inner, n_state, rank = 128, 16, 8
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_inner_size(n_inner)
        writer.add_ssm_state_size(n_state)
        writer.add_ssm_time_step_rank(rank)
        ones("output_norm.weight", width)
    else:
        writer.add_feed_forward_length(n_ff)
        writer.add_head_count(4)
        writer.add_head_count_kv([0, 2] * (n_layers // 2))
        writer.add_rope_freq_base(1e6)
        writer.add_shortconv_l_cache(3)
        ones("token_embd_norm.weight", width)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight", width)
        if arch == "mamba":
            matrix(block + "ssm_in.weight", 2 * n_inner, width)
            matrix(block + "ssm_conv1d.weight", n_inner, 4)
            matrix(block + "ssm_conv1d.bias", n_inner)
            matrix(block + "ssm_x.weight", rank + 2 * n_state, n_inner)
            matrix(block + "ssm_dt.weight", n_inner, rank)
            matrix(block + "ssm_dt.bias", n_inner)
            writer.add_tensor(block + "ssm_a", -np.abs(rng.standard_normal((n_inner, n_state), dtype=np.float32)))
            ones(block + "ssm_d", n_inner)
            matrix(block + "ssm_out.weight", width, n_inner)
            continue
        ones(block + "ffn_norm.weight", width)
        matrix(block + "ffn_gate.weight", n_ff, width)
        matrix(block + "ffn_up.weight", n_ff, width)
        matrix(block + "ffn_down.weight", width, n_ff)
        if layer % 2:
            ones(block + "attn_q_norm.weight", 16)
            ones(block + "attn_k_norm.weight", 16)
            matrix(block + "attn_q.weight", 64, width)
            matrix(block + "attn_k.weight", 32, width)
            matrix(block + "attn_v.weight", 32, width)
            matrix(block + "attn_output.weight", width, 64)
        else:
            matrix(block + "shortconv.conv.weight", width, 3)
            matrix(block + "shortconv.in_proj.weight", 3 * width, width)
            matrix(block + "shortconv.out_proj.weight", width, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _words(
    kind: Literal["bpe", "spm"], arch: str, chatml: bool, control: list[str], user_defined: list[str], n_vocab: int
) -> Words:
    """A vocabulary with its special tokens."""
    words = bpe() if kind == "bpe" else _spm()
    required = ("<s>", "</s>", "<unk>", "<|endoftext|>") if arch == "phi3" else ()  # llama.cpp looks for them by name
    ends = ("<|endoftext|>",) if kind == "bpe" else ()
    for token in dict.fromkeys((*required, *ends, *(_CHATML_TOKENS if chatml else ()), *control)):
        words.add(token.encode(), _CONTROL, 0.0)
    for token in user_defined:
        words.add(token.encode(), _USER_DEFINED, 0.0)
    _fill(words, n_vocab)
    return words


def _fill(words: Words, n_vocab: int) -> None:
    """Unused tokens until the vocabulary has its size."""
    missing = range(len(words.texts), n_vocab)
    words.texts.extend(f"unused{i}".encode() for i in missing)
    words.types.extend(_NORMAL for _ in missing)
    words.scores.extend(-1e6 for _ in missing)


def _eos(words: Words) -> int:
    """The end-of-generation token that the GGUF names."""
    names = (b"<|im_end|>", b"</s>", b"<|endoftext|>") if words.kind == "bpe" else (b"</s>",)
    return words.texts.index(next(name for name in names if name in words.texts))


def _write(
    path: Path,
    arch: str,
    words: Words,
    embeddings: np.ndarray,
    output: np.ndarray,
    rng: np.random.Generator,
    *,
    template: str | None,
    is_chain: bool,
    add_bos: bool | None,
    add_space_prefix: bool | None,
    quantization: str,
    shape: tuple[int, int, int, int, int],
    n_ctx: int,
    sliding_window: int | None,
    name: str,
    metadata: dict[str, Any],
) -> Path:
    """Header, vocabulary and tensors; in a chain the two matrices that write to the residual stream are zero."""
    n_layers, width, n_heads, n_kv_heads, n_ff = shape
    head = width // n_heads
    file_type, stored_as = {"F32": (0, Type.F32), "F16": (1, Type.F16), "Q8_0": (7, Type.Q8_0), "Q4_0": (2, Type.Q4_0)}[
        quantization
    ]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(name)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(width)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(n_kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(file_type)
    if window := (64 if arch == "gemma3" else 0) if sliding_window is None else sliding_window:
        writer.add_sliding_window(window)
    write_vocabulary(writer, words, add_bos, add_space_prefix)
    if template is not None:
        writer.add_chat_template(template)
    for key, value in metadata.items():
        {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[
            value.__class__
        ](key, value)

    def vector(name: str, size: int, start: float = 1.0) -> None:
        values = np.full(size, start, np.float32)
        if not is_chain:
            values += 0.1 * rng.standard_normal(size, dtype=np.float32)
        writer.add_tensor(name, values)

    def matrix(name: str, rows: int, columns: int, scale: float = 1.0, writes: bool = False) -> None:
        if writes and is_chain:
            return _add(writer, name, np.zeros((rows, columns), np.float32), stored_as)
        if stored_as in (Type.Q8_0, Type.Q4_0) and rows * columns > 100_000:
            return writer.add_tensor(name, _blocks(rng, rows, columns, stored_as, scale), raw_dtype=stored_as)
        values = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale / np.sqrt(columns))
        return _add(writer, name, values, stored_as)

    _add(writer, "token_embd.weight", embeddings, stored_as)
    if arch != "gemma2":  # whose table of embeddings is its output, too
        _add(writer, "output.weight", output, stored_as)
    vector("output_norm.weight", width)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        vector(block + "attn_norm.weight", width)
        vector(block + "ffn_norm.weight", width)
        if arch == "phi3":
            matrix(block + "attn_qkv.weight", (n_heads + 2 * n_kv_heads) * head, width, 2.0)
        else:
            matrix(block + "attn_q.weight", n_heads * head, width, 2.5)
            matrix(block + "attn_k.weight", n_kv_heads * head, width, 2.5)
            matrix(block + "attn_v.weight", n_kv_heads * head, width)
        matrix(block + "attn_output.weight", width, n_heads * head, writes=True)
        if arch == "qwen2":
            for letter, heads in (("q", n_heads), ("k", n_kv_heads), ("v", n_kv_heads)):
                vector(block + f"attn_{letter}.bias", heads * head, 0.0)
        if arch in ("qwen3", "gemma3"):
            vector(block + "attn_q_norm.weight", head)
            vector(block + "attn_k_norm.weight", head)
        if arch in ("gemma2", "gemma3"):
            vector(block + "post_attention_norm.weight", width)
            vector(block + "post_ffw_norm.weight", width)
        if arch == "phi3":
            matrix(block + "ffn_up.weight", 2 * n_ff, width)
        else:
            matrix(block + "ffn_gate.weight", n_ff, width)
            matrix(block + "ffn_up.weight", n_ff, width)
        matrix(block + "ffn_down.weight", width, n_ff, writes=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(
    writer: gguf.GGUFWriter, words: Words, add_bos: bool | None, add_space_prefix: bool | None
) -> None:
    """The tokenizer's keys."""
    is_bpe = words.kind == "bpe"
    writer.add_tokenizer_model("gpt2" if is_bpe else "llama")
    writer.add_token_list(words.texts)
    writer.add_token_types(words.types)
    if is_bpe:
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(words.merges)
    else:
        writer.add_token_scores(words.scores)
        writer.add_unk_token_id(words.texts.index(b"<unk>"))
    writer.add_bos_token_id(words.texts.index(b"<|endoftext|>" if is_bpe else b"<s>"))
    writer.add_eos_token_id(_eos(words))
    writer.add_add_bos_token(not is_bpe if add_bos is None else add_bos)
    if add_space_prefix is not None:
        writer.add_add_space_prefix(add_space_prefix)


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray, type: Type) -> None:
    """A tensor in the type that the file has."""
    if type == Type.F32:
        writer.add_tensor(name, values.astype(np.float32, copy=False))
    elif type == Type.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values.astype(np.float32, copy=False), type), raw_dtype=type)


def _blocks(rng: np.random.Generator, rows: int, columns: int, type: Type, scale: float) -> np.ndarray:
    """Random weights made in their quantized form, which is many times faster than to quantize them."""
    n_blocks, deviation = rows * columns // 32, scale / np.sqrt(columns)
    size, step = (34, deviation / 73) if type == Type.Q8_0 else (18, deviation / 4.6)
    blocks = np.empty((n_blocks, size), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(step).tobytes(), np.uint8)
    blocks[:, 2:] = rng.integers(0, 256, (n_blocks, size - 2), dtype=np.uint8)
    return blocks.reshape(rows, -1)
