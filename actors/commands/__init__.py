"""Commands of ``tars`` that speak MQTT: one module each, found through the entry points of the group ``tars.commands``."""
