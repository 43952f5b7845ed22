"""Nobody without a key gets past the health addresses (S3), and keys die at once."""

import pytest
from starlette.websockets import WebSocketDisconnect

from models.db.tables import ApiKey, User, db_now
from webapp.app import make_app
from webapp.routes.guard import ANONYMOUS, OPEN_TO_ALL

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
UNKNOWN = ("/", "/docs", "/openapi.json", "/redoc", "/v1", "/v1/nothing", "/gradio_api/info", "/healthz/", "//healthz")


def addresses(app) -> list[str]:
    """Every address the application has, however deep its router hangs, with ids filled in."""
    found = set()
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        waiting += getattr(route, "routes", [])
        if hasattr(route, "original_router"):
            prefix = route.include_context.prefix
            found |= {prefix + path for path in addresses(route.original_router)}
        elif getattr(route, "path", None) is not None and not getattr(route, "routes", None):
            found.add(route.path)
    return sorted(path.replace("{model:path}", "x").replace("{", "").replace("}", "") for path in found)


def test_the_sweep_knows_the_routes(quick_house):
    found = addresses(make_app(quick_house.deps))
    assert {"/healthz", "/readyz", "/v1/files", "/v1/fine_tuning/jobs", "/v1/chat/completions", "/api/v1/me"} <= set(
        found
    )
    assert len(found) >= 25


def test_the_addresses_that_need_no_principal_are_exactly_these(quick_house):
    """Each of the second kind has a token of its own, or says nothing about anyone."""
    found = {path for path in addresses(make_app(quick_house.deps)) if OPEN_TO_ALL.fullmatch(path)}
    links = {"/setup/token", "/invite/token", "/s/token", "/s/token/chat", "/s/token/stop"}
    assert found == {"/login", "/ui/name"} | links


def test_an_anonymous_request_is_answered_401_everywhere_else(quick_house):
    for path in [*addresses(make_app(quick_house.deps)), *UNKNOWN]:
        for method in METHODS:
            if (path in ANONYMOUS and method in ("GET", "HEAD")) or OPEN_TO_ALL.fullmatch(path):
                continue
            response = quick_house.client.request(method, path)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer tr-unknown",
        "Basic dXNlcjpwYXNz",
        "tr-unknown",
        "Bearer \xff\xfe",
        "bearer " + "x" * 9000,
    ],
)
def test_what_is_not_a_key_is_not_let_in(quick_house, header):
    response = quick_house.client.get("/api/v1/me", headers={b"Authorization": header.encode("latin-1")})
    assert response.status_code == 401


def test_a_key_says_whose_it_is(house):
    anna = house.person()
    me = house.client.get("/api/v1/me", headers=anna.headers).json()
    assert (me["user_id"], me["team_name"], me["role"]) == (anna.principal.user, "default", "member")


def test_a_revoked_key_and_a_disabled_person_are_out_on_the_next_request(house):
    anna, bert = house.person(), house.person()
    assert house.client.get("/api/v1/me", headers=anna.headers).status_code == 200
    with house.deps.database.write() as session:
        session.get_one(ApiKey, anna.principal.key).revoked_at = db_now()
        session.get_one(User, bert.principal.user).disabled_at = db_now()
    assert house.client.get("/api/v1/me", headers=anna.headers).status_code == 401
    assert house.client.get("/api/v1/me", headers=bert.headers).status_code == 401


def test_the_use_of_a_key_is_remembered(house):
    anna = house.person()
    house.client.get("/api/v1/me", headers=anna.headers)
    with house.deps.database.read() as session:
        assert session.get_one(ApiKey, anna.principal.key).last_used_at is not None


def test_every_answer_carries_the_security_headers(house):
    for response in (house.client.get("/healthz"), house.client.get("/nothing")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["cache-control"] == "no-store"


def test_a_websocket_is_turned_away(house):
    with pytest.raises(WebSocketDisconnect) as refused, house.client.websocket_connect("/v1/files"):
        pass
    assert refused.value.code == 1008
