"""The team: its people and roles, invitations, links in force, keys, trackers; and for administrators a new team."""

import gradio as gr

from models.domain.access import Member
from models.domain.errors import Forbidden
from webapp.actions.links import list_links
from webapp.actions.team import show_team
from webapp.actions.trackers import list_trackers, tracker_choices
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import caller, on, on_load
from webapp.views.people import team_doors, team_invite, team_new, team_people, team_tracker_forms, team_trackers


def build(deps: Deps) -> None:
    people = gr.HTML(padding=False, apply_default_css=False)
    # Filled once: an invitation that was just made stays in sight.
    invite = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    doors = gr.HTML(padding=False, apply_default_css=False)
    trackers = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    tracker_forms = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    new_team = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    refresh = gr.Button("Refresh", elem_id="team-refresh", elem_classes="tr-hidden")

    def fill(request: gr.Request) -> tuple[str, str, str]:
        member = caller(request)
        team = show_team(deps, member)
        doors = team_doors({"team": team, "links": list_links(deps, member)})
        return team_people({"team": team}), doors, _trackers(deps, member)

    def begin(request: gr.Request) -> tuple[str, ...]:
        team = show_team(deps, caller(request))
        forms = team_invite() if team.may_manage else "", team_new() if team.is_admin else ""
        told = fill(request)
        return *forms, team_tracker_forms(tracker_choices()) if told[-1] else "", *told

    on_load(begin, [invite, new_team, tracker_forms, people, doors, trackers])
    on(refresh.click, fill, None, [people, doors, trackers])


def _trackers(deps: Deps, member: Member) -> str:
    """Owners see them; for the others the place stays empty."""
    try:
        return team_trackers(list_trackers(deps, member))
    except Forbidden:
        return ""


PAGE = Page(path="/team", title="Team", build=build)
