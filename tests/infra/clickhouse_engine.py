"""Today's ClickHouse (chDB) in a process of its own, with the deployed config.xml and users.xml.

It asks as the user `default`, so for a while the user that is tried bears that name; it has no keepers and no replicas.
`python clickhouse_engine.py FOLDER` reads statements from stdin (JSON), and writes what came of each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

NAMED = re.compile(r"<named_collections>.*</named_collections>", re.DOTALL)


class Engine:
    """`user`: whose rights statements have; "" has all. Statements of one `ask` are of one session."""

    def __init__(
        self, deployed: Path, folder: Path, secrets: dict[str, str], user: str = "", azure: bool = False
    ) -> None:
        self._folder = folder
        self._secrets = secrets
        (folder / "backups").mkdir(parents=True, exist_ok=True)
        text = (deployed / "config.xml").read_text("utf-8")
        where = NAMED.search(
            (deployed / ("../clickhouse-azure/backups.xml" if azure else "backups.xml")).read_text("utf-8")
        )
        assert where is not None
        for old, new in (
            ("/var/lib/clickhouse/", f"{folder}/data/"),
            ("/etc/clickhouse-server/users.xml", f"{folder}/users.xml"),
            ("<console>1</console>", "<console>0</console>"),
            (
                "</clickhouse>",
                f"{where[0]}<backups><allowed_path>{folder}/backups/</allowed_path></backups></clickhouse>",
            ),
        ):
            assert old in text, old
            text = text.replace(old, new)
        (folder / "config.xml").write_text(text)
        users = (deployed / "users.xml").read_text("utf-8")
        if user:
            assert f"<{user}>" in users
            head, _, listed = users.partition("<users>")
            listed = re.sub(rf"(</?){user}>", r"\1default>", listed)
            users = f"{head}<users>" + re.sub(r"(<default>\s*)<password [^>]*/>", r"\1<password></password>", listed)
        else:
            every = "<default><password></password><networks><ip>::/0</ip></networks><profile>default</profile>"
            rights = "<access_management>1</access_management><named_collection_control>1</named_collection_control>"
            users = users.replace("<users>", f"<users>{every}<quota>counted</quota>{rights}</default>")
        (folder / "users.xml").write_text(users)

    def ask(self, *statements: str) -> list[str | None]:
        """Of each its answer (TabSeparated); an error begins with "Code:"."""
        environment = {**os.environ, **self._secrets, "POD_NAME": "clickhouse-0", "POD_HOST": "localhost"}
        done = subprocess.run(
            [sys.executable, __file__, str(self._folder)],
            input=json.dumps(statements),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answers: list[str | None] = json.loads(done.stdout.splitlines()[-1])
        return answers


def main(folder: str) -> None:
    from chdb.session import Session

    session = Session(f"{folder}/data?config-file={folder}/config.xml")
    answers = []
    for statement in json.load(sys.stdin):
        try:
            answers.append(str(session.query(statement, "TabSeparated")))
        except Exception as error:
            answers.append(str(error).strip().split("\n")[0])
    session.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
