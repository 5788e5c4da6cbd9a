"""What runs in node: clients, and the browser's driver. scripts/test installs the packages."""

import asyncio
from pathlib import Path

HERE = Path(__file__).parents[1] / "js"
MODULES = Path(__file__).parents[3] / "target" / "interop-js" / "node_modules"


async def node(script, *arguments):
    """A running script of tests/interop/js; its output is for the test to read."""
    return await asyncio.create_subprocess_exec(
        "setpriv",
        "--pdeathsig",
        "KILL",
        "node",
        str(HERE / script),
        str(MODULES),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
