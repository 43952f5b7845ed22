"""S11: no stored text ever becomes a script. A furnished team whose every text is a payload, all pages, a real browser.

The canary is `window.__xss`, set by every payload that runs; dialogs and navigations away count as well.
"""

import itertools
import json
from typing import Any

from playwright.sync_api import expect
from sqlalchemy import JSON, String, Text, select, update

from models.db.tables import Base
from tests.browser import Site, chromium, site
from tests.furnished import Furnished, furnish
from tests.light_worker import LightWorker, do_waiting
from webapp.pages import all_pages

__all__ = ["chromium", "site"]

RUN = "window.__xss=(window.__xss||0)+1"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<iframe srcdoc='<script>parent.{RUN.replace('window.', '')}</script>'></iframe>",
    f"<a href=\"javascript:{RUN}\">open me</a>",
    f"javascript:{RUN}",
    f"\" autofocus onfocus=\"{RUN}\" x=\"",
    f"' onmouseover='{RUN}' x='",
    f"\"><img src=x onerror={RUN}>",
    f"</textarea><img src=x onerror={RUN}>",
    f"</title></style></script><img src=x onerror={RUN}>",
    f"</template><img src=x onerror={RUN}>",
    f"-->  <img src=x onerror={RUN}>",
    f"${{{RUN}}}",
    f"${{(()=>{{{RUN}}})()}}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"{{% print({RUN}) %}}{{{{7*7}}}}",
    f"[open me](javascript:{RUN})",
    f"![x](x\"onerror=\"{RUN})",
    f"```html\n<img src=x onerror={RUN}>\n```",
    f"<math><mtext></p><img src=x onerror={RUN}></mtext></math>",
    f"$$\\href{{javascript:{RUN}}}{{x}}$$",
    f"＜img src=x onerror={RUN}＞ &lt;img src=x onerror={RUN}&gt;",
    f"\u202e<img src=x onerror={RUN}>\u2066",
    f"<scr\u0131pt>{RUN}</scr\u0131pt><ſcript>{RUN}</ſcript>",
    f"<style>@import 'javascript:{RUN}';</style><link rel=stylesheet href=javascript:{RUN}>",
    f"<form action=javascript:{RUN}><input type=submit autofocus></form>",
)  # fmt: skip
TEXTS = {
    "datasets": ("name",),
    "dataset_versions": ("filename", "status_details", "report", "note", "source"),
    "dataset_parts": ("filename",),
    "dataset_reports": ("facts",),
    "jobs": ("log_tail", "error", "meta", "phase"),
    "job_events": ("message", "data"),
    "base_models": ("name", "description", "licence", "reference", "source"),
    "adapters": ("name", "suffix", "card", "manifest"),
    "merges": ("name", "report"),
    "links": ("title", "sentence"),
    "conversations": ("title",),
    "messages": ("content", "model"),
    "teams": ("name",),
    "users": ("email",),
    "invitations": ("email",),
    "api_keys": ("name",),
    "sign_ins": ("agent", "address"),
    "workers": ("host",),
}  # fmt: skip
"""Every column that holds what a person, a file or a model said, where it can be shown."""
NOT_SHOWN_TEXTS = {"jobs.phase", "workers.host"}


def poison(site: Site) -> set[str]:
    """Put payloads into every text; returns those that were stored."""
    stream, used = itertools.cycle(PAYLOADS), set()
    with site.house.deps.database.write() as session:
        for name, columns in TEXTS.items():
            table = Base.metadata.tables[name]
            for column in (table.c[column] for column in columns if column in table.c):
                for row in session.execute(select(*table.primary_key.columns, column)).all():
                    if row[-1] is None:
                        continue
                    old, payload = row[-1], next(stream)
                    new = _poisoned(old, stream) if isinstance(old, dict | list) else _fitting(payload, column, old)
                    here = [key == value for key, value in zip(table.primary_key.columns, row[:-1], strict=True)]
                    session.execute(update(table).where(*here).values({column.name: new}))
                    used.add(payload)
    return used


def _poisoned(value: Any, stream: Any) -> Any:
    """The same shape, with a payload in place of each text that no code decides on."""
    match value:
        case dict():
            kept = ("code", "kind", "type", "method", "mode", "storage", "verdict", "quantisation", "format", "targets")
            return {name: item if name in kept else _poisoned(item, stream) for name, item in value.items()}
        case list():
            return [_poisoned(item, stream) for item in value]
        case str():
            return next(stream)
        case _:
            return value


def _fitting(payload: str, column: Any, old: str) -> str:
    """Unique where it must be, and no longer than the column."""
    assert isinstance(column.type, String | Text | JSON)
    text = f"{payload} {abs(hash(old)) % 10_000}" if column.name in ("name", "email") else payload
    length = getattr(column.type, "length", None)
    return text[:length] if length else text


def test_no_text_of_anybody_runs_as_a_script(site, tmp_path):
    made = furnish(site.house)
    rows = _upload_rows(site, made)
    assert len(PAYLOADS) >= 20 and poison(site) == set(PAYLOADS)
    context = site.context(made.owner)
    context.add_init_script("window.__xss = 0")
    page, said = context.new_page(), []
    page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: said.append(f"error {error}"))
    page.on("console", lambda message: said.append(message.text) if "Content Security" in message.text else None)
    shown = 0
    with LightWorker(site.house):
        for path, awaited in [*((path, "") for path in _addresses(made)), *_data_addresses(made, rows).items()]:
            page.goto(site.url + path)
            page.locator(".tr-right").wait_for()
            page.locator(awaited).first.wait_for() if awaited else page.wait_for_timeout(1200)
            _touch(page)
            assert page.evaluate("window.__xss") == 0, path
            assert page.url.startswith(site.url), path
            shown += page.locator("body").inner_text().count("__xss")
            made_of_text = "img[src='x'], iframe[srcdoc], a[href^='javascript:'], [onerror], [onload]"
            assert not page.locator(made_of_text).count(), path
    assert shown > 60  # the payloads are there to be read
    _link_page(site, made)
    assert said == []


def _addresses(made: Furnished) -> list[str]:
    with_ids = {
        "/dataset": [f"/dataset?id={made.dataset}", f"/dataset?id={made.broken_dataset}&tab=report"],
        "/run": [f"/run?id={made.run}", f"/run?id={made.failed_run}"],
        "/adapter": [f"/adapter?id={made.adapter}", f"/adapter?id={made.merge}"],
        "/playground": [f"/playground?conversation={made.conversation}"],
    }
    found = [address for page in all_pages() for address in with_ids.get(page.path, [page.path])]
    return [*found, *(f"{page.path}?id={PAYLOADS[1]}&q={PAYLOADS[11]}" for page in all_pages())]


def _data_addresses(made: Furnished, rows: str) -> dict[str, str]:
    """Where rows, tokens, columns and findings are shown, each with what is there once they are."""
    messy = f"/dataset?id={made.messy_dataset}"
    return {
        f"/dataset?id={rows}": ".tr-data-rows",
        f"/dataset?id={rows}&row=2": ".tr-data-words",
        f"/dataset?id={rows}&tab=preview&row=2": ".tr-pv-text",
        f"/dataset?id={rows}&row=2&edit=1": ".tr-ed textarea",
        f"/dataset?id={rows}&tab=report&map=1": ".tr-map-row",
        f"/dataset?id={made.unmapped_dataset}&tab=report": ".tr-map",
        f"{messy}&tab=report&v=1": ".tr-rep-percents",
        f"{messy}&tab=versions&with=1&to=2": ".tr-cmp-sum",
    }


def _upload_rows(site: Site, made: Furnished) -> str:
    """A dataset of payloads, also as a column's name; returns its id."""
    rows = b"".join(
        json.dumps({"messages": _turns(one, two), PAYLOADS[1]: one}).encode() + b"\n"
        for one, two in itertools.pairwise(PAYLOADS)
    )
    answer = site.house.client.post(
        "/v1/files", files={"file": ("rows.jsonl", rows)}, data={"purpose": "fine-tune"}, headers=made.owner.headers
    )
    assert answer.status_code in (200, 201), answer.text
    do_waiting(site.house)
    return answer.json()["tuneroom"]["dataset"]


def _turns(asked: str, answered: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def _touch(page: Any) -> None:
    """What payloads wait for: the mouse over everything, focus, open details."""
    page.evaluate(
        """() => { for (const one of document.querySelectorAll('.tr *')) {
             one.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}));
             if (one.tagName === 'DETAILS') one.open = true; } }"""
    )


def _link_page(site: Site, made: Furnished) -> None:
    """The page of a link, for somebody without an account."""
    page = site.context().new_page()
    page.add_init_script("window.__xss = 0")
    page.goto(f"{site.url}/s/{made.link_token}")
    expect(page.locator("h1")).to_contain_text("__xss")
    assert page.evaluate("window.__xss") == 0
