"""Base models in a folder on the worker's machine: an absolute path."""

from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from models.catalog.sources.base import Parsed, Source, refused

SCHEME = "file://"


def sniff(reference: str) -> bool:
    return reference.startswith("/") and not reference.lower().endswith(".gguf")


def parse(reference: str) -> Parsed:
    path = PurePosixPath(reference)
    if not path.is_absolute() or ".." in path.parts or "\0" in reference:
        raise refused(reference, "the absolute path of a folder on the worker's machine, without ..")
    return Parsed(url=SCHEME + quote(str(path)))


def write(parsed: Parsed) -> str:
    return unquote(parsed.url.removeprefix(SCHEME))


SOURCE = Source(
    name="local", title="Folder on the worker", example="/srv/bases/my-model", sniff=sniff, parse=parse, write=write
)
