"""Text to token ids for one tokenizer, and where a turn's tokens end. Knows nothing of turns or templates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tokenizers import Encoding, Tokenizer

from models.domain.errors import Code, Invalid

STRANGE = "\N{OTTER}"  # stands for what a tokenizer may not know


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids and, where they are wanted, each token's own text: joined, they are the text that was encoded.

    The bytes of a character that spans tokens stand with the last of them; the others are empty.
    """

    ids: list[int]
    texts: list[str] = field(default_factory=list)

    def __add__(self, other: "Encoded") -> "Encoded":
        return Encoded(self.ids + other.ids, self.texts + other.texts)

    def part(self, start: int, end: int | None = None) -> "Encoded":
        return Encoded(self.ids[start:end], self.texts[start:end])

    def plus(self, token_id: int, text: str, *, is_shown: bool) -> "Encoded":
        return self + Encoded([token_id], [text] if is_shown else [])


class Tokens:
    """A tokenizer as rendering uses it. `special` are the ids of its special tokens.

    `shows_texts`: encode the text of each token too, which takes longer. The ids are the same.
    """

    def __init__(self, tokenizer: Tokenizer, *, unknown: str | None = None, shows_texts: bool = False) -> None:
        self._tokenizer = tokenizer
        self.shows_texts = shows_texts
        self._unknown = unknown
        self._unknown_id = tokenizer.token_to_id(unknown) if unknown is not None else None
        known, strange = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", f"a{STRANGE}"))
        self._forgets = known == strange
        added = tokenizer.get_added_tokens_decoder()
        self.special = frozenset(token_id for token_id, token in added.items() if token.special)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Encoded:
        """A text. A rendered chat needs nothing added: its template has written all of it."""
        try:
            if self.shows_texts:
                encoding = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
                return Encoded(encoding.ids, self._texts(encoding, text))
            # The fast way leaves out where each token stands in the text; a third of the time.
            (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
            return Encoded(encoding.ids)
        except (UnicodeEncodeError, TypeError):
            raise Invalid(
                "the text holds half a character (a lone surrogate such as \\ud800); remove it.",
                code=Code.TEMPLATE,
                kind="template_refuses",
            ) from None

    def framed(self, text: str) -> str:
        """A document with the special tokens that `encode` puts around it, as their texts."""
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        texts = [
            self._tokenizer.id_to_token(token_id) or "" if added else None
            for token_id, added in zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        ]
        middle = texts.index(None) if None in texts else len(texts)
        return "".join(filter(None, texts[:middle])) + text + "".join(filter(None, texts[middle:]))

    def encode_after(self, text: str) -> Encoded:
        """A text that continues another: no space is put in front, as some tokenizers do at a beginning."""
        opening, whole = self.encode("\n"), self.encode("\n" + text)
        count = len(opening.ids)
        return whole.part(count) if whole.ids[:count] == opening.ids else self.encode(text)

    def has_unknown(self, encoded: Encoded, text: str) -> bool:
        """Whether the tokens of this text stand for characters that the tokenizer has no token for, or leave them out.

        Bytes of a text are tokens of most tokenizers, which therefore know every character.
        """
        if self._unknown_id is not None and self._unknown_id in encoded.ids and (self._unknown or "") not in text:
            return True
        if not self._forgets or text.isascii():
            return False
        return bool(set(text) - set(self._tokenizer.decode(encoded.ids, skip_special_tokens=False)))

    def stop_end(self, ids: Sequence[int], start: int, stops: Collection[int]) -> int | None:
        """The position after a turn's stop token: the first of those that, with white space, close the sequence.

        None if the tokens from `start` on do not close with one.
        """
        end = None
        for position in range(len(ids) - 1, start - 1, -1):
            if ids[position] in stops:
                end = position + 1
            elif not self._is_space(ids[position]):
                break
        return end

    def _is_space(self, token_id: int) -> bool:
        return not self._tokenizer.decode([token_id], skip_special_tokens=False).strip()

    def _texts(self, encoding: Encoding, text: str) -> list[str]:
        """The text is cut where each token ends, before the next one begins; what no token covers goes to the next."""
        offsets, added = encoding.offsets, encoding.special_tokens_mask
        ends, least = [0] * len(offsets), len(text)
        for position in range(len(offsets) - 1, -1, -1):
            if not added[position]:
                start, end = offsets[position]
                ends[position] = min(end, least)
                least = min(least, start)
        texts: list[str] = []
        done, last = 0, max((i for i, is_added in enumerate(added) if not is_added), default=-1)
        for position, is_added in enumerate(added):
            if is_added:
                texts.append(self._tokenizer.id_to_token(encoding.ids[position]) or "")
                continue
            end = len(text) if position == last else max(done, ends[position])
            texts.append(text[done:end])
            done = end
        return texts
