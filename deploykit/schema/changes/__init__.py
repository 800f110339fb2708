"""Expand, migrate, contract: one declared change becomes the steps that nobody notices.

What is here runs in the application's own environment: it imports the standard library, Alembic and SQLAlchemy, nothing else.
"""
