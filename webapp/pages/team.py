"""The team: its people and roles, invitations, links in force, keys; and for administrators a new team."""

import gradio as gr

from webapp.actions.links import list_links
from webapp.actions.team import show_team
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import caller, on, on_load
from webapp.views.people import team_doors, team_invite, team_new, team_people


def build(deps: Deps) -> None:
    people = gr.HTML(padding=False, apply_default_css=False)
    # Filled once: an invitation that was just made stays in sight.
    invite = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    doors = gr.HTML(padding=False, apply_default_css=False)
    new_team = gr.HTML(padding=False, apply_default_css=False, elem_classes="tr-when-filled")
    refresh = gr.Button("Refresh", elem_id="team-refresh", elem_classes="tr-hidden")

    def fill(request: gr.Request) -> tuple[str, str]:
        member = caller(request)
        team = show_team(deps, member)
        return team_people({"team": team}), team_doors({"team": team, "links": list_links(deps, member)})

    def begin(request: gr.Request) -> tuple[str, str, str, str]:
        team = show_team(deps, caller(request))
        forms = team_invite() if team.may_manage else "", team_new() if team.is_admin else ""
        return *forms, *fill(request)

    on_load(begin, [invite, new_team, people, doors])
    on(refresh.click, fill, None, [people, doors])


PAGE = Page(path="/team", title="Team", build=build)
