"""What a failed build said, as one sentence with its cause and the next step. Pure."""

from __future__ import annotations

import re
import shlex

from deploykit.model import DeploykitError, UsageError
from deploykit.model.env_files import is_env_file

__all__ = ["BuildFailed", "DiskFull", "build_failure", "cause_lines"]

_SHOWN_LINES = 20
_STEP = re.compile(r"^#\d+ (?:\[[^\]]+\] |DONE|CACHED|sha256:)")
_FAILED = re.compile(r"^#(\d+) ERROR")
_PRINTED = re.compile(r"^#\d+ \d+\.\d+ (.*)$")
_TIME = re.compile(r"^(?:#\d+ )?\d+\.\d+ ")
_OUTPUT = re.compile(r"^#\d+ (?:\d+\.\d+ )?(.*)$")
_FULL = ("no space left on device", "errno 28", "disk quota exceeded")
_NO_BASE = re.compile(
    r"(?:pull access denied|failed to resolve source metadata for|failed to do request|not found|"
    r"failed to authorize|unauthorized).*",
    re.IGNORECASE,
)
_BASE_NAMED = re.compile(r"(?:source metadata for |denied for |load metadata for )(\S+?)[:,]?(?:\s|$)")
_PARSE = re.compile(r"dockerfile parse error (?:on )?line (\d+): (.*)", re.IGNORECASE)
_DOCKERFILE = re.compile(r"failed to (?:create LLB definition|read dockerfile|solve).*?: (.*)", re.IGNORECASE)
_MISSING = re.compile(
    r"(?:failed to compute cache key|failed to calculate checksum).*?(?:\"/([^\"\n]+)\"|/([^\s\"]+?)):? not found"
)


class BuildFailed(DeploykitError):
    """The build was tried and failed; the details are its own last lines."""


class DiskFull(DeploykitError):
    """There was no room for the image."""


def build_failure(  # noqa: PLR0911 - one return for each kind
    said: str, *, dockerfile: str, base: str, platform: str = "", present: str = ""
) -> DeploykitError:
    """The error for what `docker build` printed (plain progress, standard output and error together).

    `dockerfile` is its path in the tree, empty when the kit wrote it; `base` the base image that was asked for.
    `platform` is what is built for, and `present` what the engine's own copy of the base is for (`linux/arm64`); empty:
    not known, or none.
    """
    lines = cause_lines(said)
    where = dockerfile or "the Dockerfile that the kit writes"
    lower = said.lower()
    if any(sign in lower for sign in _FULL):
        return DiskFull(
            "the disk was full while the image was built",
            details=lines,
            next_step="docker system df; docker builder prune",
        )
    if match := _PARSE.search(said):
        return UsageError(
            f"{where} is no valid Dockerfile: line {match[1]}: {match[2].strip()}",
            next_step=f"edit {where}, line {match[1]}",
        )
    if match := _MISSING.search(said):
        name = match[1] or match[2]
        quoted = shlex.quote(name)
        return UsageError(
            f"{where} copies {name}, which is not in the tree",
            details=lines,
            next_step=(
                f"take the line out of {where}: files of variables are in no image, the instances are given the values"
                if is_env_file(name)
                else f"git add {quoted}, or see what ignores it: git check-ignore -v {quoted}; cat .dockerignore"
            ),
        )
    failed_step = "did not complete successfully" in said or "executor failed running" in said
    if not failed_step and platform and present and present != platform:
        # BuildKit passes over such an image, and asks a registry for another one.
        return UsageError(
            f"the base image {base} is for {present}, and the image is built for {platform}",
            details=lines,
            next_step=(
                f"docker pull --platform {platform} {shlex.quote(base)}; or set image.base to an image for {platform}"
            ),
        )
    if failed_step and "exec format error" in lower:
        return UsageError(
            f"a step of {where} can't be run: its image is for another processor than the engine's",
            details=lines,
            next_step="set image.base and image.platform to what the engine runs, "
            "or install emulation on its machine (binfmt)",
        )
    if not failed_step and (match := _NO_BASE.search(said)):
        named = _BASE_NAMED.search(said)
        image = named[1].removeprefix("docker.io/library/") if named else base
        return BuildFailed(
            f"the base image {image} can't be had",
            details=lines,
            next_step=f"docker pull {shlex.quote(image)}; or set image.base to an image that this engine can reach",
        )
    if failed_step:
        return BuildFailed(
            f"a step of {where} failed", details=lines, next_step="fix the cause above, then run the same command again"
        )
    if match := _DOCKERFILE.search(said):
        return UsageError(f"{where} can't be built: {match[1].strip()}", details=lines, next_step=f"edit {where}")
    return BuildFailed("the image could not be built", details=lines, next_step="docker version; docker system df")


def cause_lines(said: str) -> list[str]:
    """The failed step, what it printed last, and the reason; where no step failed, the last lines of all.

    BuildKit repeats a step's output between two rulers, but not always all of it, so the step's own lines come first.
    """
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    failed = next((match[1] for line in reversed(lines) if (match := _FAILED.match(line))), "")
    if not failed:
        return [_OUTPUT.sub(r"\1", line) for line in lines if not _STEP.match(line)][-_SHOWN_LINES:]
    own = [line for line in lines if line.startswith(f"#{failed} ")]
    head = [line.partition(" ")[2] for line in own if line.startswith(f"#{failed} [")][:1]
    printed = [match[1] for line in own if (match := _PRINTED.match(line)) and match[1].strip()]
    rulers = [number for number, line in enumerate(lines) if line == "------"]
    if not printed and len(rulers) >= 2:
        printed = [_TIME.sub("", line) for line in lines[rulers[-2] + 2 : rulers[-1]]]
    return [*head, *printed[-(_SHOWN_LINES - 2) :], lines[-1]]
