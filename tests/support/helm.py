"""Helm for a real cluster, with the commands a person would type."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.kube import CommandError

CHARTS = Path(__file__).parents[2] / "charts"


@dataclass(frozen=True)
class Helm:
    """A helm program for one cluster."""

    kubeconfig: Path
    program: str = "helm"

    def run(self, *arguments: str, seconds: float = 300.0) -> str:
        """Return the output of helm. Raises CommandError."""
        command = [shutil.which(self.program) or self.program, "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise CommandError(done.stderr.strip() + done.stdout.strip())
        return done.stdout
