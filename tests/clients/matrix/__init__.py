"""The compatibility matrix: one function for each feature, in terms of what `adapters.base` names, run for every client and broker."""

import importlib

from .cell import FEATURES

# In the order of the page.
for chapter in ("topics", "cluster", "records", "reading", "groups", "group_admin", "transactions", "storage", "plugins",
                "restarts"):
    importlib.import_module(f"{__name__}.{chapter}")

__all__ = ["FEATURES"]
