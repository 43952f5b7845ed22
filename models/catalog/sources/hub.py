"""Base models on the model hub: `org/name`, `org/name@revision`, or the address of the model's page."""

import re

from models.catalog.sources.base import Parsed, Source, refused

HOST = "https://huggingface.co/"
DEFAULT_REVISION = "main"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REFERENCE = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9._/-]{{1,100}}))?")
_PAGE = re.compile(rf"{re.escape(HOST)}(?P<repo>{_PART}/{_PART})(?:/tree/(?P<revision>[A-Za-z0-9._/-]{{1,100}}))?/?")


def sniff(reference: str) -> bool:
    return reference.startswith(HOST) or _REFERENCE.fullmatch(reference) is not None


def parse(reference: str) -> Parsed:
    """Without a revision the newest state of `main` is meant; the import pins what that was."""
    found = (_PAGE if reference.startswith("https://") else _REFERENCE).fullmatch(reference.strip())
    if found is None or ".." in reference or "--" in found["repo"]:
        raise refused(reference, "a model of the hub as org/name or org/name@revision")
    return Parsed(url=HOST + found["repo"], revision=found["revision"] or DEFAULT_REVISION)


def write(parsed: Parsed) -> str:
    return f"{parsed.url.removeprefix(HOST)}@{parsed.revision or DEFAULT_REVISION}"


SOURCE = Source(
    name="hub", title="Model hub", example="HuggingFaceTB/SmolLM2-135M-Instruct@main",
    sniff=sniff, parse=parse, write=write,
)  # fmt: skip
