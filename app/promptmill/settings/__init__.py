"""Settings of the service, read from the environment and checked once at the start.

Importing the package reads nothing: a program calls `load_settings()`.
"""

from promptmill.settings.fields import Settings
from promptmill.settings.listing import ListedSetting, list_settings
from promptmill.settings.loading import SettingsError, load_settings, settings_page, variable_name
from promptmill.settings.values import default_database_url, is_loopback, without_password
from promptmill.settings.variables import (
    given_proxies,
    given_variables,
    readable_key_file,
    unknown_variables,
)

__all__ = [
    "ListedSetting",
    "Settings",
    "SettingsError",
    "default_database_url",
    "given_proxies",
    "given_variables",
    "is_loopback",
    "list_settings",
    "load_settings",
    "readable_key_file",
    "settings_page",
    "unknown_variables",
    "variable_name",
    "without_password",
]
