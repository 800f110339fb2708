"""`[tool.deploykit]` of pyproject.toml, and where the kit keeps its own files."""
