"""Commands of `campaign-express cluster`, run in this process against the double."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from campaign_express.cli import app
from campaign_express.cluster.connection import Target, connect
from tests.support.kube_api import KubeApi
from tests.support.kube_store import Object
from tests.support.kube_world import CLUSTER, NAMESPACE


@dataclass
class Operated:
    """A double and who operates it."""

    api: KubeApi
    kubeconfig: Path

    def run(self, *arguments: str, given: str = "") -> Result:
        """`cluster ARGUMENTS`; no exception may leave it."""
        result = CliRunner().invoke(
            app, ["cluster", *arguments], input=given or None, env={"KUBECONFIG": str(self.kubeconfig)}
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def done(self, *arguments: str, given: str = "") -> str:
        """Its stdout, after exit code 0."""
        result = self.run(*arguments, given=given)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *arguments: str, code: int = 1, given: str = "") -> str:
        """Its stderr, after exit code `code`."""
        result = self.run(*arguments, given=given)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.stderr

    def connection(self) -> Any:
        return connect(Target(kubeconfig=self.kubeconfig, timeout_s=5))

    def get(self, plural: str, name: str, group: str = "ray.io", version: str = "v1") -> Object:
        kind = self.api.store.kind(group, version, plural)
        assert kind is not None
        return self.api.store.get(kind, NAMESPACE, name)

    def change(self, plural: str, name: str, group: str = "ray.io", **changes: Any) -> Object:
        """`spec__serveConfigV2=...` sets a field, as another person or a controller would."""
        body = self.get(plural, name, group)
        for path, value in changes.items():
            *way, last = path.split("__")
            at = body
            for part in way:
                at = at[int(part)] if isinstance(at, list) else at[part]
            if isinstance(at, list):
                at[int(last)] = value
            else:
                at[last] = value
        return self.api.store.put(body)

    @property
    def service(self) -> Object:
        return self.get("rayservices", "campaign-express")

    @property
    def cluster(self) -> Object:
        return self.get("rayclusters", CLUSTER)

    @property
    def budget(self) -> Object:
        return self.get("poddisruptionbudgets", "campaign-express", "policy")
