from __future__ import annotations

import pytest

from deploykit.edge.config import ConfigOptions, render
from deploykit.edge.errors import EdgeError
from deploykit.edge.interface import EdgeOptions, Server
from deploykit.edge.maintenance import entries_since, since_of
from deploykit.edge.quoting import quoted
from deploykit.edge.routes import check_routes, entries_of, routes_of
from deploykit.edge.state import EdgeState
from deploykit.model import UsageError

OPTIONS = ConfigOptions(app="shop", environment="local", maxconn=1000, threads=2, hard_stop_after=900.0)
R1 = Server(name="r1-web-0", release="r1", host="127.0.0.1", port=4001)


def rendered(**options) -> str:
    state = EdgeState(port=8000, token="feed", options=EdgeOptions(**options), servers={}, past={}).with_server(R1, 100)
    return "\n".join(line for line in render(state, OPTIONS).splitlines() if not line.startswith("#"))


def test_settings_that_name_no_route_leave_no_line_and_no_cookie():
    text = rendered()
    assert not [word for word in ("routes.map", "Set-Cookie", "use-server %[var(txn.route)]", "rand(") if word in text]


@pytest.mark.parametrize("setting", ["tester_header", "tester_cookie", "sticky"])
def test_each_setting_brings_its_own_lines_only(setting):
    text = rendered(**{setting: True if setting == "sticky" else "X-Tester"})
    assert ("req.fhdr(X-Tester)" in text) is (setting == "tester_header")
    assert ("req.cook(X-Tester)" in text) is (setting == "tester_cookie")
    assert ("Set-Cookie" in text) is (setting == "sticky")
    assert text.count("use-server %[var(txn.route)]") == 1


@pytest.mark.parametrize("setting", ["tester_header", "tester_cookie"])
@pytest.mark.parametrize(
    "name",
    [
        *("a b", "a\nb", "a\r", '"a"', "a'", "a)", "a,b", "a\\", "a#", "a$b", "a%b", " ", "x" * 101, "é", ".a"),
        *("deploykit-user", "X-Deploykit-Probe", "x_deploykit_probe"),
    ],
)
def test_a_name_that_haproxy_could_misread_is_refused_with_its_setting(setting, name):
    with pytest.raises(UsageError, match=setting) as caught:
        rendered(**{setting: name})
    assert setting in caught.value.next_step
    assert "environments.NAME.rollout" in caught.value.next_step


@pytest.mark.parametrize("key", ["100", "-1", "01", "", "a", "testers", "numbered", "1 2", "1\n"])
def test_a_route_is_for_testers_or_a_number(key):
    with pytest.raises(ValueError, match="a route is for 'tester' or a number"):
        check_routes({key: "r1-web-0"}, ["r1-web-0"])


def test_a_route_goes_to_a_server_of_the_edge():
    check_routes({"tester": "r1-web-0", "0": "r1-web-0", "99": "r1-web-0"}, ["r1-web-0"])
    with pytest.raises(EdgeError, match="no server r9-web-0") as caught:
        check_routes({"tester": "r9-web-0"}, ["r1-web-0"])
    assert caught.value.next_step


def test_users_get_a_number_only_while_there_are_routes_for_numbers():
    for routes in ({}, {"tester": "r1-web-0"}):
        assert entries_of(routes) == routes
    routes = {"tester": "r1-web-0", "7": "r1-web-0"}
    assert entries_of(routes) != routes
    assert routes_of(entries_of(routes)) == routes


@pytest.mark.parametrize("page", ["x" * 8_001, "ä" * 4_001, "a\0b", "\ud800"])
def test_a_page_that_haproxy_can_not_hold_is_refused_with_its_setting(page):
    rendered(maintenance_page="ä" * 4_000)
    with pytest.raises(UsageError, match="maintenance page") as caught:
        rendered(maintenance_page=page)
    assert "maintenance_page in [tool.deploykit.edge]" in caught.value.next_step


def test_a_page_stays_on_its_line():
    for text in ('"; evil', "a\nb", "${HOME}", "\\", "%[src]", "a#b", "'"):
        line = quoted(text)
        assert not set(line[1:-1]) & set("\"'\n$#%[]{}")
        assert line[1:-1].encode().decode("unicode_escape") == text


def test_since_when_the_page_is_on_is_kept_with_it():
    assert since_of(entries_since(1234.5678)) == 1234.568
    assert since_of(entries_since(None)) is None
    with pytest.raises(EdgeError, match=r"maintenance\.map"):
        since_of({"on": "x"})
