"""Base models in one GGUF file on the worker's machine: an absolute path."""

from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from models.catalog.sources.base import Parsed, Source, refused

SCHEME = "file://"


def sniff(reference: str) -> bool:
    return reference.startswith("/") and reference.lower().endswith(".gguf")


def parse(reference: str) -> Parsed:
    path = PurePosixPath(reference)
    if not path.is_absolute() or ".." in path.parts or path.suffix.lower() != ".gguf" or "\0" in reference:
        raise refused(reference, "the absolute path of a .gguf file on the worker's machine, without ..")
    return Parsed(url=SCHEME + quote(str(path)))


def write(parsed: Parsed) -> str:
    return unquote(parsed.url.removeprefix(SCHEME))


SOURCE = Source(
    name="gguf", title="GGUF file on the worker", example="/srv/bases/model.Q4_1.gguf",
    sniff=sniff, parse=parse, write=write,
)  # fmt: skip
