"""The database of an environment: the migrate stage of a release, and the commands `db.*`."""
