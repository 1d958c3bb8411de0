"""Fields of the settings: one environment variable each, checked at the start.

Variables have the prefix `PROMPTMILL_`, except `OLLAMA_HOST`, `OLLAMA_API_KEY` and `DATABASE_URL`,
which other programs read as well. An empty or blank variable counts as unset, because compose files
write `${X:-}`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import (
    AliasChoices,
    Field,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from promptmill.domain.access.authority import Authority, parse_authority
from promptmill.domain.access.keys import EnvironmentKey, parse_environment_keys
from promptmill.domain.hosts.spec import MOST_SLOTS, HostSpec, parse_hosts
from promptmill.machine import identity_of_machine
from promptmill.settings.types import (
    ApiKeys,
    DatabaseUrl,
    HostNames,
    LogLevel,
    MachineName,
    OllamaAddress,
    OllamaHosts,
    OllamaKey,
    Origins,
)
from promptmill.settings.values import bare, default_database_url, entries

_MIB = 1024 * 1024


class Settings(BaseSettings):
    """Settings of the service; each field is one environment variable."""

    model_config = SettingsConfigDict(
        env_prefix="PROMPTMILL_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    ollama_host: OllamaAddress = Field(
        default="http://127.0.0.1:11434",
        validation_alias=AliasChoices("OLLAMA_HOST", "ollama_host"),
        description="The Ollama server: host, host:port, :port or a URL, as Ollama's own client"
        " takes it; not used when PROMPTMILL_OLLAMA_HOSTS is set",
    )
    ollama_api_key: OllamaKey | None = Field(
        default=None,
        validation_alias=AliasChoices("OLLAMA_API_KEY", "ollama_api_key"),
        description="Sent to the server of OLLAMA_HOST as `Authorization: Bearer ...`, as Ollama's"
        " own client does; not used when PROMPTMILL_OLLAMA_HOSTS is set, whose hosts have keys of"
        " their own",
    )
    ollama_hosts: OllamaHosts = Field(
        default=None,
        description="Several Ollama servers: addresses apart by commas, each with options after"
        " semicolons (slots, api_key, basic_auth, models), or a JSON list; unset: the one of"
        " OLLAMA_HOST",
    )
    database_url: DatabaseUrl = Field(
        default_factory=default_database_url,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="Where jobs are kept: sqlite:///path or postgresql://user@host/name",
    )
    ollama_slots: Annotated[int, Field(ge=1, le=MOST_SLOTS)] | None = Field(
        default=None,
        description="Most calls in flight at each Ollama host that names no slots of its own, over"
        " all batches and workers; unset: only the batches' own limits hold",
    )
    default_model: str = Field(
        default="qwen3:8b", min_length=1, description="Model of a batch that names none"
    )

    machine: MachineName | None = Field(
        default=None,
        description="Which machine this is, the same for all processes on it: an Ollama host with a"
        " loopback address, or host.docker.internal, is another one on each machine; unset: derived"
        " from /etc/machine-id, else the host name",
    )

    host: str = Field(default="127.0.0.1", description="Address that the service listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the service listens on")
    api_keys: ApiKeys = Field(
        default=None,
        description="Keys for containers: name=key apart by commas, each with :scope+scope behind"
        " it or without; any key at all makes every request need one",
    )
    allow_no_keys: bool = Field(
        default=False,
        description="Listen beyond this machine although there are no keys: whoever reaches the"
        " service can use it",
    )
    allowed_hosts: HostNames = Field(
        default="",
        description="Names under which browsers reach the service, apart by commas, each with a"
        " port or without; IP addresses and localhost need no entry",
    )
    max_streams: int = Field(
        default=500, ge=1, description="Most event streams and long polls open at a time"
    )
    max_uploads: int = Field(
        default=4, ge=1, description="Most batches of lines and files received at a time"
    )
    max_exports: int = Field(
        default=8, ge=1, description="Most downloads of results and files at a time"
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[\w.~-]+)*$",
        description="Prefix under which a proxy serves the API, such as /promptmill",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses of proxies whose X-Forwarded-For and -Proto count, apart by commas",
    )
    cors_origins: Origins = Field(
        default="",
        description="Origins whose web pages may use the API, apart by commas, such as"
        " https://app.example.com; * for all, which takes keys",
    )
    embedded_worker: bool = Field(
        default=True, description="Whether `serve` works off the queue itself"
    )

    concurrency: int = Field(
        default=256, ge=1, le=4096, description="Most calls in flight of one worker"
    )
    texts_per_call: int = Field(
        default=64, ge=1, le=2048, description="Most texts of a batch that one call embeds"
    )
    pull_registries: str = Field(
        default="registry.ollama.ai,ollama.com,hf.co,huggingface.co",
        description="Servers that models may be downloaded from with auto_pull, apart by commas, as"
        " they begin a model's name; * for all",
    )

    lease_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="Seconds after which a silent worker's prompts go back to the queue",
    )
    heartbeat_s: float = Field(
        default=10.0,
        ge=0.1,
        le=1200,
        description="Seconds between two renewals of a worker's leases; at most a third of lease_s",
    )
    poll_s: float = Field(
        default=1.0,
        ge=0.05,
        le=60,
        description="Seconds after which an idle worker looks at the queue although nobody woke it",
    )
    poll_only: bool = Field(
        default=False,
        description="For PostgreSQL behind PgBouncer in transaction mode: no LISTEN and NOTIFY, no"
        " prepared statements; work is found by polling alone",
    )
    aging_s: float = Field(
        default=10.0,
        ge=0,
        le=86400,
        description="Seconds of waiting that raise a batch's priority by one, so that low ones do"
        " not starve; 0: never",
    )
    grouping: bool = Field(
        default=True,
        description="Whether an Ollama host runs only prompts of what it has loaded, and switches"
        " by draining; false: prompts go out in the order of the queue, whatever model they need",
    )
    group_turn_s: float = Field(
        default=120.0,
        ge=1,
        le=86400,
        description="Seconds that a host goes on with one model while prompts for another wait",
    )
    drain_s: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="Seconds that running calls may take to end after SIGTERM; then they are given"
        " back to the queue",
    )

    retry_base_s: float = Field(
        default=1.0,
        ge=0,
        le=600,
        description="Longest wait before the second attempt of a prompt, in seconds; it doubles"
        " with every further attempt",
    )
    retry_most_s: float = Field(
        default=60.0, ge=0, le=86400, description="Longest wait before any further attempt, seconds"
    )

    retry_after_most_s: float = Field(
        default=86_400.0,
        ge=1,
        le=31 * 86_400,
        description="Longest wait that a host may ask for with 429 and Retry-After, in seconds;"
        " then its model is tried again",
    )

    connect_timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="Seconds to reach the Ollama host"
    )
    first_byte_timeout_s: float = Field(
        default=300.0,
        gt=0,
        le=86400,
        description="Seconds until the first byte of an answer; a model may be loading",
    )
    stall_timeout_s: float = Field(
        default=120.0, gt=0, le=86400, description="Seconds between two pieces of an answer"
    )

    max_prompts: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Most prompts of one JSON batch"
    )
    max_queued_prompts: int = Field(
        default=10_000_000,
        ge=1,
        le=1_000_000_000,
        description="Most prompts without an outcome, over all batches; beyond it a batch is"
        " refused with 429",
    )
    max_prompt_bytes: int = Field(
        default=1 * _MIB, ge=1, le=1024 * _MIB, description="Most bytes of one prompt, as UTF-8"
    )
    max_body_bytes: int = Field(
        default=32 * _MIB, ge=1024, le=256 * _MIB, description="Most bytes of a JSON body"
    )
    max_benchmark_runs: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Most runs of one benchmark: its models times its prompts, levels and runs",
    )
    max_upload_prompts: int = Field(
        default=10_000_000, ge=1, le=1_000_000_000, description="Most prompts of one NDJSON batch"
    )
    max_upload_bytes: int = Field(
        default=4096 * _MIB,
        ge=1024,
        le=1024 * 1024 * _MIB,
        description="Most bytes of an NDJSON body, which is stored while it arrives",
    )
    min_free_bytes: int = Field(
        default=512 * _MIB,
        ge=0,
        description="Free bytes of the disk with the SQLite file below which new work is refused"
        " with 507, so that results of what runs still fit; 0: until it is full",
    )
    file_ttl_s: int = Field(
        default=2_592_000,
        ge=0,
        le=315_360_000,
        description="Seconds that files of `/v1/files` are kept, output files of batches included,"
        " unless a request says otherwise; 0: until they are deleted",
    )
    batch_window_s: int = Field(
        default=2_592_000,
        ge=60,
        le=315_360_000,
        description="Seconds that the `completion_window` of `24h` stands for in `/v1/batches`",
    )
    online_slots: int = Field(
        default=0,
        ge=0,
        le=MOST_SLOTS,
        description="Slots of each Ollama host that no batch takes, for online calls to `/v1`",
    )
    online_queue: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="Most such calls of one process that wait for a slot; one more is refused with"
        " 429",
    )
    log_level: LogLevel = Field(
        default="info",
        pattern="^(debug|info|warning|error)$",
        description="Least severe log line that is written: debug, info, warning or error",
    )
    log_json: bool = Field(default=False, description="Write log lines as JSON objects")
    log_texts: bool = Field(
        default=False,
        description="Write the first 200 characters of prompts and answers into the log, at debug",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_what_is_blank_for_unset(cls, values: dict[str, object]) -> dict[str, object]:
        told = {
            name: bare(value) if isinstance(value, str) else value for name, value in values.items()
        }
        return {name: value for name, value in told.items() if value != ""}

    @field_validator("heartbeat_s")
    @classmethod
    def _renew_thrice_within_a_lease(cls, value: float, info: object) -> float:
        lease_s = getattr(info, "data", {}).get("lease_s")
        if lease_s is not None and value * 3 > lease_s + 1e-9:
            raise ValueError(f"must be at most a third of lease_s ({lease_s / 3:g})")
        return value

    @cached_property
    def environment_keys(self) -> tuple[EnvironmentKey, ...]:
        """Keys given in the setting `api_keys`."""
        keys = self.api_keys
        return () if keys is None else parse_environment_keys(keys.get_secret_value())

    @property
    def own_names(self) -> tuple[Authority, ...]:
        """Host names given in the setting `allowed_hosts`."""
        return tuple(filter(None, map(parse_authority, entries(self.allowed_hosts))))

    def listed(self, setting: str) -> frozenset[str]:
        """Entries of a setting that is a comma-separated list, in lower case."""
        return frozenset(entry.lower() for entry in entries(getattr(self, setting)))

    @property
    def hosts(self) -> tuple[HostSpec, ...]:
        """Ollama hosts, at least one, with their slots filled in."""
        if self.ollama_hosts is None:
            key = self.ollama_api_key
            api_key = None if key is None else key.get_secret_value()
            return (HostSpec(url=self.ollama_host, slots=self.ollama_slots, api_key=api_key),)
        text = self.ollama_hosts.get_secret_value()
        return parse_hosts(text, default_slots=self.ollama_slots)

    @property
    def machine_identity(self) -> str:
        """Identity that distinguishes this machine from others with the same database."""
        return self.machine or identity_of_machine()

    @property
    def sqlite_path(self) -> Path | None:
        """Path of the SQLite file; None with PostgreSQL."""
        if not self.database_url.startswith("sqlite:///"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///")).absolute()
