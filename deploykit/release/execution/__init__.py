"""The rollout of one version: its plan, the actions on target and edge, the checks, and the journal of all of it."""
