"""/api/v1/people, /invitations, /teams: who is in the team. Changes only from a signed-in browser, never by a key."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from webapp.actions.invitations import InvitationSeen, invite, list_invitations, revoke_invitation
from webapp.actions.team import PersonSeen, add_team, list_people, remove_person, set_role
from webapp.routes.asking import Body, Caller, Parts, unix
from webapp.routes.link_address import outside_address

router = APIRouter()


class RoleBody(Body):
    role: str = Field(max_length=40)


class InvitationBody(Body):
    role: str = Field(default="member", max_length=40)
    email: str = Field(default="", max_length=1000)


class TeamBody(Body):
    name: str = Field(max_length=1000)


@router.get("/people")
def people(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [person_object(person) for person in list_people(parts, caller)]}


@router.patch("/people/{person}")
def change_role(parts: Parts, caller: Caller, person: str, body: RoleBody) -> dict[str, Any]:
    set_role(parts, caller, person, body.role)
    return {"id": person, "object": "person", "role": body.role}


@router.delete("/people/{person}")
def remove(parts: Parts, caller: Caller, person: str) -> dict[str, Any]:
    remove_person(parts, caller, person)
    return {"id": person, "object": "person", "deleted": True}


@router.get("/invitations")
def invitations(parts: Parts, caller: Caller) -> dict[str, Any]:
    return {"object": "list", "data": [invitation_object(seen) for seen in list_invitations(parts, caller)]}


@router.post("/invitations", status_code=201)
def create_invitation(request: Request, parts: Parts, caller: Caller, body: InvitationBody) -> dict[str, Any]:
    """`url` is in this answer alone."""
    made = invite(parts, caller, body.role, body.email)
    return invitation_object(made.seen) | {"url": f"{outside_address(parts, request)}/invite/{made.token}"}


@router.delete("/invitations/{invitation}")
def delete_invitation(parts: Parts, caller: Caller, invitation: str) -> dict[str, Any]:
    revoke_invitation(parts, caller, invitation)
    return {"id": invitation, "object": "invitation", "deleted": True}


@router.post("/teams", status_code=201)
def create_team(parts: Parts, caller: Caller, body: TeamBody) -> dict[str, Any]:
    """For administrators of the installation."""
    return {"id": add_team(parts, caller, body.name), "object": "team", "name": body.name}


def person_object(person: PersonSeen) -> dict[str, Any]:
    return {
        "id": person.user_id,
        "object": "person",
        "email": person.email,
        "role": person.role,
        "is_admin": person.is_admin,
        "joined_at": unix(person.joined_at),
    }


def invitation_object(seen: InvitationSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "invitation",
        "email": seen.email,
        "role": seen.role,
        "created_at": unix(seen.created_at),
        "expires_at": unix(seen.expires_at),
    }
