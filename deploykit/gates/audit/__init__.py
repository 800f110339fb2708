"""The audit gate: known vulnerabilities and licences of what the application installs."""
