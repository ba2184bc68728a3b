"""Tokenizers: text to ids and back, with a vocabulary that fits into a model file.

Words, byte pairs and the unigram model are those of the `tokenizers` library; characters and bytes
need no more than a table. No text is ever taken for one of the special tokens, whatever it says.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.text import has_half

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

__all__ = ["TOKENS", "Tokenizer", "Tokens"]

Tokens = Literal["character", "byte", "word", "space", "bpe", "unigram"]
TOKENS: tuple[Tokens, ...] = get_args(Tokens)

_SPECIAL = ("< padding >", "< unknown >", "< begin >", "< end >")  # no piece has a blank within
_BYTES = 256

# Scripts without blanks between words: every letter, with its marks, is a word.
_WORD = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
    r"|[@#]?\w+(?:['’\-]\w+)*|([^\w\s])\1*"
)
# GPT-2's, but that marks belong to their letters: without them an Indian word falls to pieces.
_SUBWORD = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"


class Tokenizer:
    """Turns texts into ids and back.

    - "character": code points. "byte": those of UTF-8; never unknown.
    - "word": words, numbers and marks; in scripts that write no blanks, letters.
    - "space": what stands between blanks, for text that is already split.
    - "bpe", "unigram": pieces of words over bytes, learned from the texts; never unknown.

    All but "byte" bring text into Unicode's normal form C first. "character", "byte", "bpe" and
    "unigram" give the text back as it was; "word" and "space" put single blanks between words.

    Attributes:
        kind: Which of them.
        lower_case: Whether capitals are taken for small letters.
        vocabulary: What each id stands for, V texts; the first four are special.

    >>> tokenizer = Tokenizer.train(["to be or not to be"], "word")
    >>> tokenizer.encode("to be or what?").tolist()
    [5, 4, 7, 1, 1]
    >>> tokenizer.decode([5, 4, 7])
    'to be or'
    """

    PADDING, UNKNOWN, BEGIN, END = range(4)

    def __init__(
        self, kind: Tokens, lower_case: bool, characters: str = "", library: Library | None = None
    ) -> None:
        self.kind = kind
        self.lower_case = lower_case
        self._characters = characters
        self._library = library
        if library is not None:
            library.encode_special_tokens = True  # what looks like one of them is text
            count = library.get_vocab_size()
            pieces = [str(library.id_to_token(index)) for index in range(count)]
            self.vocabulary = pieces
        elif kind == "byte":
            self.vocabulary = [*_SPECIAL, *(f"{byte:02x}" for byte in range(_BYTES))]
        else:
            self.vocabulary = [*_SPECIAL, *characters]
            self._codes = np.array([ord(c) for c in characters], dtype=np.uint32)
            self._order = np.argsort(self._codes)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        kind: str = "word",
        *,
        vocabulary_size: int = 30_000,
        min_count: int = 1,
        lower_case: bool = False,
    ) -> Tokenizer:
        """Learn a vocabulary from texts.

        The same texts give the same one, "unigram" excepted, whose learning in the library sums in
        no fixed order: its scores differ a little each time.

        Args:
            texts: To learn from.
            kind: One of `TOKENS`.
            vocabulary_size: V at the most, the special four included. Pieces over bytes need 260.
            min_count: How often a character, word or pair must occur to be taken.
            lower_case: Take capitals for small letters.

        Raises:
            UsageError: if there is no such kind, or the sizes cannot be meant.
            MissingExtraError: if the `tokenizers` library is not installed and needed.
        """
        if kind not in TOKENS:
            raise UsageError(f"tokens is {kind!r}, expected one of {', '.join(TOKENS)}")
        least = len(_SPECIAL) + (_BYTES if kind in ("byte", "bpe", "unigram") else 1)
        if vocabulary_size < least:
            raise UsageError(
                f"vocabulary_size is {vocabulary_size}: tokens {kind!r} need at least {least}"
            )
        if min_count < 1:
            raise UsageError(f"min_count is {min_count}: it must be at least 1")
        if kind == "byte":
            return cls("byte", lower_case)
        if kind == "character":
            counts: Counter[str] = Counter()
            for text in texts:
                counts.update(_normal(text, lower_case))
            common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            taken = [c for c, count in common if count >= min_count]
            return cls("character", lower_case, "".join(taken[: vocabulary_size - len(_SPECIAL)]))
        library = _learn(texts, kind, vocabulary_size, min_count, lower_case)
        return cls(kind, lower_case, library=library)

    def __len__(self) -> int:
        """V, size of the vocabulary."""
        return len(self.vocabulary)

    def encode(self, text: str) -> NDArray[np.int64]:
        """The ids of a text, shape (T,); T is 0 where there is nothing in it."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The ids of each text, N arrays (T_i,).

        Raises:
            DataError: if a text holds half of a surrogate pair.
        """
        for text in texts:
            if has_half(text):
                raise DataError(f"{text!r} holds half of a surrogate pair, which no character is")
        if self._library is not None:
            encodings = self._library.encode_batch_fast(list(texts))
            return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        if self.kind == "byte":
            lowered = (text.lower() if self.lower_case else text for text in texts)
            return [
                np.frombuffer(text.encode(), np.uint8).astype(np.int64) + len(_SPECIAL)
                for text in lowered
            ]
        return [self._characters_of(_normal(text, self.lower_case)) for text in texts]

    def _characters_of(self, text: str) -> NDArray[np.int64]:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        if not len(self._codes):
            return np.full(len(codes), self.UNKNOWN)
        places = np.searchsorted(self._codes, codes, sorter=self._order)
        candidates = self._order[np.minimum(places, len(self._order) - 1)]
        known = self._codes[candidates] == codes
        return np.where(known, candidates + len(_SPECIAL), self.UNKNOWN)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in `normal(text)` each of its ids comes from: begin and end, T pairs."""
        text = self.normal(text)
        if self._library is not None:
            offsets: list[tuple[int, int]] = self._library.encode(text).offsets
            return offsets
        spans = []
        for i, character in enumerate(text):
            read = character.lower() if self.lower_case else character  # not always one, as of İ
            spans += [(i, i + 1)] * len(read.encode() if self.kind == "byte" else read)
        return spans

    def normal(self, text: str) -> str:
        """The text whose places `spans` tells: marks in one with their letters, but for bytes."""
        return text if self.kind == "byte" else unicodedata.normalize("NFC", text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids. Special ones are left out; bytes that are no UTF-8 become U+FFFD."""
        plain = [int(index) for index in ids if index >= len(_SPECIAL)]
        if self._library is not None:
            return str(self._library.decode(plain, skip_special_tokens=False))
        if self.kind == "byte":
            return bytes(index - len(_SPECIAL) for index in plain).decode(errors="replace")
        return "".join(self.vocabulary[index] for index in plain)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        document: dict[str, Any] = {"kind": self.kind, "lower_case": self.lower_case}
        if self._library is not None:
            return {**document, "library": json.loads(self._library.to_str())}
        return {**document, "characters": self._characters}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Tokenizer:
        """Read what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: if the document is not what `to_dict` writes.
            MissingExtraError: if the `tokenizers` library is not installed and needed.
        """
        kind = document["kind"]
        if kind not in TOKENS:
            raise ValueError(f"there are no tokens {kind!r}")
        if kind in ("character", "byte"):
            return cls(kind, bool(document["lower_case"]), str(document["characters"]))
        library = _library()
        try:
            read = library.Tokenizer.from_str(json.dumps(document["library"]))
        except Exception as error:  # the library has no error of its own
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        return cls(kind, bool(document["lower_case"]), library=read)


def _normal(text: str, lower_case: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return text.lower() if lower_case else text


def _library() -> Any:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tokenizers"):
            raise
        raise MissingExtraError(
            "words and pieces of words need the tokenizers library: pip install 'noria[text]'"
        ) from error
    return tokenizers


def _learn(
    texts: Iterable[str], kind: str, vocabulary_size: int, min_count: int, lower_case: bool
) -> Library:
    library = _library()
    before, trainers = library.pre_tokenizers, library.trainers
    settings: dict[str, Any] = {
        "vocab_size": vocabulary_size,
        "special_tokens": list(_SPECIAL),
        "show_progress": False,
    }
    unknown = _SPECIAL[Tokenizer.UNKNOWN]
    if kind in ("word", "space"):
        tokenizer = library.Tokenizer(library.models.WordLevel(unk_token=unknown))
        tokenizer.pre_tokenizer = (
            before.Split(library.Regex(_WORD), "removed", invert=True)
            if kind == "word"
            else before.WhitespaceSplit()
        )
        trainer = trainers.WordLevelTrainer(min_frequency=min_count, **settings)
    else:
        settings["initial_alphabet"] = before.ByteLevel.alphabet()
        models = library.models
        tokenizer = library.Tokenizer(models.BPE() if kind == "bpe" else models.Unigram())
        parts = before.Split(library.Regex(_SUBWORD), "isolated")
        as_bytes = before.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = before.Sequence([parts, as_bytes])
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = (
            trainers.BpeTrainer(min_frequency=min_count, **settings)
            if kind == "bpe"
            else trainers.UnigramTrainer(unk_token=unknown, **settings)
        )
    normal = library.normalizers
    steps = [normal.NFC(), normal.Lowercase()] if lower_case else [normal.NFC()]
    tokenizer.normalizer = normal.Sequence(steps)
    tokenizer.train_from_iterator(texts, trainer)
    learned: Library = tokenizer
    return learned
