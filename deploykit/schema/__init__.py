"""Database migrations of the application: what is pending, whether the running version survives it, and applying it.

`in_app/` runs in the application's own environment, where the kit is not installed; all else runs in the kit's.
"""
