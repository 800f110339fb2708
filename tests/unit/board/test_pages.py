"""What people see."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from deploykit.board import pages
from deploykit.board.access import Tokens


class Outline(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.extend(data.split())

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_an_empty_board_says_how_it_is_filled(board):
    assert "Nothing was reported yet" in Outline(board.get("/").text).text


def test_the_front_page_shows_what_is_live_and_what_runs(board, post, event, now):
    stages = [{"name": "build", "seconds": 4.25, "outcome": "done"}, {"name": "verify", "seconds": 65, "outcome": ""}]
    post(event(kind="finished", outcome="done", actor="mara", at=now - 7200, stages=stages))
    post(event(release="r2", version="2.0.0", at=now - 30))
    shown = Outline(board.get("/").text).text
    assert "local 1.0.0 live for 2 h by mara · r1 · abababababab" in shown
    assert "running release r2: 2.0.0 , started 30 s ago" in shown
    assert "build 4.25 s" in shown
    assert "verify 65.0 s" in shown


def test_a_release_that_nobody_reports_on_any_more_is_pointed_out(board, post, event, now):
    post(event(at=now - 3600))
    assert "No news for 1 h : was it killed?" in Outline(board.get("/").text).text


def test_the_reason_of_a_failure_is_shown(board, post, event, now):
    post(event(kind="finished", outcome="failed", at=now, reason="500 on /health"))
    assert "nothing live Latest release r1 ✗ failed : 500 on /health" in Outline(board.get("/").text).text


def test_an_app_has_a_page_of_its_own(board, post, event):
    post(event())
    post(event(app="desk"))
    page = board.get("/apps/shop")
    assert page.status_code == 200
    assert Outline(page.text).text.startswith("shop · Release board")
    assert "desk" not in page.text


def test_an_unknown_app_is_not_found(board):
    for path in ("/apps/", "/apps/nothing", "/apps/%00", "/apps/..%2f..", "/apps/%ED%A0%80"):
        assert board.get(path).status_code == 404, path


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raise %}",
    "../../etc/passwd",
    "a/b?c=d#e&amp;f",
    "\u202etxt.exe",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(board_with, event, name):
    board = board_with(tokens=Tokens(apps=[(name, "token")]))

    def post(content) -> None:
        assert board.post("/api/events", json=content, headers={"Authorization": "Bearer token"}).status_code == 201

    stages = [{"name": name, "seconds": 1, "outcome": name}]
    texts = dict.fromkeys(("version", "digest", "actor", "commit", "reason", "environment", "release"), name)
    post(event(app=name, kind="finished", outcome="failed", stages=stages, **texts))
    post(event(app=name, source="other", stages=stages, **texts))
    page = board.get("/")
    allowed = {
        *("html", "head", "meta", "title", "link", "body", "a", "header", "p", "time", "main", "h1", "h2", "h3"),
        *("section", "div", "span", "ol", "li", "article", "code", "footer"),
    }
    outline = Outline(page.text)
    assert {tag for tag, _ in outline.tags} <= allowed
    assert not any(attribute.startswith("on") for _, attributes in outline.tags for attribute in attributes)
    assert " ".join(name.split()) in outline.text
    links = {attributes["href"] for tag, attributes in outline.tags if tag == "a" and "/apps/" in attributes["href"]}
    assert len(links) == 1
    own = board.get(links.pop())
    assert own.status_code == 200
    assert html.escape(name, quote=False).split()[0] in own.text.replace("&#34;", '"').replace("&#39;", "'")


def test_a_link_of_a_release_is_one_to_the_web(board, post, event, now):
    post(event(kind="finished", outcome="done", at=now, url='https://shop.example/"onclick="x'))
    links = [attributes for tag, attributes in Outline(board.get("/").text).tags if tag == "a"]
    (link,) = [attributes for attributes in links if attributes.get("class") == "version" and attributes["rel"]][:1]
    assert link["href"] == 'https://shop.example/"onclick="x'
    assert "onclick" not in link


@pytest.mark.parametrize("path", ["/", "/apps/none", "/api/apps", "/api/none", "/health", "/board.css"])
def test_every_answer_is_guarded(board, path):
    headers = board.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_page_needs_no_script_and_nothing_from_elsewhere(board, post, event):
    post(event())
    outline = Outline(board.get("/").text)
    assert not [tag for tag, attributes in outline.tags if tag in {"script", "style"} or "style" in attributes]
    (sheet,) = [attributes["href"] for tag, attributes in outline.tags if tag == "link"]
    answer = board.get(sheet)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in answer.text


def test_a_page_has_what_screen_readers_go_by(board, post, event):
    post(event())
    tags = Outline(board.get("/").text).tags
    names = [tag for tag, _ in tags]
    assert ("html", {"lang": "en"}) in tags
    assert names.count("h1") == names.count("main") == names.count("title") == 1
    assert next(attributes for tag, attributes in tags if tag == "a")["href"] == "#content"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.00 s"), (9.994, "9.99 s"), (61.26, "61.3 s"), (125, "2 min 5 s"), (7200, "2 h 0 min")],
)
def test_durations_read_well(seconds, shown):
    assert pages._duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0 s"), (59, "59 s"), (3599, "59 min"), (172_799, "47 h"), (172_800, "2 days")]
)
def test_ages_read_well(seconds, shown):
    now = datetime.fromtimestamp(1_800_000_000, UTC)
    assert pages._age(now - timedelta(seconds=seconds), now) == shown
