"""Models on a hub of Hugging Face: addresses ``hf://ORGANISATION/NAME``, download and upload.

``huggingface_hub`` (extra ``[hub]``) talks to the hub. It reads ``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HOME`` and ``HF_HUB_OFFLINE``; what has been downloaded stays in its cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kerasgen.errors import InputError, RunFailure
from kerasgen.keras_import import is_installed
from kerasgen.run_folder import CONFIG

PREFIX = "hf://"
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
# Card, weights, schema, statistics and record; figures and other files are left where they are.
FILES = ["README.md", CONFIG, "*.json", "*.npz", "*.weights.h5"]


def is_address(run: str) -> bool:
    """Whether a text is the address of a model on a hub."""
    return run.startswith(PREFIX)


def parse_address(address: str) -> tuple[str, str | None]:
    """Repository and revision of an address ``hf://ORGANISATION/NAME[@REVISION]``.

    Raises:
        InputError: it has another form.
    """
    found = re.fullmatch(rf"{PREFIX}({NAME}/{NAME})(?:@(\S+))?", address)
    if not found or "--" in found[1] or ".." in found[1]:
        raise InputError(f"{address}: allowed: hf://ORGANISATION/NAME, or ...@REVISION")
    return found[1], found[2]


def check_hub(address: str) -> None:
    """Raise InputError unless an address has the right form and the hub can be talked to."""
    parse_address(address)
    if not is_installed("huggingface_hub"):
        raise InputError(f"{address}: needs huggingface_hub: pip install 'kerasgen[hub]'")


@contextmanager
def one_line(address: str) -> Iterator[None]:
    """Errors of the hub in one line each.

    Raises:
        InputError: no such model or revision, or no permission.
        RunFailure: the hub cannot be reached, or refuses.
    """
    # HTTPError: of the HTTP library that this version of huggingface_hub uses.
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except RevisionNotFoundError:
        raise InputError(f"{address}: the model has no such revision") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{address}: no such model, or you may not see it (log in: hf auth login, or HF_TOKEN)"
        ) from None
    except ValueError as error:  # of the name, or of the front matter
        raise InputError(f"{address}: {' '.join(str(error).split())}") from None
    except (HTTPError, OSError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if status in (401, 403):
            raise InputError(
                f"{address}: you may not write there (log in: hf auth login, or HF_TOKEN)"
            ) from None
        does = "refuses" if status else "does not answer"
        raise RunFailure(f"{address}: the hub {does}: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@cache
def download(address: str) -> Path:
    """The folder of a model on the hub, downloaded once; it is not to be written to.

    Raises:
        InputError: ``huggingface_hub`` is missing, or there is no such model.
        RunFailure: the hub does not answer, and the model is not in the cache.
    """
    check_hub(address)
    from huggingface_hub import snapshot_download

    repository, revision = parse_address(address)
    with one_line(address):
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=FILES))
    if not (folder / CONFIG).is_file():
        raise InputError(f"{address}: no model of kerasgen (one holds {CONFIG})")
    return folder


def upload(folder: Path, address: str, message: str) -> str:
    """Upload a folder; the repository is made if it is missing.

    Args:
        folder: whose files are uploaded.
        address: of the model.
        message: of the commit.

    Returns:
        Where the model can be seen.

    Raises:
        InputError: ``huggingface_hub`` is missing, or there is no permission.
        RunFailure: the hub does not answer.
    """
    check_hub(address)
    from huggingface_hub import HfApi

    repository, revision = parse_address(address)
    with one_line(address):
        api = HfApi()
        page = api.create_repo(repository, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, revision=revision
        )
    return str(page)
