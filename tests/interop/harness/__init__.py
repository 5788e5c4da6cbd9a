"""What the interop tests share: servers under test, clients, certificates, ports."""
