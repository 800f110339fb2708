"""Database migrations of the application: what is pending, whether the running version survives it, and the upgrade
itself.

`in_app/` runs in the application's own environment, where the kit is not installed. Everything else runs in the kit's.
"""
