"""One's own account: API keys, password, and the browsers that are signed in."""

import gradio as gr

from webapp.actions.my_keys import my_keys
from webapp.actions.sessions import my_sign_ins
from webapp.actions.who_am_i import who_am_i
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import caller, on, on_load
from webapp.views.people import (
    Browser,
    account_head,
    account_key_form,
    account_keys,
    account_password,
    account_sign_ins,
    device_name,
)


def build(deps: Deps) -> None:
    head = gr.HTML(padding=False, apply_default_css=False)
    gr.HTML(
        account_key_form(), padding=False, apply_default_css=False
    )  # not filled anew: a key that was just made stays in sight
    keys = gr.HTML(padding=False, apply_default_css=False)
    sign_ins = gr.HTML(padding=False, apply_default_css=False)
    password = gr.HTML(padding=False, apply_default_css=False)
    refresh = gr.Button("Refresh", elem_id="account-refresh", elem_classes="tr-hidden")

    def fill(request: gr.Request) -> tuple[str, str]:
        member = caller(request)
        browsers = [
            Browser(
                id=seen.id, device=device_name(seen.agent), address=seen.address, created_at=seen.created_at,
                seen_at=seen.seen_at, is_this=seen.is_this,
            )
            for seen in my_sign_ins(deps, member)
        ]  # fmt: skip
        return account_keys(my_keys(deps, member), who_am_i(deps, member).team_name), account_sign_ins(browsers)

    def begin(request: gr.Request) -> tuple[str, str, str, str]:
        me = who_am_i(deps, caller(request))
        email = me.email or ""
        return account_head(email, me.team_name, me.role), account_password(email), *fill(request)

    on_load(begin, [head, password, keys, sign_ins])
    on(refresh.click, fill, None, [keys, sign_ins])


PAGE = Page(path="/account", title="Your account", build=build)
