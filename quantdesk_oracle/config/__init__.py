"""Settings: the only reader of the environment and of config/*.toml; one frozen :class:`Settings`.

The environment wins over the file, the file over the defaults that stand in the file's model.
"""

from quantdesk_oracle.config.load import load_settings
from quantdesk_oracle.config.settings import (
    EMBEDDED,
    EndpointSettings,
    Feed,
    HermesSettings,
    Market,
    Settings,
    endpoint_name,
    redact_dsn,
)

__all__ = [
    "EMBEDDED",
    "EndpointSettings",
    "Feed",
    "HermesSettings",
    "Market",
    "Settings",
    "endpoint_name",
    "load_settings",
    "redact_dsn",
]
