"""The one table of who may do what. Written out by hand, so that a change of `can` shows here."""

import pytest

from models.domain.access import Key, Kind, Link, Member, Object, Role, System, Verb, can
from models.domain.ids import AdapterId, KeyId, LinkId, TeamId, UserId

TEAM, OTHERS = TeamId("team-a"), TeamId("team-b")
ME, SOMEBODY = UserId("user-me"), UserId("user-somebody")
R, U, C, X, D = Verb.READ, Verb.USE, Verb.CREATE, Verb.CHANGE, Verb.DELETE
ALL = {R, U, C, X, D}
WORK = (Kind.DATASET, Kind.JOB, Kind.ADAPTER, Kind.MERGE, Kind.LINK, Kind.PRESET)


def verbs(principal, kind: Kind, team: TeamId | None, owner: UserId | None) -> set[Verb]:
    return {verb for verb in Verb if can(principal, verb, Object(kind=kind, team=team, owner=owner))}


def member(role: Role, *, is_admin: bool = False) -> Member:
    return Member(user=ME, team=TEAM, role=role, is_admin=is_admin)


def key(role: Role) -> Key:
    return Key(key=KeyId("key-1"), user=ME, team=TEAM, role=role)


@pytest.mark.parametrize("as_principal", [member, key], ids=["signed in", "by key"])
@pytest.mark.parametrize(
    ("role", "kinds", "own", "of_others"),
    [
        (Role.OWNER, WORK, ALL, ALL),
        (Role.MEMBER, WORK, ALL, {R, U, C}),
        (Role.VIEWER, (Kind.DATASET, Kind.JOB, Kind.PRESET), {R}, {R}),
        (Role.VIEWER, (Kind.ADAPTER, Kind.MERGE, Kind.BASE), {R, U}, {R, U}),
        (Role.OWNER, (Kind.BASE,), ALL, ALL),
        (Role.MEMBER, (Kind.BASE,), {R, U}, {R, U}),
        (Role.OWNER, (Kind.CONVERSATION,), ALL, {C}),
        (Role.MEMBER, (Kind.CONVERSATION,), ALL, {C}),
        (Role.VIEWER, (Kind.CONVERSATION,), ALL, {C}),
        (Role.OWNER, (Kind.SECRET,), ALL, ALL),
        (Role.MEMBER, (Kind.SECRET,), set(), set()),
        (Role.VIEWER, (Kind.SECRET,), set(), set()),
        (Role.MEMBER, (Kind.PERSON,), {R}, {R}),
        (Role.VIEWER, (Kind.PERSON, Kind.LINK), {R}, {R}),
    ],
)
def test_a_role_may_exactly_this_within_its_team(as_principal, role, kinds, own, of_others):
    for kind in kinds:
        assert verbs(as_principal(role), kind, TEAM, ME) == own, kind
        assert verbs(as_principal(role), kind, TEAM, SOMEBODY) == of_others, kind


@pytest.mark.parametrize("role", Role)
def test_what_is_private_is_there_for_its_owner_alone(role):
    mine, theirs = (Object(kind=Kind.PRESET, team=TEAM, owner=who, is_private=True) for who in (ME, SOMEBODY))
    shared = Object(kind=Kind.PRESET, team=TEAM, owner=ME)
    for principal in (member(role), member(role, is_admin=True), key(role)):
        assert [can(principal, verb, mine) for verb in Verb] == [can(principal, verb, shared) for verb in Verb]
        assert not any(can(principal, verb, theirs) for verb in Verb)


@pytest.mark.parametrize(
    ("role", "kind", "own", "of_others"),
    [
        (Role.OWNER, Kind.PERSON, ALL, ALL),
        (Role.OWNER, Kind.KEY, ALL, {R, D}),
        (Role.MEMBER, Kind.KEY, ALL, set()),
        (Role.VIEWER, Kind.KEY, ALL, set()),
        (Role.OWNER, Kind.SIGN_IN, ALL, set()),
        (Role.MEMBER, Kind.SIGN_IN, ALL, set()),
        (Role.VIEWER, Kind.SIGN_IN, ALL, set()),
    ],
)
def test_people_keys_and_sign_ins_are_managed_in_a_browser_and_never_by_a_key(role, kind, own, of_others):
    assert verbs(member(role), kind, TEAM, ME) == own
    assert verbs(member(role), kind, TEAM, SOMEBODY) == of_others
    assert verbs(key(role), kind, TEAM, ME) == own & {R}
    assert verbs(key(role), kind, TEAM, SOMEBODY) == of_others & {R}


def test_not_even_an_administrator_sees_or_ends_somebody_elses_browser():
    assert verbs(member(Role.OWNER, is_admin=True), Kind.SIGN_IN, TEAM, SOMEBODY) == set()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("role", Role)
def test_nobody_may_anything_in_another_team(role, kind):
    for principal in (member(role), key(role)):
        assert verbs(principal, kind, OTHERS, ME) == set()


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.PERSON])
def test_an_instance_admin_may_nothing_in_another_team_either(kind):
    assert verbs(member(Role.VIEWER, is_admin=True), kind, OTHERS, ME) == set()


def test_an_instance_admin_manages_people_everywhere_and_what_is_instance_wide():
    admin = member(Role.VIEWER, is_admin=True)
    assert verbs(admin, Kind.PERSON, OTHERS, SOMEBODY) == ALL
    assert verbs(admin, Kind.BASE, None, None) == ALL


@pytest.mark.parametrize("role", Role)
def test_what_is_instance_wide_is_read_and_used_by_all_and_written_by_no_key(role):
    for kind in (Kind.BASE, Kind.DATASET, Kind.JOB):
        assert verbs(key(role), kind, None, None) == {R, U}
        assert verbs(member(role), kind, None, None) == {R, U}


def test_a_link_may_use_its_one_adapter_and_nothing_else():
    link = Link(link=LinkId("link-1"), team=TEAM, adapter=AdapterId("adapter-1"))
    for kind in Kind:
        for team in (TEAM, OTHERS, None):
            for row_id in ("adapter-1", "adapter-2", None):
                thing = Object(kind=kind, team=team, owner=SOMEBODY, id=row_id)
                allowed = {verb for verb in Verb if can(link, verb, thing)}
                is_its_own = (kind, team, row_id) == (Kind.ADAPTER, TEAM, "adapter-1")
                assert allowed == ({U} if is_its_own else set()), thing


def test_the_installation_itself_may_everything():
    for kind in Kind:
        assert verbs(System(team=TEAM), kind, None, None) == verbs(System(team=TEAM), kind, TEAM, ME) == ALL
