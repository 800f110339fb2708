from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploykit.artifacts.image.names import Repository, parse_repository
from deploykit.model import UsageError


@pytest.mark.parametrize(
    ("name", "registry", "path"),
    [
        ("registry.example.org/team/shop", "registry.example.org", "team/shop"),
        ("localhost/shop", "localhost", "shop"),
        ("127.0.0.1:5000/shop", "127.0.0.1:5000", "shop"),
        ("[::1]:5000/a/b/c", "[::1]:5000", "a/b/c"),
        ("team/shop", "docker.io", "team/shop"),
        ("shop", "docker.io", "library/shop"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(name: str, registry: str, path: str):
    found = parse_repository(name)
    assert (found.registry, found.path) == (registry, path)
    assert found.tagged("v1").endswith(f"{path}:v1")
    assert found.at("sha256:aa").endswith(f"{path}@sha256:aa")


@pytest.mark.parametrize(
    ("name", "why", "instead"),
    [
        ("registry.example.org/Team/Shop", "'Team' may have lower-case letters", "registry.example.org/team/shop"),
        ("team/shop--", "'shop--'", "team/shop"),
        ("team//shop", "a part of it is empty", "team/shop"),
        ("team/shop:v1", "a tag or a digest", "team/shop"),
        ("team/shop@sha256:00", "a tag or a digest", "team/shop"),
        ("bad_host.example:99/shop", "no host name", "registry.example.org/team/app"),
        ("registry.example.org/" + "a" * 300, "longer than 255", "registry.example.org/team/app"),
    ],
)
def test_a_name_that_no_registry_allows_is_told_with_one_that_is(name: str, why: str, instead: str):
    with pytest.raises(UsageError) as caught:
        parse_repository(name)
    assert why in caught.value.message
    assert instead in caught.value.next_step


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5000"])
def test_loopback_is_known(host: str):
    assert Repository(registry=host, path="a").on_loopback


@pytest.mark.parametrize("host", ["registry.example.org", "128.0.0.1:5000", "localhost.example.org", "docker.io"])
def test_other_hosts_are_not_on_loopback(host: str):
    assert not Repository(registry=host, path="a").on_loopback


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_a_sentence(text: str):
    try:
        found = parse_repository(text)
    except UsageError as error:
        assert error.next_step
    else:
        assert str(parse_repository(str(found))) == str(found)
