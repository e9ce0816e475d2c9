"""A model is put where bidders read it: `python -m campaign_express.learning.publish DIRECTORY VERSION [MODEL_FILE]`.

Its two files come to stand in DIRECTORY/VERSION as model.onnx and model.creative.onnx, and bidders are told by
`model_file`. A version is never changed once it is there: agents that start later must score as those that run, and
going back is naming the version before. It appears in one step, after it has been loaded as an agent loads it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from campaign_express.adapters.onnx import OnnxScorer, default_model, tower_file
from campaign_express.errors import CampaignExpressError, ConfigError

NAME = "model.onnx"
_VERSION = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def publish(directory: Path, version: str, model_file: Path | None = None) -> str:
    """Returns the model's own version. The packaged model unless `model_file` names another.

    What is there already with the same bytes is left as it is. Raises ConfigError for a version with other bytes, a
    version that is no name, or a directory that cannot be written; ModelError for a model that no agent would load.
    """
    if not _VERSION.fullmatch(version):
        raise _refused(f"version {version!r}: small letters, digits, dots and hyphens are wanted, 63 at most")
    source = model_file or default_model()
    files = {NAME: source, tower_file(Path(NAME)).name: tower_file(source)}
    place = directory / version
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publishing-", dir=directory) as made:
            new = Path(made, version)
            new.mkdir(mode=0o755)
            for name, file in files.items():
                shutil.copyfile(file, new / name)
            own_version = OnnxScorer(new / NAME).version
            if place.exists():
                _same(new, place)
            else:
                new.rename(place)
    except OSError as error:
        raise _refused(f"{error.filename or directory}: {error.strerror}") from None
    return own_version


def _same(new: Path, place: Path) -> None:
    for file in new.iterdir():
        if not (place / file.name).is_file() or (place / file.name).read_bytes() != file.read_bytes():
            raise _refused(f"{place} holds another model already; publish this one as another version")


def _refused(problem: str) -> ConfigError:
    return ConfigError("A model that cannot be published:", [problem])


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (2, 3):
        print("usage: python -m campaign_express.learning.publish DIRECTORY VERSION [MODEL_FILE]", file=sys.stderr)
        return 2
    directory, version = Path(arguments[0]), arguments[1]
    try:
        own = publish(directory, version, Path(arguments[2]) if arguments[2:] else None)
    except CampaignExpressError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{directory / version / NAME}: {own}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
