"""What `cluster` makes of texts and numbers, without a cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from campaign_express.cli.cluster_scale import told
from campaign_express.cli.cluster_status import age
from campaign_express.cluster import manifests, names
from campaign_express.cluster.checks_control import knows, numbers
from campaign_express.cluster.checks_network import URL, _inside, _service_of
from campaign_express.cluster.scale import kept_available
from campaign_express.cluster.serve_text import (
    Bounds,
    cell_bounds,
    same_ends,
    with_cell_bounds,
    with_restart,
    with_running,
)
from campaign_express.errors import ClusterError, ConfigError
from tests.conftest import ROOT
from tests.support.kube_world import SERVE_CONFIG

CELLS = "{name: BidGateway, autoscaling_config: {min_replicas: 2}}"
FLOW = f"{{applications: [{{name: campaign-express, deployments: [{CELLS}]}}]}}"


def cells_of(text: str) -> dict[str, object]:
    found = yaml.safe_load(text)["applications"][0]["deployments"][0]["autoscaling_config"]
    assert isinstance(found, dict)
    return found


def test_names_are_those_of_the_manifests_table() -> None:
    table = yaml.safe_load((ROOT / "deploy" / "names.yaml").read_text())
    bidder = table["components"]["bidder"]
    assert table["namespace"] == names.NAMESPACE
    assert (bidder["service"], bidder["headless"]) == (names.SERVICE, names.HEADLESS_SERVICE)
    assert bidder["ports"] == names.PORTS


def test_bounds_are_changed_where_they_stand() -> None:
    after = with_cell_bounds(SERVE_CONFIG, Bounds(30, 50, 30))
    wanted = SERVE_CONFIG.replace("min_replicas: 10", "min_replicas: 30").replace(
        "initial_replicas: 20", "initial_replicas: 30"
    )
    assert after == wanted.replace("max_replicas: 40", "max_replicas: 50")
    assert cell_bounds(after) == Bounds(30, 50, 30)


def test_bounds_of_the_flow_style_and_those_not_written_yet() -> None:
    after = with_cell_bounds(FLOW, Bounds(3, 9, 4))
    assert cells_of(after) == {"min_replicas": 3, "max_replicas": 9, "initial_replicas": 4}
    assert cell_bounds(FLOW) == Bounds(2, 100, 2)  # Serve's own defaults


@pytest.mark.parametrize(
    ("text", "running", "initial"),
    [(SERVE_CONFIG, 38, 38), (SERVE_CONFIG, 50, 40), (SERVE_CONFIG, 3, 10), (FLOW, 7, 7), (FLOW, 101, 100)],
)
def test_as_many_cells_to_begin_with_as_run(text: str, running: int, initial: int) -> None:
    after = with_running(text, running)
    assert cells_of(after) == {**cells_of(text), "initial_replicas": initial}
    assert with_running(after, running) == after
    assert same_ends(text, after)


@pytest.mark.parametrize(
    ("text", "running"),
    [
        (SERVE_CONFIG, 0),
        (SERVE_CONFIG, 20),
        (FLOW, 2),
        (SERVE_CONFIG.replace("autoscaling_config", "other"), 38),
        (SERVE_CONFIG.replace("max_replicas: 40", "max_replicas: many"), 38),
        ("a: [", 38),
    ],
)
def test_a_text_that_stays_as_it_is(text: str, running: int) -> None:
    assert with_running(text, running) == text


def test_other_ends() -> None:
    assert not same_ends(SERVE_CONFIG, SERVE_CONFIG.replace("min_replicas: 10", "min_replicas: 11"))
    assert not same_ends("a: [", "a: [")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVE_CONFIG.replace("name: campaign-express", "name: other"), "no application campaign-express"),
        (SERVE_CONFIG.replace("autoscaling_config", "other"), "no autoscaling_config of BidGateway"),
        ("a: [", "no YAML"),
        ("", "no application"),
    ],
)
def test_a_configuration_that_cannot_be_scaled(text: str, says: str) -> None:
    with pytest.raises(ClusterError, match=says):
        with_cell_bounds(text, Bounds(1, 2, 1))


@pytest.mark.parametrize(
    "text",
    [
        SERVE_CONFIG,
        SERVE_CONFIG + "    # the end\n",
        SERVE_CONFIG + "    runtime_env:\n      env_vars:\n        A: b  # kept\n",
        SERVE_CONFIG + "    runtime_env: {pip: [x]}\n",
        SERVE_CONFIG.rstrip("\n"),
        SERVE_CONFIG + "  - name: another\n    import_path: x:y\n",
        FLOW,
    ],
)
def test_a_restart_changes_nothing_but_the_environment(text: str) -> None:
    once = with_restart(text, "2026-11-28T08:00:00+00:00")
    before, after = yaml.safe_load(text), yaml.safe_load(once)
    variables = after["applications"][0]["runtime_env"]["env_vars"]
    assert variables.pop("CAMPAIGN_EXPRESS_RESTARTED_AT") == "2026-11-28T08:00:00+00:00"
    environment = after["applications"][0]["runtime_env"]
    if not environment["env_vars"]:
        del environment["env_vars"]
    if not environment:
        del after["applications"][0]["runtime_env"]
    assert after == before
    again = with_restart(once, "2026-11-28T09:00:00+00:00")
    assert again == once.replace("T08:", "T09:")
    assert all(comment in once for comment in ("# nodes follow", "# kept", "# the end") if comment in text)


@pytest.mark.parametrize(
    ("wanted", "kept"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (10, 8), (20, 16), (21, 17), (40, 32)]
)
def test_eighty_percent_in_whole_cells_of_which_one_may_leave(wanted: int, kept: int) -> None:
    assert kept_available(wanted) == kept


def test_a_patch_for_a_person() -> None:
    operations = [
        {"op": "test", "path": "/a", "value": 1},
        {"op": "replace", "path": "/a", "value": 2},
        {"op": "add", "path": "/b", "value": 3},
        {"op": "test", "path": "/t", "value": "x\ny\nz\n"},
        {"op": "replace", "path": "/t", "value": "x\nY\nz\n"},
    ]
    assert told(operations) == [
        "/a: 1 → 2",
        "/b: not set → 3",
        "/t:",
        "  @@ -1,3 +1,3 @@",
        "   x",
        "  -y",
        "  +Y",
        "   z",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (119, "119s"), (121, "2m"), (7300, "2h"), (200_000, "2d")])
def test_age(seconds: int, text: str) -> None:
    assert age((datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()) == text
    assert age("") == "-"


@pytest.mark.parametrize(
    ("version", "parts"), [("v1.33.4-eks-1", (1, 33, 4)), ("1.7", (1, 7)), ("v1.7.0", (1, 7, 0)), ("nightly", ())]
)
def test_numbers_of_versions(version: str, parts: tuple[int, ...]) -> None:
    assert numbers(version) == parts


def test_a_schema_knows_its_fields() -> None:
    inner = {"properties": {"b": {"items": {"properties": {"c": {"type": "string"}}}}}}
    schema = {"properties": {"a": inner}}
    assert knows(schema, "a.b[].c")
    assert not knows(schema, "a.b[].d")
    assert not knows(schema, "x")


def test_hosts_of_urls() -> None:
    match = URL.match("redis://user:pass@redis-cluster:6379,other:6380/0")
    assert match is not None
    assert match["hosts"] == "redis-cluster:6379,other:6380"
    assert _service_of("nats", "here") == ("nats", "here")
    assert _service_of("nats-0.nats-headless.there.svc.cluster.local", "here") == ("nats-headless", "there")
    assert [_inside(host) for host in ("nats", "a.b.svc", "example.com", "localhost", "10.0.0.1")] == [
        True,
        True,
        False,
        False,
        False,
    ]


class TestManifests:
    """Files to objects."""

    def test_order_and_lists(self, tmp_path: Path) -> None:
        kinds = ["RayService", "Namespace", "ConfigMap", "Thing"]
        bodies = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}} for kind in kinds]
        (tmp_path / "one.yaml").write_text(yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": bodies}))
        (tmp_path / "two.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}')
        found = [body["kind"] for body in manifests.read([str(tmp_path)])]
        assert found == ["Namespace", "Secret", "ConfigMap", "Thing", "RayService"]

    def test_every_problem_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("kind: X\n---\n- 1\n---\n---\napiVersion: v1\nkind: Y\nmetadata: {name: y}\n")
        (tmp_path / "b.yaml").write_text("a: [\n")
        (tmp_path / "c.yaml").write_text("apiVersion: v1\nkind: Y\nmetadata: {name: y}\n")
        with pytest.raises(ConfigError) as caught:
            manifests.read([str(tmp_path), str(tmp_path / "gone")])
        text = str(caught.value)
        for part in (
            "lacks apiVersion",
            "lacks metadata.name",
            "is no object",
            "b.yaml, line 2: no YAML",
            "is not there",
            "Y y: is there twice",
        ):
            assert part in text

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no manifest in it"):
            manifests.read([str(tmp_path)])

    def test_a_kustomization_needs_a_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "kustomization.yaml").write_text("resources: []\n")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(ClusterError, match="neither kubectl nor kustomize is installed"):
            manifests.read([str(tmp_path)])
