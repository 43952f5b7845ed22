"""What the pages of adapters know: lists by words, lineage that outlives its files, cards, reports in words."""

import pytest

from models.domain.access import Member, Role
from models.domain.errors import Forbidden, Invalid, NotFound
from webapp.actions.browse_adapters import ShelfAsked, browse_adapters
from webapp.actions.describe_adapter import describe_adapter, describe_merge
from webapp.actions.write_card import LONGEST_CARD, write_card
from webapp.views.adapter_words import report_in_words
from webapp.views.model_names import short_name


@pytest.fixture
def anna(house):
    return house.person()


@pytest.fixture
def made(house, anna):
    """(run, adapter, merge) of anna."""
    job, adapter = house.trained(anna, house.base())
    return job, adapter, house.merged(anna, adapter)[1]


def names(house, person, **asked) -> list[str]:
    seen = browse_adapters(house.deps, person.principal, ShelfAsked(**asked))
    return [line.id for line in (*seen.adapters, *seen.merges)]


def test_the_list_is_found_by_every_word_and_wildcards_are_letters(house, anna, made):
    _, adapter, merge = made
    assert names(house, anna) == [adapter]
    assert names(house, anna, of_merges=True) == [merge]
    assert names(house, anna, search="TINY default") == [adapter]
    assert names(house, anna, search="example.org") == [adapter]  # its maker
    for nothing in ("tiny nowhere", "%", "_", "'"):
        assert names(house, anna, search=nothing) == []


def test_a_page_behind_the_last_shows_the_last_and_another_teams_list_is_empty(house, anna, made):
    assert names(house, anna, page=99) == [made[1]]
    stranger = house.person(Role.OWNER, house.team("others"))
    seen = browse_adapters(house.deps, stranger.principal, ShelfAsked())
    assert (seen.adapters, seen.adapter_count, seen.merge_count) == ((), 0, 0)


def test_the_address_of_the_list_is_taken_as_it_comes():
    assert ShelfAsked.of(kind="merges", search=" a\0b ", page="3") == ShelfAsked(of_merges=True, search="ab", page=3)
    for page in ("0", "-1", "x", "", "9" * 40, "٣"):
        assert ShelfAsked.of(page=page).page == 1


def test_lineage_names_what_is_gone_without_a_link_to_it(house, anna, made):
    job, adapter, merge = made
    page = describe_adapter(house.deps, anna.principal, adapter)
    assert [(step.what, step.href) for step in page.lineage][2:] == [
        ("Run", f"/run?id={job}"),
        ("Adapter", f"/adapter?id={adapter}"),
    ]
    assert [step.href for step in page.merges] == [f"/adapter?id={merge}"]
    dataset = (page.lineage[1].href or "").removeprefix("/dataset?id=")
    for noun, row in (("datasets", dataset), ("adapters", adapter)):
        assert house.client.delete(f"/api/v1/{noun}/{row}", headers=anna.headers).status_code == 200
    after = describe_merge(house.deps, anna.principal, merge).lineage
    assert [(step.what, step.href) for step in after] == [
        ("Base model", "/bases"),
        ("Dataset", None),
        ("Run", f"/run?id={job}"),
        ("Adapter", None),
        ("Merge", f"/adapter?id={merge}"),
    ]
    with pytest.raises(NotFound):
        describe_adapter(house.deps, anna.principal, adapter)


def test_who_may_do_what_on_the_page(house, anna, made):
    _, adapter, merge = made
    rights = {}
    for role, person in (("maker", anna), ("viewer", house.person(Role.VIEWER)), ("member", house.person())):
        page = describe_adapter(house.deps, person.principal, adapter)
        rights[role] = (page.may_chat, page.may_merge, page.may_share, page.may_change, page.may_delete)
    assert rights == {
        "maker": (True, True, True, True, True),
        "member": (True, True, True, False, False),
        "viewer": (True, False, False, False, False),
    }
    stranger = house.person(Role.OWNER, house.team("others")).principal
    for describe, row in ((describe_adapter, adapter), (describe_merge, merge)):
        with pytest.raises(NotFound):
            describe(house.deps, stranger, row)


def test_a_card_is_written_by_who_may_change_the_adapter_and_has_an_end(house, anna, made):
    _, adapter, _ = made
    assert write_card(house.deps, anna.principal, adapter, " # Hi\r\n\0 ") == "# Hi"
    assert describe_adapter(house.deps, anna.principal, adapter).card == "# Hi"
    with pytest.raises(Invalid):
        write_card(house.deps, anna.principal, adapter, "x" * (LONGEST_CARD + 1))
    with pytest.raises(Forbidden):
        write_card(house.deps, house.person().principal, adapter, "mine")
    owner = Member(user=anna.principal.user, team=house.team("others"), role=Role.OWNER, is_admin=True)
    with pytest.raises(NotFound):
        write_card(house.deps, owner, adapter, "mine")
    assert describe_adapter(house.deps, anna.principal, adapter).card == "# Hi"


@pytest.mark.parametrize(
    ("public_id", "short"),
    [
        ("ft:smollm2:default:house-style:x1", "house-style"),
        ("ft:smollm2:default:a:b:x1", "a:b"),
        ("ft:smollm2:default::x1", "smollm2 x1"),
        ("merge:smollm2:default:house-style:x1:m2", "house-style merged m2"),
        ("smollm2", "smollm2"),
    ],
)
def test_a_short_name_is_what_a_person_called_it(public_id, short):
    assert short_name(public_id) == short


def test_a_report_of_another_version_keeps_its_verdict():
    assert report_in_words(None) is None
    told = report_in_words({"passed": True, "unknown": 1})
    assert told is not None
    assert (told.has_passed, told.findings) == (True, ())
