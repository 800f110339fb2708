"""What a build may use and must not keep."""

from __future__ import annotations

import configparser
import stat
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.secrets import BuildSecrets, secret_files
from deploykit.model import Secret, UsageError

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "https://robin:hunter2@index.example.org/simple"  # pragma: allowlist secret


def test_the_settings_of_pip_on_this_machine_are_taken(tmp_path: Path):
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://old.example.org\ntrusted_host = a.example.org\ntimeout = 9\n")
    bundle = tmp_path / "ca.pem"
    bundle.write_text("pem")
    found = BuildSecrets.from_machine(
        {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(config), "PIP_INDEX_URL": INDEX, "SSL_CERT_FILE": str(bundle)}
    )
    assert found.ca_bundle == bundle
    assert {name: value.reveal() for name, value in found.pip} == {
        "index-url": INDEX,
        "trusted-host": "a.example.org",
        "timeout": "9",
    }
    assert "hunter2" not in repr(found)


def test_nothing_set_is_nothing_given():
    found = BuildSecrets.from_machine({"PIP_CONFIG_FILE": "/dev/null"})
    assert found == BuildSecrets()
    with secret_files(found) as files:
        assert files == {}


def test_a_bundle_that_is_not_there_is_told():
    with pytest.raises(UsageError, match="/nowhere/ca.pem can't be read"):
        BuildSecrets.from_machine({"PIP_CONFIG_FILE": "/dev/null", "PIP_CERT": "/nowhere/ca.pem"})


def test_the_files_are_private_and_go_away(tmp_path: Path):
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    urls = Secret("https://a.example.org\nhttps://b.example.org")
    with secret_files(BuildSecrets(ca_bundle=bundle, pip=(("extra-index-url", urls),))) as files:
        conf = files["pip.conf"]
        assert stat.S_IMODE(conf.stat().st_mode) == 0o600
        parser = configparser.RawConfigParser()
        parser.read(conf)
        assert parser["global"]["cert"] == "/run/secrets/ca"
        assert parser["global"]["extra-index-url"].split() == ["https://a.example.org", "https://b.example.org"]
        assert files["ca"] == bundle
    assert not conf.exists()


def test_passwords_are_masked_in_what_tools_print():
    redact = BuildSecrets(pip=(("index-url", Secret(INDEX)), ("timeout", Secret("9")))).redactor()
    assert redact(f"looking in {INDEX}, 9 s, password hunter2") == "looking in ********, 9 s, password ********"
    assert BuildSecrets().redactor()("as it is") == "as it is"


def test_an_index_that_is_no_address_is_masked_as_a_whole():
    url = "https://robin:hunter2@[index"  # pragma: allowlist secret
    secrets = BuildSecrets(pip=(("index-url", Secret(url)),))
    assert "hunter2" not in secrets.redactor()(f"can't reach {url}")
