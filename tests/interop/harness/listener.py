"""A c2s listener as a test asks for it, whatever server runs it."""

from dataclasses import dataclass, field

from harness import ports


@dataclass
class Listener:
    """`tls`: None, "starttls", "starttls_required" or "tls". `options`: further keys of meerkat's.

    `handlers` (of kind "http"): a type of handlers -> its keys, or a list of them.
    """

    tls: str | None = None
    options: dict = field(default_factory=dict)
    port: int = field(default_factory=ports.free_port)
    kind: str = "c2s"
    handlers: dict = field(default_factory=dict)

    @property
    def address(self):
        return (ports.LOOPBACK, self.port)
