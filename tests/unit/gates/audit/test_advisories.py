from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
import zipfile

import pytest

from deploykit.gates.audit.advisories import AdvisoryServer, load_copy
from deploykit.gates.audit.advisories.ranges import affects
from deploykit.model import InconclusiveError


def record(name="PYSEC-2024-1", package="Demo.Package", *, events=(), versions=(), kind="ECOSYSTEM", **more):
    affected = {"package": {"name": package, "ecosystem": "PyPI"}, "versions": list(versions)}
    if events:
        affected["ranges"] = [{"type": kind, "events": list(events)}]
    whole = {
        "id": name,
        "modified": "2026-11-01T10:00:00Z",
        "affected": [affected],
        "details": "It is bad.",
        "aliases": [],
    }
    return whole | more


@pytest.fixture
def copy_of(tmp_path):
    def make(*records, name="advisories.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(item) + "\n" for item in records))
        return load_copy(path)

    return make


HALF_OPEN = [{"introduced": "1.0"}, {"fixed": "1.5"}]


@pytest.mark.parametrize(
    ("events", "version", "expected"),
    [
        ([{"introduced": "0"}, {"fixed": "2.0"}], "1.9", True),
        ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0", False),
        ([{"introduced": "0"}], "99", True),
        (HALF_OPEN, "0.9", False),
        (HALF_OPEN, "1.0", True),
        (HALF_OPEN, "1.5", False),
        (HALF_OPEN, "1.5rc1", True),
        (HALF_OPEN, "1.4.post1", True),
        (HALF_OPEN, "1.10", False),
        ([*HALF_OPEN, {"introduced": "2.0"}, {"fixed": "2.1"}], "2.0.3", True),
        ([*HALF_OPEN, {"introduced": "2.0"}, {"fixed": "2.1"}], "1.7", False),
        ([{"fixed": "2.1"}, {"introduced": "2.0"}], "2.0", True),
        ([{"introduced": "1.0"}, {"last_affected": "1.5"}], "1.5", True),
        ([{"introduced": "1.0"}, {"last_affected": "1.5"}], "1.5.1", False),
        ([{"introduced": "0"}, {"limit": "*"}], "3", True),
        ([{"introduced": "0"}, {"limit": "2"}], "3", False),
        ([{"introduced": "not-a-version"}], "3", True),
        ([{"introduced": "0"}, {"fixed": "1!0"}], "9", True),
    ],
)
def test_a_range_is_evaluated_as_the_schema_says(events, version, expected):
    assert affects(record(events=events), "demo-package", version) is expected


def test_a_listed_version_is_affected_however_it_is_written():
    item = record(versions=["1.0", "broken version"])
    assert affects(item, "demo-package", "1.0.0")
    assert not affects(item, "demo-package", "1.1")


def test_commit_ranges_and_other_ecosystems_say_nothing_about_versions():
    assert not affects(record(events=[{"introduced": "0"}], kind="GIT"), "demo-package", "1.0")
    other = record(events=[{"introduced": "0"}])
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert not affects(other, "demo-package", "1.0")


def test_names_are_compared_as_pep_503_normalises_them(copy_of):
    copy = copy_of(record(events=[{"introduced": "0"}]))
    assert [item["id"] for item in copy.query("DEMO_package", "1.0")] == ["PYSEC-2024-1"]


def test_withdrawn_records_are_left_out_and_counted(copy_of):
    withdrawn = record("PYSEC-2024-2", events=[{"introduced": "0"}], withdrawn="2024-05-01T00:00:00Z")
    copy = copy_of(record("PYSEC-2024-1", events=[{"introduced": "5"}]), withdrawn)
    assert copy.query("demo-package", "1.0") == []
    assert copy.withdrawn == 1


def test_the_date_of_a_copy_is_its_newest_record(copy_of):
    copy = copy_of(record(modified="2026-01-01T00:00:00Z"), record("B", modified="2026-03-01T00:00:00Z"))
    assert copy.age_days(copy.modified + 86_400 * 10.5) == 10.5


def test_gzip_zip_and_folder_are_read_alike(tmp_path):
    line = json.dumps(record(events=[{"introduced": "0"}]))
    zipped, packed, folder = tmp_path / "all.zip", tmp_path / "all.jsonl.gz", tmp_path / "folder"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("PYSEC-2024-1.json", line)
        archive.writestr("README", "not a record")
    packed.write_bytes(gzip.compress(line.encode()))
    folder.mkdir()
    (folder / "PYSEC-2024-1.json").write_text(line)
    for path in (zipped, packed, folder):
        assert list(load_copy(path).by_id) == ["PYSEC-2024-1"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"not json\n",
        b"[]\n",
        b'{"id": "X"}\n',
        json.dumps(record()).encode()[:-20],
        gzip.compress(json.dumps(record()).encode())[:-12],
        b"\x1f\x8bgarbage",
        b"PK\x03\x04garbage",
        b"\xff\xfe",
        json.dumps(record() | {"affected": []}).encode(),
        json.dumps(record() | {"modified": "yesterday"}).encode(),
    ],
)
def test_a_copy_that_is_empty_cut_off_or_something_else_is_inconclusive(tmp_path, content):
    path = tmp_path / "advisories"
    path.write_bytes(content)
    with pytest.raises(InconclusiveError, match="unusable") as error:
        load_copy(path)
    assert "DEPLOYKIT_ADVISORIES" in error.value.next_step


def test_a_copy_that_is_not_there_is_inconclusive(tmp_path):
    with pytest.raises(InconclusiveError):
        load_copy(tmp_path / "nothing")


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as response:
        return json.load(response)


def demo(version="1.0", **package):
    return {"package": {"name": "demo-package", "ecosystem": "PyPI"} | package, "version": version}


def test_the_server_answers_as_osv_does(copy_of):
    copy = copy_of(record(events=HALF_OPEN))
    with AdvisoryServer(copy) as server:
        assert ask(f"{server.url}/v1/query", demo())["vulns"][0]["details"] == "It is bad."
        assert ask(f"{server.url}/v1/query", demo("2.0")) == {}
        by_purl = {"package": {"purl": "pkg:pypi/demo-package@1.2"}}
        assert len(ask(f"{server.url}/v1/query", by_purl)["vulns"]) == 1
        batch = ask(f"{server.url}/v1/querybatch", {"queries": [demo(), demo("2.0")]})
        assert batch == {"results": [{"vulns": [{"id": "PYSEC-2024-1", "modified": "2026-11-01T10:00:00Z"}]}, {}]}
        assert ask(f"{server.url}/v1/vulns/PYSEC-2024-1")["id"] == "PYSEC-2024-1"
        assert server.asked == {("demo-package", "1.0"), ("demo-package", "2.0"), ("demo-package", "1.2")}
        assert server.refused == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/query", {"nothing": 1}, 400),
        ("/v1/query", demo("no version"), 400),
        ("/v1/query", demo(ecosystem="npm"), 400),
        ("/v2/query", demo(), 404),
        ("/v1/vulns/NOPE", None, 404),
    ],
)
def test_the_server_refuses_what_it_can_not_answer(copy_of, path, body, status):
    with AdvisoryServer(copy_of(record())) as server, pytest.raises(urllib.error.HTTPError) as error:
        ask(server.url + path, body)
    assert error.value.code == status
    error.value.close()
