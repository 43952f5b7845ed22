"""What a tracker is, so far as a form and a wall need it. Knows words; the library is the worker's business.

To add a tracker, add a file beside this one that exports TRACKER, and `worker/trackers/<name>.py` that speaks to it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from models.domain.addresses import check_literal, host_of
from models.domain.errors import Forbidden

LOCAL = "local"  # instead of an address: below the team's own folder on the worker's machine


class Options(BaseModel):
    """What a team enters; each field has a title and a description, and is one line of text or a choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoOptions(Options):
    """Nothing to enter."""


def project_field() -> Any:
    """The name under which runs stand together."""
    return Field(
        default="tuneroom", title="Project", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="Runs stand together under this name.",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """`addresses(options)`: the URLs it is going to speak to, `is_local`: does it write on the worker's machine.

    `token` is what its secret is called; None: it has none. `library` is the module it needs; None: it needs none.
    `is_own_network`: its library speaks through a program of its own, whose connections cannot be watched, so an
    address other than `home` must be one that the administrator named.
    """

    name: str
    title: str
    when: str
    options: type[Options]
    library: str | None = None
    token: str | None = None
    needs_token: Callable[[Any], bool] = lambda options: False
    addresses: Callable[[Any], tuple[str, ...]] = lambda options: ()
    is_local: Callable[[Any], bool] = lambda options: False
    is_own_network: bool = False
    home: str | None = None

    def check(self, options: Any, hosts: Collection[str], may_be_local: bool) -> None:
        """Raise Forbidden where an installation with these named hosts does not allow such a tracker."""
        if self.is_local(options) and not may_be_local:
            raise Forbidden(
                f"{self.title} would keep files on the worker's machine, which this installation does not allow. Enter "
                "a server, take TensorBoard, or ask an administrator to set TUNEROOM_TRACKER_LOCAL=true."
            )
        for address in self.addresses(options):
            check_literal(address, hosts)
            if self.is_own_network and address != self.home and host_of(address) not in hosts:
                raise Forbidden(
                    f"{host_of(address)} is not one of the servers that {self.title} may speak to here. An "
                    "administrator who trusts it adds its name to TUNEROOM_TRACKER_HOSTS."
                )


def web_address(value: str, *, what: str) -> str:
    """The address of a server, plain. Raises ValueError: http or https was needed, a host, and nothing secret."""
    needed = ValueError(f"{value[:100]!r} is no address of {what}; https://host or https://host:port was needed.")
    try:
        parts = urlsplit(value.strip())
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise needed from None
    if not is_one:
        raise needed
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"The address of {what} holds more than a host and a path. Enter a password as the token.")
    return value.strip().rstrip("/")
