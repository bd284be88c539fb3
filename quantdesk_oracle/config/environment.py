"""The environment variables: QuantDesk's own names as they are, and ours. See env.example."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

ORACLE_ACCOUNT_SUFFIX = "_ORACLE_ACCOUNT"
NETWORK_VARIABLES = (
    "SOLANA_NETWORK",
    "RPC_URL",
    "WS_URL",
    "BTC_ORACLE_ACCOUNT",
    "ETH_ORACLE_ACCOUNT",
    "SOL_ORACLE_ACCOUNT",
)
"""The variables that say which network and accounts to follow."""


class Environment(BaseSettings):
    """Every variable that is read, as text; an empty one counts as not set."""

    model_config = SettingsConfigDict(
        case_sensitive=True, extra="ignore", env_ignore_empty=True, env_file_encoding="utf-8"
    )

    # QuantDesk's
    DATABASE_URL: str = ""
    SUPABASE_URL: str = ""
    SUPABASE_ANON_KEY: str = ""
    SUPABASE_SERVICE_ROLE_KEY: str = ""
    SOLANA_NETWORK: str = ""
    RPC_URL: str = ""
    WS_URL: str = ""
    PROGRAM_ID: str = ""
    BTC_ORACLE_ACCOUNT: str = ""
    ETH_ORACLE_ACCOUNT: str = ""
    SOL_ORACLE_ACCOUNT: str = ""
    # ours
    SCHEMA_DATABASE_URL: str = ""
    HERMES_API_KEY: str = ""
    QUANTDESK_CONFIG: str = ""
    QUANTDESK_STATE_DIR: str = ""
    QUANTDESK_HTTP_HOST: str = ""
    QUANTDESK_HTTP_PORT: str = ""
    QUANTDESK_LOG_LEVEL: str = ""
    QUANTDESK_LOG_FORMAT: str = ""
    XDG_STATE_HOME: str = ""

    def oracle_account(self, base_asset: str) -> tuple[str, str]:
        """(variable's name, its value or "") of the account for ``base_asset``."""
        name = f"{base_asset}{ORACLE_ACCOUNT_SUFFIX}"
        return name, getattr(self, name, "")
