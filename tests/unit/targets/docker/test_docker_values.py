"""What needs no engine: lines, secrets, exit codes, addresses."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploykit.model import Secret, UsageError
from deploykit.process.docker import Engine, LineReader, timed_lines
from deploykit.process.docker.tunnel import Tunnel
from deploykit.targets.docker.containers import Limits, exit_code, secret_files, split_variables, working_dir


def test_lines_are_put_together_from_pieces_and_the_last_needs_no_end():
    reader = LineReader()
    assert reader.feed(b"on") == []
    assert reader.feed(b"e\r\ntwo\nthr") == ["one", "two"]
    assert (reader.last(), reader.last()) == (["thr"], [])


def test_a_time_is_parted_from_its_line():
    assert list(timed_lines([b"2026-01-01T00:00:00Z a b\n", b"2026-01-01T00:00:01Z "])) == [
        ("2026-01-01T00:00:00Z", "a b"),
        ("2026-01-01T00:00:01Z", ""),
    ]


@pytest.mark.parametrize(("said", "meant"), [(0, 0), (1, 1), (137, -9), (143, -15), (127, 127), (255, 255)])
def test_a_signal_is_a_negative_exit_code(said, meant):
    assert exit_code(said) == meant


def test_no_limit_is_not_handed_on():
    assert Limits().as_host_options() == {}
    assert Limits(cpus=1.5).as_host_options() == {"nano_cpus": 1_500_000_000}


def test_a_relative_folder_is_the_images_own():
    assert working_dir(Path()) is None
    assert working_dir(Path("/app")) == "/app"


def test_secrets_are_parted_from_what_is_plain():
    assert split_variables({"A": "1", "B": Secret("2")}) == ({"A": "1"}, {"B": "2"})


def test_a_shell_loads_exactly_the_secrets(tmp_path):
    values = {"A": 'it\'s "so" $HOME `x`\n\\n', "B": ""}
    with tarfile.open(fileobj=io.BytesIO(secret_files(values, 7, 8))) as tar:
        members = {member.name: member for member in tar.getmembers()}
        text = tar.extractfile(members["run/deploykit/secrets.env"]).read().decode()
        assert tar.extractfile(members["run/deploykit/A"]).read().decode() == values["A"]
    assert {(member.mode, member.uid, member.gid) for member in members.values()} == {(0o400, 7, 8), (0o500, 7, 8)}
    (tmp_path / "env").write_text(text)
    script = f'. {shlex.quote(str(tmp_path / "env"))}; printf "%s|%s" "$A" "$B"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode() == f"{values['A']}|"


@pytest.mark.parametrize("url", ["ssh://", "ssh://-oProxyCommand=x", "ssh://-l@host"])
def test_an_address_that_ssh_would_take_for_an_option_is_refused(url):
    with pytest.raises(UsageError, match="names no host"):
        Tunnel(url)


def test_an_engine_is_found_by_its_variable_and_only_a_local_one_shares_the_network():
    assert Engine(environ={"DOCKER_HOST": "ssh://vm"}).host == "ssh://vm"
    assert not Engine("ssh://vm").shares_our_network
    assert not Engine("tcp://127.0.0.1:2376").shares_our_network
    assert Engine("tcp://127.0.0.1:2376").publish_address() == "127.0.0.1"
    assert Engine("ssh://vm").publish_address() == "127.0.0.1"
