"""The body of a chat completion: what is used, what is ignored on purpose, and what is refused by name."""

from typing import Any, TypeGuard

from pydantic import Field, ValidationError

from models.domain.chat import Sampling
from models.domain.errors import Invalid
from webapp import words
from webapp.routes.asking import Body

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False  # ignored: a defence of OpenAI's side


class ChatBody(Body):
    model: str = Field(min_length=1, max_length=255)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=2000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None

    # Ignored on purpose: they change nothing about the answer.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    parallel_tool_calls: bool | None = None

    # Refused unless they ask for nothing: an answer that ignored them would be a wrong answer.
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    modalities: list[str] | None = None

    def sampling(self) -> Sampling:
        """Raises Invalid for a value out of range or a wish that is not supported."""
        self._refuse_unsupported()
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        wished = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens,
            "seed": self.seed,
            "stop": stop,
        }
        try:
            return Sampling.model_validate({name: value for name, value in wished.items() if value is not None})
        except ValidationError as error:
            raise words.refused_field(error.errors()) from None

    def turns(self) -> tuple[dict[str, Any], ...]:
        """The messages with plain text contents and the roles that chat templates know."""
        return tuple(_turn(number, message) for number, message in enumerate(self.messages))

    def _refuse_unsupported(self) -> None:
        unsupported = {
            "n": self.n not in (None, 1),
            "tools": bool(self.tools),
            "tool_choice": self.tool_choice not in (None, "none", "auto"),
            "functions": bool(self.functions),
            "function_call": self.function_call not in (None, "none", "auto"),
            "response_format": self.response_format not in (None, {"type": "text"}),
            "logprobs": bool(self.logprobs),
            "top_logprobs": bool(self.top_logprobs),
            "logit_bias": bool(self.logit_bias),
            "presence_penalty": bool(self.presence_penalty),
            "frequency_penalty": bool(self.frequency_penalty),
            "modalities": self.modalities not in (None, ["text"]),
        }
        for name, is_wished in unsupported.items():
            if is_wished:
                raise Invalid(
                    f"{name} is not supported here in this form. Leave it out, or at its default.", param=name
                )


def _turn(number: int, message: dict[str, Any]) -> dict[str, Any]:
    where = f"messages.{number}"
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Invalid(
            f"{where}.role is {str(role)[:40]!r}; one of {', '.join(ROLES)} was needed.", param=f"{where}.role"
        )
    if message.get("tool_calls") or message.get("function_call"):
        raise Invalid(f"{where} carries tool calls, which are not supported yet. Leave them out.", param=where)
    return {"role": ROLES[role], "content": _text(where, message.get("content"))}


def _text(where: str, content: Any) -> str:
    """A string, or OpenAI's list of parts where every part is text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) and content else [None]
    texts = [part["text"] for part in parts if _is_text(part)]
    if len(texts) != len(parts):
        raise Invalid(f"{where}.content must be text: these models see nothing else.", param=f"{where}.content")
    return "".join(texts)


def _is_text(part: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
