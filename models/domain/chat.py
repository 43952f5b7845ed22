"""A question to the chat worker and the tokens that come back."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from models.domain.ids import Sha256
from models.domain.training import Quantisation, Spec


class TreeRef(Spec):
    """A directory in storage: its scope ("shared" or "team/<id>") and the sha256 of its listing."""

    scope: str
    sha256: Sha256


class ServedModel(Spec):
    """What to load: a base (or merge) on a quantisation, with or without an adapter."""

    public_id: str
    base: TreeRef
    quantisation: Quantisation
    adapter: TreeRef | None = None


class Sampling(Spec):
    """How to draw tokens. temperature 0 is greedy. The seed fixes this request alone."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1, le=131_072)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    stop: tuple[str, ...] = Field(default=(), max_length=4)


class ChatRequest(Spec):
    """One answer wanted. `messages` are OpenAI-shaped; after `deadline_at` nobody waits for it any more."""

    request_id: str
    model: ServedModel
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    template_arguments: dict[str, str | bool | int] = Field(default_factory=dict)
    deadline_at: datetime


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Waiting(_Token):
    """Queued behind `ahead` other answers."""

    type: Literal["waiting"] = "waiting"
    ahead: int


class Loading(_Token):
    """The model is being brought into memory."""

    type: Literal["loading"] = "loading"
    what: str


class Delta(_Token):
    """More text."""

    type: Literal["delta"] = "delta"
    text: str


class Done(_Token):
    """The end, with its reason and figures."""

    type: Literal["done"] = "done"
    finish_reason: Literal["stop", "length", "stopped"]
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float
    tokens_per_second: float


class Failed(_Token):
    """The end, without an answer: an AppError as JSON."""

    type: Literal["failed"] = "failed"
    error: dict[str, Any]


TokenEvent = Annotated[Waiting | Loading | Delta | Done | Failed, Field(discriminator="type")]
TOKEN_EVENT: TypeAdapter[TokenEvent] = TypeAdapter(TokenEvent)
