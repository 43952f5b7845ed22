"""A chat template: turns to text in a sandbox, with what transformers' templates may use. Knows no tokens.

A template is foreign code. The sandbox keeps it from our objects; it does not bound its time or memory: run it in
a process that may be killed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils

from models.domain.errors import Code, Invalid
from models.domain.example import ToolCall, Turn

LARGEST_TEMPLATE_BYTES = 64 * 1024
OUR_WORDS = frozenset({"messages", "tools", "documents", "add_generation_prompt"})

# What Python raises when a template adds None to a text, divides by zero, calls what is not there ...
_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    SyntaxError,
)


class ChatTemplate:
    """One compiled template.

    Raises Invalid with code `template` where the source is too large, does not compile, or refuses the turns.
    `now` gives the date that some templates write into the system turn.
    """

    def __init__(self, source: str, *, now: Callable[[], datetime] = datetime.now) -> None:
        if len(source.encode("utf-8", "replace")) > LARGEST_TEMPLATE_BYTES:
            raise Invalid(
                f"the base's chat template has {len(source)} characters; at most {LARGEST_TEMPLATE_BYTES} bytes are "
                "read. Choose another base or shorten its template.",
                code=Code.TEMPLATE,
                kind="template_refuses",
            )
        self.source = source
        try:
            self._compiled = _environment(now).from_string(source)
        except _FAULTS as fault:
            raise _refused("does not compile", fault) from None

    def render(
        self,
        turns: Sequence[Turn],
        tools: Sequence[Mapping[str, Any]],
        *,
        is_prompt: bool,
        arguments: Mapping[str, Any],
    ) -> str:
        """The text of the turns; with `is_prompt`, also the opening of the assistant's next turn."""
        reserved = OUR_WORDS & arguments.keys()
        if reserved:
            raise Invalid(
                f"template argument {sorted(reserved)[0]} is set by us; choose other names.",
                code=Code.INVALID_SETTING,
                param="template_arguments",
            )
        try:
            return self._compiled.render(
                messages=[message_of(turn) for turn in turns],
                # Templates ask `if tools`; transformers hands over None, never an empty list.
                tools=[dict(tool) for tool in tools] or None,
                documents=None,
                add_generation_prompt=is_prompt,
                **arguments,
            )
        except _FAULTS as fault:
            raise _refused("refuses these messages", fault) from None


def message_of(turn: Turn) -> dict[str, Any]:
    """A turn as chat templates expect it: arguments as an object, reasoning under its two usual names."""
    message: dict[str, Any] = {"role": str(turn.role), "content": turn.content}
    if turn.name is not None:
        message["name"] = turn.name
    if turn.reasoning is not None:
        message["thinking"] = message["reasoning_content"] = turn.reasoning
    if turn.tool_calls:
        message["tool_calls"] = [_call_of(call) for call in turn.tool_calls]
    if turn.tool_call_id is not None:
        message["tool_call_id"] = turn.tool_call_id
    return message


def default_source(*, writes_bos: bool) -> str:
    """A template for bases that have none: plain words, which every tokenizer can spell, and the base's own EOS."""
    return (
        ("{{ bos_token }}" if writes_bos else "")
        + "{% for message in messages %}"
        + "{{ message.role | capitalize }}: {{ message.content }}"
        + "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}"
        + "{% endfor %}"
        + "{% if add_generation_prompt %}Assistant:{% endif %}"
    )


def _call_of(call: ToolCall) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
    return row if call.id is None else {"id": call.id, **row}


def _refused(what: str, fault: Exception) -> Invalid:
    reason = str(fault).strip().splitlines()[0][:200] if str(fault).strip() else type(fault).__name__
    return Invalid(
        f"the base's chat template {what}: {reason}.", code=Code.TEMPLATE, kind="template_refuses", reason=reason
    )


class _Generation(jinja2.ext.Extension):
    """Lets `{% generation %}` pass. We find answers by rendering prefixes; few templates carry the marks."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as an instance variable

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """jinja2's namespace without names that begin with an underscore: they reach into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        for name in dict(*rest, **kwargs):
            _check_name(name)
        jinja2.utils.Namespace.__init__(self, *rest, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: str) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not set the name {name}")


def _environment(now: Callable[[], datetime]) -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(str(message))

    def strftime_now(form: str) -> str:
        return now().strftime(form)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        # jinja2's own filter escapes < and > for HTML, which no base was trained on.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, namespace=_Namespace)
    return environment
