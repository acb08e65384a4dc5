"""The link to the broker, and the actors every service has. They meet in messages, never in imports."""
