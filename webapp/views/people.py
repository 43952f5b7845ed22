"""The account's and the team's pages, as HTML. Roles and rights come as facts; nothing is decided here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from webapp.views.markup import render

ROLES = (
    ("owner", "manages people, keys and everything"),
    ("member", "adds data, trains, shares; changes only what is theirs"),
    ("viewer", "looks and chats"),
)
_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Browser:
    """A sign-in as its person recognises it."""

    id: str
    device: str
    address: str
    created_at: datetime
    seen_at: datetime
    is_this: bool


def device_name(agent: str) -> str:
    """ "Firefox on Linux" of what a browser says about itself; it may say anything, so it is only shown."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or (agent[:40] if agent else "unknown browser")


def account_head(email: str, team_name: str, role: str | None) -> Markup:
    return render("account_head.html", email=email, team_name=team_name, role=role)


def account_password(email: str) -> Markup:
    return render("account_password.html", email=email)


def account_key_form() -> Markup:
    return render("account_key_form.html")


def account_keys(keys: Sequence[Any], team_name: str) -> Markup:
    return render("account_keys.html", keys=keys, team_name=team_name)


def account_sign_ins(browsers: Sequence[Browser]) -> Markup:
    return render("account_sign_ins.html", browsers=browsers)


def team_people(facts: Mapping[str, Any]) -> Markup:
    return render("team_people.html", roles=ROLES, **facts)


def team_invite() -> Markup:
    return render("team_invite.html", roles=ROLES)


def team_doors(facts: Mapping[str, Any]) -> Markup:
    """Invitations, links and keys: all that lets somebody in from outside."""
    return render("team_doors.html", **facts)


def team_trackers(trackers: Sequence[Any]) -> Markup:
    return render("team_trackers.html", trackers=trackers)


def team_tracker_forms(choices: Sequence[Any]) -> Markup:
    return render("team_tracker_forms.html", choices=choices)


def team_new() -> Markup:
    return render("team_new.html")
