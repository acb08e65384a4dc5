"""The router service: `Router` is its actor; everything beside it is pure."""

from .actor import Router
from .settings import RouterSettings

__all__ = ["Router", "RouterSettings"]
