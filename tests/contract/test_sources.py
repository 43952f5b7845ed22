"""What every source of base models keeps."""

import pytest

from models.catalog.sources import SOURCES, detect, source_named
from models.domain.errors import Code, Invalid

HOSTILE = [
    "",
    " ",
    "../etc",
    "/srv/../etc",
    "/srv/../x.gguf",
    "a/b/c",
    "http://example.org/a/b",
    "a/b@",
    "a\0/b",
    "-/b",
]


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_a_reference_survives_the_round_trip(source):
    parsed = source.parse(source.example)
    assert source.parse(source.write(parsed)) == parsed


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_no_other_source_claims_the_example(source):
    assert [other.name for other in SOURCES.values() if other.sniff(source.example)] == [source.name]
    assert detect(source.example) is source


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
@pytest.mark.parametrize("reference", HOSTILE)
def test_hostile_references_are_refused_with_a_sentence(source, reference):
    with pytest.raises(Invalid, match="needed:") as refusal:
        source.parse(reference)
    assert refusal.value.code == Code.INVALID_BASE


def test_a_page_of_the_hub_is_the_same_model():
    hub = source_named("hub")
    assert hub.parse("https://huggingface.co/org/name/tree/v1") == hub.parse("org/name@v1")
    assert hub.parse("org/name").revision == "main"


def test_an_unknown_reference_learns_the_known_forms():
    with pytest.raises(Invalid, match="Known forms"):
        detect("smollm")
