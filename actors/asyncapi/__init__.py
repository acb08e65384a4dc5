"""A service as an AsyncAPI 3.0 document: what it hears and says, on which topics, in which shape.

``traffic`` what a service hears and says, as values; ``addresses`` topics as AsyncAPI writes them; ``payloads`` messages and
their schemas; ``document`` the whole. Law: the same config and the same classes give the same document, byte for byte, and no secret is
in it. What is said that nobody can know from outside (`publishes`) stands in it only if its author declared it.
"""

from .document import document
from .traffic import Flow, flows

__all__ = ["Flow", "document", "flows"]
