"""A base model as data: where it comes from, and what import found in it (`shapes.json`, `facts.json`)."""

from pydantic import Field

from models.domain.training import Spec


class AddBaseSpec(Spec):
    """Import this reference. `source` names an entry of `models.catalog.sources`."""

    name: str = Field(min_length=1, max_length=96, pattern=r"^[a-z0-9][a-z0-9._-]*$", title="Public id, no slash")
    source: str
    reference: str = Field(title="As the person gave it: org/name@revision, a folder, a .gguf file")
    description: str = Field(default="", max_length=400, title="A sentence for people")


class ModuleShape(Spec):
    """One weight-bearing module of the base, enough to count parameters and bytes without torch."""

    name: str
    kind: str  # linear, embedding, norm, other
    shape: tuple[int, ...]  # linear: (out, in)
    dtype: str
    has_bias: bool = False
    tied_to: str | None = None


class Shapes(Spec):
    """`shapes.json`, written once at import."""

    architecture: str
    hidden_size: int
    layers: int
    vocabulary: int
    context_length: int
    parameters: int
    modules: tuple[ModuleShape, ...]


class BaseFacts(Spec):
    """`facts.json`: what serving and training must agree on."""

    licence: str | None
    chat_template: str | None
    chat_template_sha256: str | None
    tokenizer_sha256: str
    bos_token: str | None
    eos_token: str | None
    stop_token_ids: tuple[int, ...]
    source: str
    revision: str | None
    remark: str | None = Field(default=None, title='For people: "rebuilt from Q4_1", ...')
