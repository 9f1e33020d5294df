"""Networks on the Hugging Face hub, and the three methods that its libraries share: save, load, push."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from basrelief.errors import DataError, UsageError
from basrelief.files import output_errors
from basrelief.inference.pretrained import CONFIG, WEIGHTS, Trained, save_folder
from basrelief.models.encoders import is_reachable

if TYPE_CHECKING:
    from basrelief.inference.predictor import Threshold
    from basrelief.inference.tiles import Tile

_ADDRESS = re.compile(r"hf:/{1,2}(?=[^/])")  # hf://; pathlib makes one slash of the two
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")
_REVISION = re.compile(r"[\w.-][\w./-]*")


class Shareable:
    """What a predictor of a single torch network can do beside predicting: be saved, loaded again and put on the hub.

    The three methods have the names and arguments of huggingface_hub's ``ModelHubMixin``. They are written here, since
    the mixin rebuilds objects from the arguments of ``__init__`` and brings a card and a pickle-free format of its own.
    """

    trained: Trained | None = None
    """The network and what is known of it; None where a predictor cannot be saved."""

    def save_pretrained(
        self, save_directory: str | Path, *, license: str | None = None, overwrite: bool = False
    ) -> None:
        """Write ``model.safetensors``, ``config.json`` and ``README.md`` (the model card) into a folder.

        ``threshold``, ``tile`` and ``mirror`` are kept, and are those of ``from_pretrained`` unless it is told others.

        Parameters
        ----------
        save_directory
            Made if needed.
        license
            An identifier for the card, such as "apache-2.0"; without one the card says that none is stated.
        overwrite
            Whether the three files are replaced where they are there already.

        Raises
        ------
        UsageError
            For a predictor of an exported file or of several networks.
        OutputError
            When a file is there already, or the folder cannot be written.
        """
        save_folder(cast("Any", self).run, self._trained(), Path(save_directory), license=license, overwrite=overwrite)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        device: str = "auto",
        threshold: Threshold | None = None,
        tile: Tile | None = None,
        mirror: bool | None = None,
    ) -> Self:
        """Load a network from a folder of ``save_pretrained``, or from the hub.

        Only ``config.json`` and ``model.safetensors`` are read: no code of a stranger is ever run.

        Parameters
        ----------
        pretrained_model_name_or_path
            A folder; or OWNER/NAME on the hub, where there is no such folder.
        revision
            Branch, tag or commit on the hub.
        token
            For private networks; the one of ``hf auth login`` or HF_TOKEN if not given, none where False.
        cache_dir
            Where downloads are kept.
        local_files_only
            Ask nobody; use what was downloaded before.
        force_download
            Download again.
        device, threshold, tile, mirror
            As in ``basrelief.load_predictor``; as they were saved where not given.

        Raises
        ------
        DataError
            When there is no such network, the hub cannot be reached, or a file is damaged.
        """
        from basrelief.inference.load import load

        place = Path(pretrained_model_name_or_path)
        if not place.exists():
            name = str(pretrained_model_name_or_path).removeprefix("hf://")
            if not _NAME.fullmatch(name):
                raise DataError(f"{name} is no folder here, and no name on the hub, which would be OWNER/NAME.")
            place = download(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        return cast("Self", load(place, device=device, threshold=threshold, tile=tile, mirror=mirror).predictor)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Share a network with Basrelief",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        license: str | None = None,
    ) -> str:
        """Put the three files of ``save_pretrained`` on the hub as one commit, and return its address.

        A model card that is there already is replaced; the hub keeps what was.

        Parameters
        ----------
        repo_id
            OWNER/NAME; made if needed.
        commit_message, branch, create_pr
            Of the commit.
        private
            Whether a new repository is private; None: as the owner's default is, mostly public.
        token
            With the right to write; the one of ``hf auth login`` or HF_TOKEN if not given.
        license
            As in ``save_pretrained``.

        Raises
        ------
        UsageError
            Without a token, for a name that is none, or for a predictor that cannot be saved.
        DataError
            When the hub refuses or cannot be reached.
        """
        trained = self._trained()
        if not _NAME.fullmatch(repo_id):
            raise UsageError(f"repo_id {repo_id!r}: expected OWNER/NAME, such as ada/nuclei-masknet.")
        import huggingface_hub

        if not (token or huggingface_hub.get_token()):
            raise UsageError(
                "Pushing to the hub needs a token that may write: run hf auth login, set HF_TOKEN, or give token=."
            )
        unasked = _unasked()
        if unasked:
            raise DataError(f"Nothing was pushed: {unasked}. Try again with a connection.")
        api = huggingface_hub.HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            save_folder(cast("Any", self).run, trained, Path(folder), name=repo_id, license=license, overwrite=True)
            with _hub_errors(repo_id):
                made = api.create_repo(repo_id, private=private, exist_ok=True)
                commit = api.upload_folder(
                    repo_id=made.repo_id,
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=branch,
                    create_pr=create_pr,
                )
        return str(commit.pr_url or commit.commit_url)

    def _trained(self) -> Trained:
        if self.trained is None:
            raise UsageError(
                "This predictor cannot be saved: it is of an exported file, which is one already, or of several "
                "networks together (ensemble). Load the run's own directory, and save that."
            )
        return self.trained


def is_address(path: str | Path) -> bool:
    """Return whether this names a network on the hub: ``hf://OWNER/NAME``."""
    return _ADDRESS.match(str(path)) is not None


def read_address(path: str | Path) -> tuple[str, str | None]:
    """Split ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION`` into name and revision.

    Raises
    ------
    UsageError
        For anything else.
    """
    name, at, revision = _ADDRESS.sub("", str(path)).partition("@")
    if not _NAME.fullmatch(name) or (at and not _REVISION.fullmatch(revision)):
        raise UsageError(f"{path}: expected hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.")
    return name, revision or None


def download(
    name: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Fetch the two files of a network from the hub, or find them in its cache; return their folder there.

    Raises
    ------
    DataError
        When there is no such network, it is private, or the hub cannot be reached, with what to do.
    """
    import huggingface_hub

    why = "local_files_only is set" if local_files_only else _unasked()
    options: dict[str, Any] = {
        "token": token,
        "cache_dir": cache_dir,
        "local_files_only": bool(why),
        "force_download": force_download and not why,
    }
    with _hub_errors(name, revision, why):
        config = Path(huggingface_hub.hf_hub_download(name, CONFIG, revision=revision, **options))
        # Of the same commit, whatever is pushed meanwhile: the cache names the folder after it.
        huggingface_hub.hf_hub_download(name, WEIGHTS, revision=config.parent.name, **options)
    return config.parent


def _unasked() -> str:
    """Return why the hub cannot be asked; "" if it can. Its own client would try for half a minute to find out."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return "" if is_reachable(constants.ENDPOINT) else f"the hub ({constants.ENDPOINT}) cannot be reached"


@contextlib.contextmanager
def _hub_errors(name: str, revision: str | None = None, why: str = "") -> Iterator[None]:
    """Turn what can go wrong with the hub into one sentence each."""
    from huggingface_hub import constants, errors

    transport: Any = getattr(errors, "HTTPError", OSError)  # of whichever HTTP client the hub's package uses
    login = "log in with hf auth login, set HF_TOKEN, or give token="
    at = f"{name} at {revision}" if revision else name
    try:
        with output_errors(Path(constants.HF_HUB_CACHE)):
            yield
    except errors.GatedRepoError:
        raise DataError(
            f"{name} is given only to those whom its owner lets in. Ask for access on its page, then {login}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise DataError(f"The hub has no {name}, or it is private: look at the spelling, or {login}.") from None
    except errors.RevisionNotFoundError:
        raise DataError(f"The hub has no {at}: no branch, tag or commit has that name.") from None
    except errors.LocalTokenNotFoundError:
        raise UsageError(f"There is no token on this machine: {login}.") from None
    except (errors.HFValidationError, errors.BadRequestError) as error:
        raise UsageError(f"The hub does not take this: {_first_line(error)}") from None
    except errors.RemoteEntryNotFoundError:
        raise DataError(
            f"{at} is not a network of Basrelief: it has no {CONFIG} or no {WEIGHTS}. Ask its owner, or give the name "
            "of one that was pushed with push_to_hub."
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise DataError(
                f"The hub refuses {name} ({status}): the token may not do that. To change it: {login}."
            ) from None
        raise DataError(f"The hub could not do it ({_first_line(error)}). Try again in a while.") from None
    except (errors.LocalEntryNotFoundError, transport, OSError) as error:
        reason = why or f"the hub ({constants.ENDPOINT}) cannot be reached: {_first_line(error)}"
        raise DataError(
            f"{at} is not on this machine, and {reason}. Try again with a connection; or fetch its {CONFIG} and "
            f"{WEIGHTS} elsewhere, and give the folder that they are in."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
