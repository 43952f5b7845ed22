"""Token ids to text while they come: never half a character, never past a stop string. Knows no model."""

from collections.abc import Sequence

from tokenizers import Tokenizer

REPLACEMENT = "\ufffd"
LONGEST_UNFINISHED = 3  # a UTF-8 character has at most four bytes, so at most three can be waiting for the last


class Detokeniser:
    """Decodes a growing list of ids. Texts pushed out, joined, are the text of all ids.

    Decodes from one finished piece back, because tokenizers put or drop a space at the beginning of a text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._from = 0  # where decoding starts: the beginning of the last finished piece
        self._finished = 0  # ids before this one have been decoded to whole characters
        self._told = 0  # characters of the decoded window that were pushed out

    def push(self, token_id: int) -> str:
        """The text that is now certain, often one token's, sometimes none."""
        self._ids.append(token_id)
        text = self._decode(self._from)
        unfinished = len(text) - len(text.rstrip(REPLACEMENT))
        certain = len(text) - min(unfinished, LONGEST_UNFINISHED)
        fresh = text[self._told : certain]
        self._told = max(self._told, certain)
        if text and not unfinished:
            self._from, self._finished = self._finished, len(self._ids)
            self._told = len(self._decode(self._from))
        return fresh

    def rest(self) -> str:
        """What was held back, at the end of the answer."""
        return self._decode(self._from)[self._told :]

    def _decode(self, start: int) -> str:
        return self._tokenizer.decode(self._ids[start:], skip_special_tokens=True)


class StopStrings:
    """Lets text through up to the first stop string, holding back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.is_hit = False

    def pass_on(self, text: str) -> str:
        """The text that may be shown. After a hit nothing more comes."""
        if self.is_hit:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_hit = True
            return self._held[: min(found)]
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def rest(self) -> str:
        """What was held back in vain, at the end of the answer."""
        return "" if self.is_hit else self._held

    def _overlap(self, stop: str) -> int:
        """How many characters at the end of the held text begin `stop`."""
        return next((n for n in range(min(len(stop) - 1, len(self._held)), 0, -1) if self._held.endswith(stop[:n])), 0)
