"""Debian's Chromium without a screen, which can connect only to this machine."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.kube import eventually

PATIENCE = 60.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


def photograph(address: str, picture: Path, size: tuple[int, int], shown: str = "true") -> None:
    """Save a PNG picture of a page, once an expression of JavaScript is true there."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [*_OPTIONS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
        command = ["chromium", *options, "about:blank"]
        browser = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            said = Path(profile, "DevToolsActivePort")
            eventually(lambda: said.exists() and said.read_text(), "the browser runs")
            picture.write_bytes(asyncio.run(_picture(address, int(said.read_text().split()[0]), shown)))
        finally:
            # Chromium's own processes would otherwise go on writing into the profile.
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait(PATIENCE)


async def _picture(address: str, port: int, shown: str) -> bytes:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.put("/json/new?about:blank") as reply:
            page = await reply.json()
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as devtools:
            numbers = itertools.count()

            async def do(method: str, **parameters: Any) -> Any:
                number = next(numbers)
                await devtools.send_json({"id": number, "method": method, "params": parameters})
                while (answer := await devtools.receive_json()).get("id") != number:
                    pass
                return answer["result"]

            async def is_shown() -> bool:
                return bool((await do("Runtime.evaluate", expression=shown))["result"].get("value"))

            await do("Page.navigate", url=address)
            deadline = time.monotonic() + PATIENCE
            while not await is_shown():
                assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {address} has {shown}"
                await asyncio.sleep(0.1)
            return base64.b64decode((await do("Page.captureScreenshot"))["data"])
