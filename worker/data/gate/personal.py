"""Finds what looks like an e-mail address, a phone number, a payment card or a secret key in a text. Only warns.

What it shows is masked: a report must not spread what it warns of. Plain numbers, dates, versions and amounts are left
alone, so a phone number counts only as people write one: with + and the country, with a leading 0 in groups, or in the
groups of North America. Each search takes time in proportion to the text.
"""

import re
from collections.abc import Callable
from enum import StrEnum


class Personal(StrEnum):
    """Kinds of findings; `models.catalog.findings` has their words."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    SECRET_KEY = "secret_key"


def personal_in(text: str) -> dict[Personal, str]:
    """The kinds that the text seems to hold, each with its first occurrence, masked."""
    found: dict[Personal, str] = {}
    for kind, search in _SEARCHES.items():
        masked = search(text)
        if masked is not None:
            found[kind] = masked
    return found


# -- e-mail -----------------------------------------------------------------------------------------------------

_LOCAL_PART = re.compile(r"[\w.%+-]{1,64}\Z")
_HOST = re.compile(r"(?:[a-zA-Z0-9-]{1,63}\.){1,8}([a-zA-Z]{2,24})\b")
_NO_DOMAINS = frozenset(("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"))  # logo@2x.png


def _email(text: str) -> str | None:
    at = text.find("@")
    while at >= 0:
        before, host = _LOCAL_PART.search(text, max(0, at - 64), at), _HOST.match(text, at + 1, at + 256)
        if before and host and host.group(1).lower() not in _NO_DOMAINS:
            local = before.group().strip(".")
            # git@host:path is how programs spell an address of a repository.
            if local and not (local == "git" and text[host.end() : host.end() + 1] == ":"):
                return f"{local[0]}...@{host.group()}"
        at = text.find("@", at + 1)
    return None


# -- numbers ----------------------------------------------------------------------------------------------------

# Seven digits near each other: few texts have them, and only those are looked at closely.
_DIGITS_NEAR = re.compile(r"[0-9](?:[ ().,/-]{0,2}+[0-9]){6}")
_PHONE = re.compile(
    r"""(?<![\w.,+/-])(?:
        \+[1-9][0-9]{0,3}+(?:[ .-]?\(?[0-9]{1,5}+\)?){2,6}+               # +49 30 1234567, +1 (415) 555-0123
      | 00[1-9][0-9]{0,2}+(?:[ -]\(?[0-9]{1,8}+\)?){2,5}+                 # 0049 30 1234567
      | \([2-9][0-9]{2}\)[ ]?[0-9]{3}[ .-][0-9]{4}                       # (415) 555-0123
      | \(0[1-9][0-9]{1,4}\)[ ]?[0-9]{3,8}+(?:[ -][0-9]{2,5}+){0,2}+      # (030) 1234567
      | [2-9][0-9]{2}([-.])[2-9][0-9]{2}\1[0-9]{4}                       # 415-555-0123
      | 0[1-9][0-9]{1,4}[ /-][0-9]{3,8}+(?:[ -][0-9]{2,5}+){0,2}+         # 030 1234567, 020 7946 0958
    )(?![\w+/-]|[.,][0-9])""",
    re.VERBOSE,
)
_TOO_LONG = re.compile(r"[0-9]{14}")  # without a break: sums have so many digits, phone numbers hardly
_CARD = re.compile(r"(?<![\w.,+-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![\w-]|[.,][0-9])")


def _phone(text: str) -> str | None:
    if not _DIGITS_NEAR.search(text):
        return None
    for match in _PHONE.finditer(text):
        number = match.group()
        # Another number may follow the one with +, so its end is not certain; its beginning is.
        if len(_digits(number)) >= 8 and not _TOO_LONG.search(number):
            return f"{number[:3]}..."
    return None


def _card(text: str) -> str | None:
    if not _DIGITS_NEAR.search(text):
        return None
    for match in _CARD.finditer(text):
        digits = _digits(match.group())
        if _is_issued(digits) and _passes_luhn(digits):
            return f"a number of {len(digits)} digits that ends in {digits[-4:]}"
    return None


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _is_issued(digits: str) -> bool:
    """Whether a card network has numbers of this beginning and length: one in ten other numbers passes Luhn."""
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return (
        (digits[0] == "4" and length == 16)
        or (length == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))
        or (length == 15 and two in (34, 37))
        or (length == 14 and (two in (36, 38, 39) or 3000 <= four <= 3059))
        or (length == 16 and (four == 6011 or two == 65 or 3528 <= four <= 3589 or two == 62))
    )


def _passes_luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1."""
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(value - 9 * (value > 9) for value in doubled)) % 10 == 0


# -- secret keys ------------------------------------------------------------------------------------------------

# By what each begins with, in the spelling of those who issue them; looked for before any pattern is tried.
_KEYS: dict[str, re.Pattern[str]] = {
    "sk-": re.compile(r"\bsk-(?=[\w-]{0,100}[0-9])(?=[\w-]{0,100}[A-Z])[\w-]{20,}"),
    "sk_live_": re.compile(r"\bsk_live_\w{16,}"),
    "AKIA": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "ASIA": re.compile(r"\bASIA[0-9A-Z]{16}\b"),
    "AIza": re.compile(r"\bAIza[\w-]{35}"),
    "ghp_": re.compile(r"\bghp_[A-Za-z0-9]{36}"),
    "gho_": re.compile(r"\bgho_[A-Za-z0-9]{36}"),
    "ghs_": re.compile(r"\bghs_[A-Za-z0-9]{36}"),
    "github_pat_": re.compile(r"\bgithub_pat_\w{40,}"),
    "glpat-": re.compile(r"\bglpat-[\w-]{20,}"),
    "hf_": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "xox": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "-----BEGIN ": re.compile(r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    "eyJ": re.compile(r"\beyJ[\w-]{10,500}+\.eyJ[\w-]{10,4000}+\.[\w-]{10}"),
}
_SHOWN = {"-----BEGIN ": "a private key (PEM)", "eyJ": "a JSON web token (eyJ...)"}


def _secret_key(text: str) -> str | None:
    for beginning, pattern in _KEYS.items():
        if beginning in text and pattern.search(text):
            return _SHOWN.get(beginning, f"{beginning}...")
    return None


_SEARCHES: dict[Personal, Callable[[str], str | None]] = {
    Personal.EMAIL: _email,
    Personal.PHONE: _phone,
    Personal.CARD: _card,
    Personal.SECRET_KEY: _secret_key,
}
