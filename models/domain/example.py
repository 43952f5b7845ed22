"""One training row after its format has been parsed. Formats end here; rendering begins here."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(BaseModel):
    """`arguments` is the parsed JSON object, never its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, Any]
    id: str | None = None


class Turn(BaseModel):
    """One message. `weight` 0 keeps an assistant turn out of the loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str
    name: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    weight: Literal[0, 1] = 1


class Conversation(BaseModel):
    """Turns in order, with the tools the assistant could call (JSON schema objects)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["conversation"] = "conversation"
    turns: tuple[Turn, ...] = Field(min_length=1)
    tools: tuple[dict[str, Any], ...] = ()


class Text(BaseModel):
    """A plain document: every token is trained, EOS is appended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["text"] = "text"
    text: str = Field(min_length=1)


class Preference(BaseModel):
    """Two continuations of one beginning, one of them better. `prompt` ends where the two begin to differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["preference"] = "preference"
    prompt: tuple[Turn, ...] = ()
    chosen: tuple[Turn, ...] = Field(min_length=1)
    rejected: tuple[Turn, ...] = Field(min_length=1)
    tools: tuple[dict[str, Any], ...] = ()


class Labelled(BaseModel):
    """A beginning and one continuation that somebody found good (`label` True) or not: KTO's row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["labelled"] = "labelled"
    prompt: tuple[Turn, ...] = Field(min_length=1)
    completion: tuple[Turn, ...] = Field(min_length=1)
    label: bool
    tools: tuple[dict[str, Any], ...] = ()


Example = Annotated[Conversation | Text | Preference | Labelled, Field(discriminator="kind")]
EXAMPLE: TypeAdapter[Example] = TypeAdapter(Example)
