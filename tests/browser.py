"""A headless Chromium over its debugging pipe."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless --no-sandbox --disable-gpu-sandbox --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run"
).split()
WEBGPU = "--enable-unsafe-webgpu --enable-features=Vulkan --use-webgpu-adapter=swiftshader".split()
PATIENCE = 60
"""Seconds after which a browser that says nothing is given up."""


def binary() -> str | None:
    """The browser that there is."""
    return next((b for b in map(shutil.which, ("chromium", "chromium-browser")) if b), None)


class Browser:
    """Opens pages, and tells what they say."""

    def __init__(self, path: str, *flags: str) -> None:
        """Starts the browser."""
        self.home = tempfile.mkdtemp()
        read, self.down = os.pipe()
        self.up, write = os.pipe()
        # The browser reads from 3 and writes to 4, which may be ends of these pipes.
        shell = f'exec 103<&{read} 104>&{write}; exec 3<&103 4>&104; exec "$@"'
        command = ["bash", "-c", shell, "-", path, *FLAGS, *flags, f"--user-data-dir={self.home}"]
        self.process = subprocess.Popen(
            [*command, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self.number, self.rest, self.session = 0, b"", ""
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in pages if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                if not select.select([self.up], [], [], PATIENCE)[0]:
                    raise TimeoutError(f"the browser said nothing for {PATIENCE} s")
                self.rest += os.read(self.up, 1 << 16)
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                return answer["result"]

    def said(self, page: Path) -> str:
        """What a page says once it is done."""
        self.call("Page.navigate", url=page.as_uri())
        script = "document.body && document.body.dataset.done || ''"
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = self.call("Runtime.evaluate", expression=script)["result"]["value"]
            if found:
                return str(found)
            time.sleep(0.1)
        raise TimeoutError(f"{page} said nothing for {PATIENCE} s")

    def __enter__(self) -> Self:
        """The browser itself."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Ends the browser."""
        self.process.kill()
        self.process.wait()
        os.close(self.down)
        os.close(self.up)
        shutil.rmtree(self.home, ignore_errors=True)
