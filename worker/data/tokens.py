"""Text to token ids for one tokenizer, and where a turn's tokens end. Knows nothing of turns or templates."""

from collections.abc import Collection, Sequence

from tokenizers import Tokenizer

from models.domain.errors import Code, Invalid


class Tokens:
    """A tokenizer as rendering uses it. `special` are the ids of its special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self.special = frozenset(token_id for token_id, token in added.items() if token.special)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of a text. A rendered chat needs nothing added: its template has written all of it."""
        try:
            return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        except (UnicodeEncodeError, TypeError):
            raise Invalid(
                "the text holds half a character (a lone surrogate such as \\ud800); remove it.", code=Code.TEMPLATE
            ) from None

    def encode_after(self, text: str) -> list[int]:
        """Ids of a text that continues another: no space is put in front, as some tokenizers do at a beginning."""
        opening = self.encode("\n")
        ids = self.encode("\n" + text)
        return ids[len(opening) :] if ids[: len(opening)] == opening else self.encode(text)

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

    def without_trailing_space(self, ids: list[int], start: int) -> list[int]:
        end = len(ids)
        while end > start and self._is_space(ids[end - 1]):
            end -= 1
        return ids[:end]

    def _is_space(self, token_id: int) -> bool:
        return not self._tokenizer.decode([token_id], skip_special_tokens=False).strip()
