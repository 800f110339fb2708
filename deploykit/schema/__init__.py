"""Database migrations of the application: which are pending, whether the running version survives them, the upgrade.

`in_app/` runs in the application's own environment, where the kit is not installed. Everything else runs in the kit's.
"""
