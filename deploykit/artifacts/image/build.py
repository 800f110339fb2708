"""Build the image of a tree: exported from git, never the working tree; with BuildKit, always.

The same tree with the same recipe is not built twice: an image carries the key of what went into it as a label, and is
found by it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from deploykit.artifacts import git
from deploykit.artifacts.files import canonical, sha256
from deploykit.artifacts.image.context import prepare
from deploykit.artifacts.image.dockerfile import Dockerfile, declared_arguments, find_own, render
from deploykit.artifacts.image.engine import Docker, find_docker
from deploykit.artifacts.image.failures import build_failure
from deploykit.artifacts.image.image import APP_LABEL, BUILD_LABEL, OCI, Image, Recipe, inspect_image
from deploykit.artifacts.image.secrets import BuildSecrets, secret_files
from deploykit.artifacts.interpreter import Interpreter, inspect
from deploykit.artifacts.lock import project_table, reject_other_python
from deploykit.artifacts.version import version_of
from deploykit.artifacts.wheel import version_variables
from deploykit.model import DeploykitError, UsageError
from deploykit.process import CommandTimedOut, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.artifacts.git_tree import GitTree

__all__ = ["build_image", "default_base", "source_url"]

_FORMAT = 1


def build_image(  # noqa: PLR0913 - what a build depends on, all by keyword
    tree: GitTree,
    recipe: Recipe,
    *,
    kept: Path,
    docker: Docker | None = None,
    secrets: BuildSecrets | None = None,
    local_tags: Sequence[str] = (),
    cached: bool = True,
    timeout: float = 1800.0,
    on_line: Callable[[str], None] = lambda _: None,
) -> Image:
    """Build the image of `tree` (what `artifacts.git.read_tree` said), or find it when it was built before.

    `kept` is the folder of kept resolutions (`layout.resolutions`), `secrets` default to what pip on this machine uses,
    `local_tags` are put behind `APP:`; `cached=False` builds everything again. `on_line` gets BuildKit's own lines.

    Raises UsageError (a Dockerfile that is wrong, no docker command, no BuildKit), EngineUnreachable, DiskFull,
    BuildFailed.
    """
    started = time.monotonic()
    engine = docker if docker is not None else find_docker()
    secrets = secrets if secrets is not None else BuildSecrets.from_machine()
    python = inspect()
    base = recipe.base or default_base(python)
    names = [f"{recipe.app}:{tag}" for tag in local_tags]
    with tempfile.TemporaryDirectory(prefix="deploykit-image-") as scratch:
        # The engine keeps what it was sent under the folder's name, to be sent only what differs the next time. What
        # lies beside it has names that no app can have.
        context = Path(scratch, recipe.app)
        git.export(tree, context)
        dockerfile = _dockerfile(context, recipe, base)
        key = _key(tree, recipe, base, dockerfile, python)
        if cached and (found := _built(engine, key, names)) is not None:
            return replace(found, reused=True, seconds=time.monotonic() - started)
        notes: tuple[str, ...] = ()
        if dockerfile.generated:
            if not recipe.base:
                reject_other_python(context, python.version)
            notes = prepare(context, requirements=recipe.requirements, interpreter=python, kept=kept)
        job = _Job(
            engine=engine,
            context=context,
            dockerfile=dockerfile,
            recipe=recipe,
            base=base,
            labels=_labels(tree, recipe, key, source_url(tree.top)),
            arguments=_arguments(tree, recipe, base, dockerfile),
        )
        image_id = job.run(secrets, names, cached=cached, timeout=timeout, on_line=on_line)
    image = inspect_image(engine, image_id)
    return replace(image, warnings=(*notes, *image.warnings), seconds=time.monotonic() - started)


def default_base(python: Interpreter) -> str:
    """The official slim image of the Python that the kit runs on: the one that the tests ran on, too."""
    return f"python:{'.'.join(python.version.split('.')[:2])}-slim"


def source_url(root: Path) -> str:
    """The address of the repository `origin`, without any password in it; empty where there is none."""
    done = run(
        ["git", "config", "--get", "remote.origin.url"], cwd=root, env=git.clean_environment(), timeout=30, check=False
    )
    url = done.stdout.strip()
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme in {"http", "https", "ssh"} and parts.hostname:
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(("https" if parts.scheme == "http" else parts.scheme, place, parts.path, "", ""))
    return url if url and "@" in url and ":" in url and not url.startswith("/") else ""


@dataclass(frozen=True, kw_only=True)
class _Job:
    engine: Docker
    context: Path
    dockerfile: Dockerfile
    recipe: Recipe
    base: str
    labels: Mapping[str, str]
    arguments: Mapping[str, str]

    def run(
        self,
        secrets: BuildSecrets,
        names: Sequence[str],
        *,
        cached: bool,
        timeout: float,
        on_line: Callable[[str], None],
    ) -> str:
        """Build; returns the id of the image."""
        beside = self.context.parent
        file = beside / "Dockerfile"
        file.write_text(self.dockerfile.text, encoding="utf-8")
        if not self.dockerfile.generated:
            own_ignore = self.context / f"{self.dockerfile.name}.dockerignore"
            if own_ignore.is_file():
                (beside / "Dockerfile.dockerignore").write_bytes(own_ignore.read_bytes())
        answer = beside / ".id"
        redact = secrets.redactor()
        with secret_files(secrets) as files:
            words = [*self._words(names, cached=cached), "--file", file, "--iidfile", answer]
            for name, path in files.items():
                words += ["--secret", f"id={name},src={path}"]
            try:
                done = self.engine.with_environment(
                    {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
                ).run(
                    *words,
                    self.context,
                    check=False,
                    timeout=timeout,
                    redact=redact,
                    on_line=lambda _, line: on_line(line),
                )
            except CommandTimedOut as error:
                raise DeploykitError(
                    f"the image was not built within {timeout:g} s",
                    details=error.details,
                    next_step="run the same again",
                ) from None
        if done.returncode != 0:
            raise build_failure(
                done.stdout + done.stderr,
                dockerfile=self.dockerfile.name,
                base=self.base,
                platform=self.recipe.platform or self.engine.platform,
                present=_platform_of(self.engine, self.base),
            )
        return answer.read_text(encoding="utf-8").strip()

    def _words(self, names: Sequence[str], *, cached: bool) -> list[str | Path]:
        words: list[str | Path] = ["build", "--progress", "plain"]
        if self.engine.builder == "buildx":
            words = ["buildx", "build", "--load", "--progress", "plain"]
        if self.recipe.platform:
            words += ["--platform", self.recipe.platform]
        if self.recipe.network:
            words += ["--network", self.recipe.network]
        if not cached:
            words.append("--no-cache")
        for name in names:
            words += ["--tag", name]
        for label, value in self.labels.items():
            words += ["--label", f"{label}={value}"]
        for argument, value in self.arguments.items():
            words += ["--build-arg", f"{argument}={value}"]
        return words


def _platform_of(docker: Docker, image: str) -> str:
    """What the engine's copy of an image is for (`linux/arm64`); empty where it has none, or can't be asked."""
    try:
        return inspect_image(docker, image).platform
    except DeploykitError:
        return ""


def _dockerfile(context: Path, recipe: Recipe, base: str) -> Dockerfile:
    own = find_own(context, recipe.dockerfile)
    if own is not None:
        return own
    if not recipe.argv:
        raise UsageError(
            f"no command is set that starts {recipe.app}, so no Dockerfile can be written for it",
            next_step='set service.command = "PROGRAM --port {port}", or add docker/Dockerfile',
        )
    project = str(project_table(context).get("name", ""))
    variables = [name for name in version_variables(project, "", 0) if name != "SOURCE_DATE_EPOCH"] if project else []
    src = not project and (context / "src").is_dir()
    return render(
        base=base,
        build_base=recipe.build_base,
        argv=recipe.argv,
        health=recipe.health,
        health_host=recipe.health_host,
        port=recipe.port,
        version_variables=variables,
        src=src,
    )


def _arguments(tree: GitTree, recipe: Recipe, base: str, dockerfile: Dockerfile) -> dict[str, str]:
    """The build arguments that this Dockerfile declares; a base is given to an own Dockerfile only when one was set."""
    known = {
        "BASE_IMAGE": base if dockerfile.generated else recipe.base,
        "BUILD_IMAGE": recipe.build_base,
        "VERSION": version_of(tree),
        "REVISION": tree.commit,
        "SOURCE_DATE_EPOCH": str(tree.commit_time),
    }
    declared = declared_arguments(dockerfile.text)
    if unknown := sorted(recipe.arguments.keys() - declared):
        raise UsageError(
            f"{dockerfile.name or 'the Dockerfile of the kit'} declares no build argument {', '.join(unknown)}",
            next_step=f"add ARG {unknown[0]} to it, or take image.arguments.{unknown[0]} out",
        )
    return {name: value for name, value in known.items() if value and name in declared} | dict(recipe.arguments)


def _labels(tree: GitTree, recipe: Recipe, key: str, source: str) -> dict[str, str]:
    """The OCI annotations (image-spec 1.1, "Pre-Defined Annotation Keys") that git knows, and the kit's own."""
    labels = {
        f"{OCI}revision": tree.commit,
        f"{OCI}version": version_of(tree),
        f"{OCI}created": datetime.fromtimestamp(tree.commit_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{OCI}title": recipe.app,
        APP_LABEL: recipe.app,
        BUILD_LABEL: key,
    }
    if source:
        labels[f"{OCI}source"] = source
    return labels


def _key(tree: GitTree, recipe: Recipe, base: str, dockerfile: Dockerfile, python: Interpreter) -> str:
    build_script = (
        Path(__file__).with_name("build_script.py").read_text(encoding="utf-8") if dockerfile.generated else ""
    )
    return sha256(
        canonical(
            [
                [_FORMAT, tree.tree, version_of(tree), tree.commit, recipe.app, dockerfile.text, build_script, base],
                [recipe.build_base, recipe.requirements, recipe.platform, dict(recipe.arguments), python.version],
            ]
        )
    )[:32]


def _built(docker: Docker, key: str, names: Sequence[str]) -> Image | None:
    """The image that was built of the very same things, with all of its local names."""
    listed = docker.api.images(f"{BUILD_LABEL}={key}")
    if not listed:
        return None
    image_id = listed[0]["Id"]
    for name in names:
        docker.api.tag(image_id, name)
    return inspect_image(docker, image_id)
