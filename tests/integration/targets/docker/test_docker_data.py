"""What outlives a version in its containers' tree: volumes, made once with what the image has, for the image's user."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from target_contract import until

from deploykit.model import Labels
from deploykit.targets.docker import data
from deploykit.targets.interface import InstanceSpec, OneOff


@pytest.fixture
def image(engine, sdk, app, base):
    """An image whose tree `/app` has the folder `var` with a file, both root's; `user` runs it."""
    made = []

    def make(user):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in (("app/var", None), ("app/var/first.txt", b"from the image")):
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
                info.mode, info.size = (0o755 if content is None else 0o644), len(content or b"")
                tar.addfile(info, io.BytesIO(content or b""))
        container = engine.create_container(base, ["true"], name=f"{app}-image", labels={"deploykit.app": app})
        engine.copy_into(container, archive.getvalue())
        changes = [f"USER {user}", "WORKDIR /app"]
        made.append(sdk.commit(container, repository=f"dk-data-{app}", changes=changes)["Id"])
        engine.remove_container(container)
        return made[-1]

    yield make
    for each in made:
        engine.remove_image(each, force=True)


@pytest.fixture
def run(target, app):
    """Run Python in the tree of an image; what it prints. `persistent` as in the settings."""

    def run_it(image, source, *persistent, release="r1"):
        labels = Labels(app=app, environment="test", release=release, version="1", digest="sha256:00")
        argv = ("python3", "-c", source)
        one_off = OneOff(labels=labels, argv=argv, cwd=Path("/app"), image=image, persistent=persistent)
        result = target.run(one_off)
        assert result.exit_code == 0, result.output
        return list(result.output)

    return run_it


READ = "import pathlib; print(sorted(p.read_text() for p in pathlib.Path('/app').glob('[vn]*/*.txt')))"
WRITE = "import pathlib; [pathlib.Path(f'/app/{n}/a.txt').write_text('of the app') for n in ('var', 'new/er')]"
CHANGE = "open('/app/var/first.txt', 'a').write(', changed')"


def test_volumes_begin_with_what_the_image_has_and_the_images_user_can_write(image, run, target, app, sdk):
    of = image("www-data")
    persistent = ("var", "new/er/")
    run(of, WRITE, *persistent)
    run(of, CHANGE, *persistent)
    assert run(of, READ, *persistent, release="r2") == ["['from the image, changed', 'of the app']"]
    assert run(of, READ, release="r3") == ["['from the image']"]
    assert target.has_data("var")
    assert target.has_data("new/er")
    assert not target.has_data("other")
    target.down()
    assert run(of, READ, "var", release="r4") == ["['from the image, changed', 'of the app']"]
    volumes = sdk.volumes(filters={"label": [f"deploykit.app={app}"]})["Volumes"]
    assert len(volumes) == 2, "named as the environment's own"


def test_volumes_that_a_killed_kit_has_half_made_are_begun_again(image, run, target, engine, monkeypatch):
    of = image("www-data")

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data, "user_numbers", killed)
        with pytest.raises(KeyboardInterrupt):
            run(of, WRITE, "var", "new/er")
    assert target.has_data("var"), "made, and not yet for the user"
    run(of, WRITE, "var", "new/er")
    assert run(of, READ, "var") == ["['from the image', 'of the app']"]


def test_what_an_instance_writes_beside_the_volumes_is_told(image, target, app):
    labels = Labels(app=app, environment="test", release="r1", version="1", digest="sha256:00")
    write = (
        "import os, time\n"
        "for name in ('/app/notes.txt', '/app/var/kept.txt', '/app/sub/a.txt', '/tmp/b.txt'):\n"
        "    os.makedirs(os.path.dirname(name), exist_ok=True); open(name, 'w').write('x')\n"
        "os.makedirs('/app/empty'); print('written', flush=True); time.sleep(60)\n"
    )
    target.start(
        InstanceSpec(
            labels=labels,
            replica=0,
            argv=("python3", "-c", write),
            cwd=Path("/app"),
            variables={},
            image=image("root"),
            persistent=("var",),
        )
    )
    until(lambda: target.logs("r1-web-0"))
    assert target.written("r1-web-0") == ["notes.txt", "sub/a.txt"]
    assert target.written("r9-web-0") == ()
    target.down()
