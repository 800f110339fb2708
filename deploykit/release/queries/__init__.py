"""Questions about an environment. Nothing here changes it."""
