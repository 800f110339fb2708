from __future__ import annotations

from tests.shared.repositories import clean_git, empty_repo, repo

__all__ = ["clean_git", "empty_repo", "repo"]
